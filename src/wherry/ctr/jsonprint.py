"""JSON as ctr prints records: four spaces, Go's names."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def pretty(value: object) -> str:
    """The value with four spaces a level, and Go's escapes for what HTML would take as its own."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def unpacked_any(message: Any) -> Any:
    """The value inside a protobuf Any: JSON of a Go type, or a message that is known; its bytes otherwise."""
    import base64

    try:
        return json.loads(message.value)
    except ValueError:
        return {"type_url": message.type_url, "value": base64.b64encode(message.value).decode()}


def without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not empty, as Go's `omitempty` leaves them out."""
    return {key: value for key, value in fields.items() if value not in (None, "", {}, [], 0, False)}
