"""The functions of templates: Go's own, and docker's json, split, join, title, lower, upper, pad, truncate."""

from __future__ import annotations

from wherry.cli.template.printing import go_type, plain, sprintf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class CallFailed(Exception):
    """A function refused; the text is Go's."""


class WrongType(Exception):
    """An argument of a type that the function cannot take; the text is Go's."""


def truth(value: Any) -> bool:
    """Go's idea of a value that counts as true: not empty, not zero, not nil."""
    if value is None or value is False or (value == 0 and not isinstance(value, str)):
        return False
    if isinstance(value, str | list | dict | tuple):
        return len(value) > 0
    return not getattr(value, "is_nil", False)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongType(f"wrong type for value; expected string; got {go_type(value)}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WrongType(f"wrong type for value; expected int; got {go_type(value)}")
    return value


def to_json(value: Any) -> str:
    """`json`: Go's encoder without HTML escapes."""
    from wherry.cli.jsontext import dumps

    row = getattr(value, "template_json", None)
    return dumps(value) if row is None else dumps(row(), html=True)


def split(text: Any, separator: Any) -> list[str]:
    """strings.Split."""
    return _text(text).split(_text(separator)) if separator else list(_text(text))


def join(values: Any, separator: Any) -> str:
    """strings.Join."""
    if not isinstance(values, list):
        raise WrongType(f"wrong type for value; expected []string; got {go_type(values)}")
    return _text(separator).join(_text(one) for one in values)


def title(text: Any) -> str:
    """strings.Title: the first letter of each word."""
    out, inside = [], False
    for one in _text(text):
        out.append(one if inside else one.upper())
        inside = one.isalnum() or one in "_'"
    return "".join(out)


def pad(text: Any, before: Any, after: Any) -> str:
    """Spaces around a text; an empty text stays empty."""
    return " " * _whole(before) + _text(text) + " " * _whole(after) if text else ""


def truncate(text: Any, length: Any) -> str:
    """At most `length` characters."""
    return _text(text)[: _whole(length)]


def index(value: Any, *keys: Any) -> Any:
    """`index x 1 "a"`: into lists, texts and maps."""
    for key in keys:
        if value is None:
            raise CallFailed("index of untyped nil")
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise CallFailed(f"value has type {go_type(key)}; should be string")
            value = value.get(key)
        elif isinstance(value, list | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise CallFailed(
                    f"cannot index slice/array with type {go_type(key)}"
                    if key is not None
                    else "cannot index slice/array with nil"
                )
            if not 0 <= key < len(value):
                raise CallFailed(f"index out of range: {key}")
            value = value[key] if isinstance(value, list) else value.encode()[key]
        else:
            raise CallFailed(f"can't index item of type {go_type(value)}")
    return value


def slice_(value: Any, *bounds: Any) -> Any:
    """`slice x 1 2`."""
    if not isinstance(value, list | str):
        raise CallFailed(f"can't slice item of type {go_type(value)}" if value is not None else "slice of untyped nil")
    if len(bounds) > 2:
        raise CallFailed(
            f"too many slice indexes: {len(bounds)}"
            if len(bounds) > 3 or isinstance(value, list)
            else "cannot 3-index slice a string"
        )
    low, high = [*[_whole(one) for one in bounds], *(0, len(value))[len(bounds) :]]
    for one in bounds:
        if not 0 <= one <= len(value):
            raise CallFailed(f"index out of range: {one}")
    if low > high:
        raise CallFailed(f"invalid slice index: {low} > {high}")
    return value[low:high]


def length(value: Any) -> int:
    """`len`."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, list | dict):
        return len(value)
    raise CallFailed("len of nil pointer" if value is None else f"len of type {go_type(value)}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return (
        "int" if isinstance(value, int) else "float" if isinstance(value, float) else "string" if isinstance(value, str) else ""
    )


def equal(first: Any, *others: Any) -> bool:
    """`eq`: the first one against each of the others."""
    if not others:
        raise CallFailed("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
            continue
        if not _kind(first) or not _kind(other):
            raise CallFailed(
                "incompatible types for comparison"
                if _kind(first) or _kind(other)
                else f"non-comparable type {plain(first)}: {go_type(first)}"
            )
        if _kind(first) != _kind(other):
            raise CallFailed("incompatible types for comparison")
        if first == other:
            return True
    return False


def less(left: Any, right: Any) -> bool:
    """`lt`."""
    if _kind(left) != _kind(right) or not _kind(left):
        raise CallFailed("incompatible types for comparison" if _kind(left) and _kind(right) else "invalid type for comparison")
    if isinstance(left, bool):
        raise CallFailed("invalid type for comparison")
    return bool(left < right)


def print_(*values: Any) -> str:
    """fmt.Sprint: spaces between operands when neither is a text."""
    out = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            out += " "
        out += plain(value)
    return out


def escape_html(*values: Any) -> str:
    """`html`."""
    return (
        print_(*values)
        .replace("&", "&amp;")
        .replace("'", "&#39;")
        .replace('"', "&#34;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
    )


def escape_query(*values: Any) -> str:
    """`urlquery`."""
    from wherry.cli.client import escape

    return escape(print_(*values), " ").replace(" ", "+")


def escape_js(*values: Any) -> str:
    """`js`."""
    table = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
    return "".join(table.get(one, one if one >= " " else f"\\u{ord(one):04X}") for one in print_(*values))


# name: (function, least arguments, most arguments or -1)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "and": (lambda *values: values, 1, -1),
    "or": (lambda *values: values, 1, -1),
    "not": (lambda value: not truth(value), 1, 1),
    "len": (length, 1, 1),
    "index": (index, 1, -1),
    "slice": (slice_, 1, -1),
    "print": (print_, 0, -1),
    "println": (lambda *values: " ".join(plain(one) for one in values) + "\n", 0, -1),
    "printf": (lambda text, *values: sprintf(_text(text), list(values)), 1, -1),
    "eq": (equal, 1, -1),
    "ne": (lambda left, right: not equal(left, right), 2, 2),
    "lt": (less, 2, 2),
    "le": (lambda left, right: less(left, right) or equal(left, right), 2, 2),
    "gt": (lambda left, right: not (less(left, right) or equal(left, right)), 2, 2),
    "ge": (lambda left, right: not less(left, right), 2, 2),
    "html": (escape_html, 0, -1),
    "js": (escape_js, 0, -1),
    "urlquery": (escape_query, 0, -1),
    "call": (lambda *_values: None, 1, -1),
    "json": (to_json, 1, 1),
    "split": (split, 2, 2),
    "join": (join, 2, 2),
    "title": (title, 1, 1),
    "lower": (lambda text: _text(text).lower(), 1, 1),
    "upper": (lambda text: _text(text).upper(), 1, 1),
    "pad": (pad, 3, 3),
    "truncate": (truncate, 2, 2),
}

# In the header line of a table these leave their text alone.
HEADER_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "json": (_text, 1, 1),
    "title": (_text, 1, 1),
    "lower": (_text, 1, 1),
    "upper": (_text, 1, 1),
    "truncate": (lambda text, _length: _text(text), 2, 2),
    "split": (lambda text, _separator: _text(text), 2, 2),
    "join": (lambda text, _separator: text, 2, 2),
}
