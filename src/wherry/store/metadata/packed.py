"""Values of any type that records carry without looking into them, and how they are kept in the database."""

from __future__ import annotations

from base64 import b64decode, b64encode

from wherry.oci.jsontext import dumps, loads
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Packed(Record):
    """A value of some type: what an Any has."""

    type_url: str
    value: bytes


def text_of(value: Packed | None) -> str:
    """As a column's text."""
    return dumps(_pack(value))


def of_text(text: str) -> Packed | None:
    """Of a column's text."""
    return _unpack(loads(text))


def text_of_map(values: Mapping[str, Packed | None]) -> str:
    """Several by name, as a column's text."""
    return dumps({name: _pack(value) for name, value in values.items()})


def map_of_text(text: str) -> dict[str, Packed | None]:
    """Several by name, of a column's text."""
    return {name: _unpack(value) for name, value in loads(text).items()}


def _pack(value: Packed | None) -> list[str] | None:
    return None if value is None else [value.type_url, b64encode(value.value).decode()]


def _unpack(value: list[str] | None) -> Packed | None:
    return None if value is None else Packed(type_url=value[0], value=b64decode(value[1]))
