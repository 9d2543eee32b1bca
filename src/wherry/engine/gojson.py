"""JSON as Go's encoding/json reads and writes it, for the API's bodies.

Reading: `null` leaves a field at its zero value, names match without regard to case, unknown fields are ignored, and
a wrong type is told in Go's words (`json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Memory of
type int64`), since scripts look at them. Writing: fields that Go marks `omitempty` are left out.
"""

from __future__ import annotations

import functools
import types
import typing
from typing import Any, TypeVar

import msgspec

from wherry.engine.model import Model
from wherry.errors import InvalidArgument

M = TypeVar("M", bound=Model)


def decode(body: bytes, kind: type[M]) -> M:
    """The value that `body` spells. Raises InvalidArgument for text that is no JSON and for wrong types."""
    if not body.strip():
        raise InvalidArgument("invalid JSON: got EOF while reading request body")
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).removeprefix("JSON is malformed: ").replace("Input data was truncated", "unexpected EOF")
        raise InvalidArgument(f"invalid JSON: {reason}") from error
    return convert(raw, kind)


def convert(raw: object, kind: type[M]) -> M:
    """The same for a document that is parsed already."""
    if raw is None:
        return kind()
    if not isinstance(raw, dict):
        raise _mismatch(raw, f"Go value of type {_GO_PACKAGE.get(kind.__name__, 'container')}.{kind.__name__}")
    value = _struct(raw, kind, ())
    assert isinstance(value, kind)
    return value


def plain(value: object) -> Any:
    """What is to be written as JSON for a value: dictionaries and lists, without what Go leaves out."""
    if isinstance(value, Model):
        kind = type(value)
        result = {}
        for field in _fields(kind):
            item = getattr(value, field.name)
            if field.name in kind.OMIT_EMPTY and (item is None or (not item and not field.pointer)):
                continue
            result[field.json_name] = plain(item)
        return result
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def encode(value: object) -> bytes:
    """The value as JSON text."""
    return msgspec.json.encode(plain(value))


# The Go package of a type, where a message names it at the top level.
_GO_PACKAGE = {"NetworkConnectRequest": "network", "NetworkDisconnectRequest": "network"}


class _Field(msgspec.Struct, frozen=True):
    name: str
    json_name: str
    annotation: Any
    # A pointer to a scalar or struct: an explicit zero is different from «not given», and is written.
    pointer: bool


@functools.cache
def _fields(kind: type[Model]) -> tuple[_Field, ...]:
    """A struct's fields: its own first, then those it inherits, as Go writes embedded structs."""
    hints = typing.get_type_hints(kind, include_extras=True)
    bases = [base for base in kind.__mro__[1:] if issubclass(base, Model)]
    inherited = {name for base in bases for name in base.__struct_fields__}
    fields = [_Field(name, json_name, hints[name], _is_pointer(hints[name]))
              for name, json_name in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)]
    # CreateRequest extends ContainerConfig the other way round: there the embedded part comes first.
    own_first = "host_config" not in kind.__struct_fields__
    return tuple(sorted(fields, key=lambda field: (field.name in inherited) == own_first))


@functools.cache
def _by_folded_name(kind: type[Model]) -> dict[str, _Field]:
    return {field.json_name.lower(): field for field in _fields(kind)}


def _is_pointer(annotation: Any) -> bool:
    bare, optional, _ = _unwrap(annotation)
    return optional and typing.get_origin(bare) not in (tuple, dict)


def _unwrap(annotation: Any) -> tuple[Any, bool, dict[str, Any]]:
    """The type without Annotated and None; whether it had None; the extra facts of its annotation."""
    extra: dict[str, Any] = {}
    optional = False
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *notes = typing.get_args(annotation)
            for note in notes:
                if isinstance(note, msgspec.Meta):
                    extra = {**(note.extra or {}), **extra}
                    extra.update({key: limit for key, limit in (("ge", note.ge), ("le", note.le)) if limit is not None})
        elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
            members = [one for one in typing.get_args(annotation) if one is not type(None)]
            optional = len(members) < len(typing.get_args(annotation))
            annotation = members[0]
        else:
            return annotation, optional, extra


def _struct(raw: dict[str, Any], kind: type[Model], path: tuple[str, ...]) -> Model:
    values: dict[str, Any] = {}
    folded = _by_folded_name(kind)
    for key, item in raw.items():
        field = folded.get(key.lower())
        if field is None or item is None:
            continue
        values[field.name] = _value(item, field.annotation, kind, (*path, field.json_name))
    return kind(**values)


def _value(raw: Any, annotation: Any, owner: type[Model], path: tuple[str, ...]) -> Any:
    bare, optional, extra = _unwrap(annotation)
    origin = typing.get_origin(bare)
    if raw is None:
        return _zero(bare, optional, origin)
    if origin is tuple:
        return _sequence(raw, bare, extra, owner, path)
    if origin is dict:
        if not isinstance(raw, dict):
            raise _mismatch(raw, _where(owner, path, _go_type(annotation)))
        inner = typing.get_args(bare)[1]
        return {key: _value(item, inner, owner, path) for key, item in raw.items()}
    if isinstance(bare, type) and issubclass(bare, Model):
        if not isinstance(raw, dict):
            raise _mismatch(raw, _where(owner, path, _go_type(annotation)))
        return _struct(raw, bare, path)
    if type(raw) is not bare:
        raise _mismatch(raw, _where(owner, path, _go_type(annotation)))
    if bare is int and not extra.get("ge", raw) <= raw <= extra.get("le", 2**64 - 1):
        raise _mismatch(raw, _where(owner, path, _go_type(annotation)), number=True)
    return raw


def _sequence(raw: Any, bare: Any, extra: dict[str, Any], owner: type[Model], path: tuple[str, ...]) -> Any:
    members = typing.get_args(bare)
    if extra.get("strslice") and isinstance(raw, str):
        return (raw,)
    if not isinstance(raw, list):
        raise _mismatch(raw, _where(owner, path, _go_type(bare)))
    if members[-1] is Ellipsis:
        return tuple(_value(item, members[0], owner, path) for item in raw)
    # A Go array: what is missing is zero, what is too much is dropped.
    padded = [*raw, *[None] * len(members)][: len(members)]
    return tuple(_value(item, member, owner, path) for item, member in zip(padded, members, strict=True))


def _zero(bare: Any, optional: bool, origin: Any) -> Any:
    if optional or origin in (tuple, dict):
        return None
    return bare()


def _go_type(annotation: Any) -> str:
    """How Go would name the type, as far as its messages show it."""
    bare, _, extra = _unwrap(annotation)
    origin = typing.get_origin(bare)
    members = typing.get_args(bare)
    if origin is tuple:
        inner = _go_type(members[0])
        return f"[]{inner}" if members[-1] is Ellipsis else f"[{len(members)}]{inner}"
    if origin is dict:
        return f"map[string]{_go_type(members[1])}"
    if issubclass(bare, Model):
        return f"container.{bare.__name__}"
    return str(extra.get("go") or {bool: "bool", str: "string", int: "int"}[bare])


def _where(owner: type[Model], path: tuple[str, ...], go_type: str) -> str:
    return f"Go struct field {owner.__name__}.{'.'.join(path)} of type {go_type}"


def _mismatch(raw: object, where: str, *, number: bool = False) -> InvalidArgument:
    if isinstance(raw, bool):
        name = "bool"
    elif isinstance(raw, int | float):
        name = f"number {raw}" if number or isinstance(raw, float) else "number"
    else:
        name = "string" if isinstance(raw, str) else "array" if isinstance(raw, list) else "object"
    return InvalidArgument(f"invalid JSON: json: cannot unmarshal {name} into {where}")
