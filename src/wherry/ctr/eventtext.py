"""Protobuf messages as the JSON that Go makes of them: the fields' own names in their order, what is empty left out."""

from __future__ import annotations

import base64
import json

from wherry.ctr.values import moment_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The modules whose messages come inside of events.
_MODULES = ("wherry.proto.events_pb2", "wherry.proto.services.images_pb2", "wherry.proto.runc_pb2")


def text(message: Any) -> str:
    """What a protobuf Any of an event holds, on one line; the bytes of a type that is not known."""
    import importlib

    from google.protobuf import descriptor_pool, message_factory

    for module in _MODULES:
        importlib.import_module(module)
    name = message.type_url.rpartition("/")[2]
    try:
        kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    except KeyError:
        return dumped(_any(message))
    return dumped(as_object(kind.FromString(message.value)))


def dumped(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_object(message: Any) -> Any:
    """A message's fields that are set; messages in it likewise."""
    full_name = message.DESCRIPTOR.full_name
    if full_name == "google.protobuf.Any":
        return _any(message)
    if full_name == "google.protobuf.Timestamp":
        return moment_ns(message)
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            if value:
                found[field.name] = dict(sorted(value.items()))
        elif field.is_repeated:
            if value:
                found[field.name] = [as_object(one) if field.message_type else one for one in value]
        elif field.message_type is not None:
            if message.HasField(field.name):
                found[field.name] = as_object(value)
        elif value:
            found[field.name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return found


def _any(message: Any) -> dict[str, str]:
    fields = {"type_url": message.type_url, "value": base64.b64encode(message.value).decode()}
    return {key: value for key, value in fields.items() if value}
