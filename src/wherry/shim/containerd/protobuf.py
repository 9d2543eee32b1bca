"""Protocol buffers' wire format, as far as ttrpc's messages need it: tables of fields, a decoder, an encoder; nothing generated.

    Mount = Message("Mount", Field(1, "type", STRING), Field(4, "options", STRING, repeated=True))
    decode(Mount, encode(Mount, {"type": "bind", "options": ["ro"]})) == {"type": "bind", "options": ["ro"]}

A decoded message has all its fields, those that were not sent with their zero value (None for a message). Unknown fields are
passed over. Source: protobuf.dev, «Encoding».
"""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

UINT: Final = "uint"  # uint32, uint64, enums
INT: Final = "int"  # int32, int64: negative numbers have ten bytes
BOOL: Final = "bool"
STRING: Final = "string"
BYTES: Final = "bytes"
MAP: Final = "map"  # map<string, string>
_ZERO: Final = {UINT: 0, INT: 0, BOOL: False, STRING: "", BYTES: b""}
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_LIMIT: Final = 1 << 64


class Field:
    """One field of a message: its number, its name, and its kind (one of the words above, or another message)."""

    __slots__ = ("kind", "name", "number", "repeated")

    def __init__(self, number: int, name: str, kind: str | Message, *, repeated: bool = False) -> None:
        self.number, self.name, self.kind, self.repeated = number, name, kind, repeated

    def zero(self) -> Any:
        """What the field is when it was not sent."""
        if self.repeated:
            return []
        if self.kind == MAP:
            return {}
        return _ZERO[self.kind] if isinstance(self.kind, str) else None


class Message:
    """A message's name (as in type URLs) and its fields."""

    __slots__ = ("by_number", "fields", "name")

    def __init__(self, name: str, *fields: Field) -> None:
        self.name = name
        self.fields = fields
        self.by_number = {field.number: field for field in fields}


_ENTRY: Final = Message("", Field(1, "key", STRING), Field(2, "value", STRING))


def decode(message: Message, data: bytes) -> dict[str, Any]:
    """The fields by name. Raises InvalidArgument when the bytes are no such message."""
    values = {field.name: field.zero() for field in message.fields}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at, message)
        field = message.by_number.get(key >> 3)
        wire = key & 7
        if wire == _VARINT:
            raw, at = _read_varint(data, at, message)
            if field is not None:
                _store(values, field, _number(field, raw, message))
        elif wire == _DELIMITED:
            length, at = _read_varint(data, at, message)
            if at + length > len(data):
                raise _broken(message)
            if field is not None:
                _take(values, field, data[at : at + length], message)
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
            if at > len(data) or field is not None:
                raise _broken(message)
        else:
            raise _broken(message)
    return values


def encode(message: Message, values: Mapping[str, Any]) -> bytes:
    """The message's bytes; fields at their zero value are left out. Raises KeyError for a name that is not a field's."""
    known = {field.name for field in message.fields}
    for name in values:
        if name not in known:
            raise KeyError(f"{message.name} has no field {name}")
    out = bytearray()
    for field in message.fields:
        value = values.get(field.name)
        if not value and value != {}:  # a message that is there but empty is sent, everything else at zero is not
            continue
        if field.kind == MAP:
            for key, text in value.items():
                _put_bytes(out, field.number, encode(_ENTRY, {"key": key, "value": text}))
        elif field.repeated and field.kind in (UINT, INT, BOOL):
            packed = bytearray()
            for one in value:
                _put_varint(packed, int(one))
            _put_bytes(out, field.number, bytes(packed))
        else:
            for one in value if field.repeated else (value,):
                _put(out, field, one)
    return bytes(out)


def _take(values: dict[str, Any], field: Field, raw: bytes, message: Message) -> None:
    kind = field.kind
    if isinstance(kind, Message):
        _store(values, field, decode(kind, raw))
    elif kind == STRING:
        try:
            _store(values, field, raw.decode())
        except UnicodeDecodeError:
            raise InvalidArgument(f"{message.name}.{field.name} is not UTF-8") from None
    elif kind == BYTES:
        _store(values, field, raw)
    elif kind == MAP:
        entry = decode(_ENTRY, raw)
        values[field.name][entry["key"]] = entry["value"]
    elif field.repeated:  # packed numbers
        at = 0
        while at < len(raw):
            number, at = _read_varint(raw, at, message)
            _store(values, field, _number(field, number, message))
    else:
        raise _broken(message)


def _store(values: dict[str, Any], field: Field, value: Any) -> None:
    if field.repeated:
        values[field.name].append(value)
    else:
        values[field.name] = value


def _number(field: Field, raw: int, message: Message) -> int | bool:
    if field.kind == BOOL:
        return bool(raw)
    if field.kind == INT:
        return raw - _LIMIT if raw >= _LIMIT >> 1 else raw
    if field.kind != UINT:
        raise _broken(message)
    return raw


def _read_varint(data: bytes, at: int, message: Message) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _broken(message)
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _LIMIT, at
        shift += 7


def _put(out: bytearray, field: Field, value: Any) -> None:
    if isinstance(field.kind, Message):
        _put_bytes(out, field.number, encode(field.kind, value))
    elif field.kind == STRING:
        _put_bytes(out, field.number, value.encode())
    elif field.kind == BYTES:
        _put_bytes(out, field.number, value)
    else:
        _put_varint(out, field.number << 3 | _VARINT)
        _put_varint(out, int(value))


def _put_bytes(out: bytearray, number: int, value: bytes) -> None:
    _put_varint(out, number << 3 | _DELIMITED)
    _put_varint(out, len(value))
    out += value


def _put_varint(out: bytearray, value: int) -> None:
    value %= _LIMIT
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _broken(message: Message) -> InvalidArgument:
    return InvalidArgument(f"the bytes are no {message.name or 'message'}")
