"""JSON for programs that start cold: `loads` and `dumps` on `_json`, the C half of the library's module; `Section` reads one.

`import json` costs a cold start 7 ms (it brings `re`), `_json` less than one. Where `_json` is missing or differs, the
library's module does the work; the results are the same (a property test compares them).
"""

from __future__ import annotations

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SPACE = " \t\n\r"
_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it; the codec «utf-8-sig» would be one more module to import


class _Context:
    """What the C scanner asks of a decoder: how to make numbers, objects and arrays."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


def loads(text: bytes | str) -> Any:
    """The value of a JSON text (UTF-8 when bytes). ValueError says where it stops making sense."""
    if isinstance(text, bytes):
        text = text.removeprefix(_MARK).decode()
    start = 0
    while start < len(text) and text[start] in _SPACE:
        start += 1
    try:
        from _json import make_scanner
    except ImportError:
        from json import loads as slow

        return slow(text, parse_constant=_Context.parse_constant)
    try:
        value, end = make_scanner(_Context)(text, start)  # type: ignore[arg-type]
    except StopIteration as stop:
        raise ValueError(f"not JSON at character {stop.value}") from None
    except SystemError:  # the scanner found no way to say what is wrong: it asks for json.decoder, which a child must not import
        raise ValueError("unexpected end of JSON input") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"something follows the JSON at character {end}")
    return value


def dumps(value: object, indent: int = 0) -> str:
    """`value` as JSON text; compact, or with `indent` spaces per level. TypeError for what JSON does not know."""
    if not indent:
        try:
            from _json import encode_basestring, make_encoder

            encoder = make_encoder(None, _unknown, encode_basestring, None, ":", ",", False, False, False)
        except (ImportError, TypeError):
            pass  # another Python's has other arguments
        else:
            try:
                return "".join(encoder(value, 0))
            except ValueError as error:
                raise TypeError(f"not JSON: {error}") from None
    parts: list[str] = []
    _write(value, parts.append, _quote(), indent, "\n")
    return "".join(parts)


def _unknown(value: Any) -> dict[Any, Any]:
    """What the C encoder does not know: other mappings than dict, or nothing that JSON has."""
    if hasattr(value, "items"):
        return dict(value.items())
    raise TypeError(f"{type(value).__name__} is not JSON")


def _quote() -> Any:
    try:
        from _json import encode_basestring
    except ImportError:
        from json.encoder import encode_basestring
    return encode_basestring


def _write(value: Any, put: Any, quote: Any, indent: int, line: str) -> None:
    if isinstance(value, str):
        put(quote(value))
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, int):
        put(int.__repr__(value))
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError(f"{value!r} is not JSON")
        put(float.__repr__(value))
    elif isinstance(value, (list, tuple)):
        _write_items("[]", [(None, item) for item in value], put, quote, indent, line)
    elif hasattr(value, "items"):
        _write_items("{}", list(value.items()), put, quote, indent, line)
    else:
        raise TypeError(f"{type(value).__name__} is not JSON")


def _write_items(brackets: str, items: list[tuple[Any, Any]], put: Any, quote: Any, indent: int, line: str) -> None:
    if not items:
        put(brackets)
        return
    inner = line + " " * indent if indent else ""
    put(brackets[0])
    for number, (key, item) in enumerate(items):
        put(("," if number else "") + inner)
        if key is not None:
            put(quote(key if isinstance(key, str) else str(key)))
            put(": " if indent else ":")
        _write(item, put, quote, indent, line + " " * indent)
    put((line if indent else "") + brackets[1])


class Section:
    """An object of a document, and its place there, which errors name: «process.args».

    Each getter raises InvalidArgument for a value of another type.
    """

    __slots__ = ("document", "place")

    def __init__(self, document: Any, place: str) -> None:
        if not isinstance(document, dict):
            raise InvalidArgument(f"{place or 'config.json'}: expected an object, got {_kind(document)}")
        self.document = document
        self.place = place

    def wrong(self, name: str, expected: str, value: object) -> InvalidArgument:
        """The error for a value of the wrong type."""
        place = f"{self.place}.{name}" if self.place else name
        return InvalidArgument(f"{place}: expected {expected}, got {_kind(value)}")

    def text(self, name: str) -> str:
        """A string; empty where it is missing."""
        value = self.document.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where it is missing."""
        value = self.document.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def number(self, name: str) -> int | None:
        """An integer, or None."""
        value = self.document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "an integer", value)
        return value

    def count(self, name: str) -> int:
        """A number that must not be negative; 0 where it is missing."""
        value = self.number(name) or 0
        if value < 0:
            raise self.wrong(name, "a number that is not negative", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; empty where it is missing."""
        value = self.document.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of strings", value)
        return tuple(value)

    def numbers(self, name: str) -> tuple[int, ...]:
        """A list of numbers that are not negative; empty where it is missing."""
        value = self.document.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, int) and item >= 0 for item in value):
            raise self.wrong(name, "a list of numbers", value)
        return tuple(value)

    def texts_by_name(self, name: str) -> Mapping[str, str]:
        """An object of strings; empty where it is missing."""
        value = self.document.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self.wrong(name, "an object of strings", value)
        return value

    def object(self, name: str) -> Mapping[str, Any] | None:
        """An object as it is, or None."""
        value = self.document.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return value

    def section(self, name: str) -> Section | None:
        """An object to be read further, or None."""
        value = self.object(name)
        return None if value is None else Section(value, f"{self.place}.{name}" if self.place else name)

    def sections(self, name: str) -> list[Section]:
        """A list of such objects; empty where it is missing."""
        value = self.document.get(name)
        if value is None:
            return []
        place = f"{self.place}.{name}" if self.place else name
        if not isinstance(value, list):
            raise self.wrong(name, "a list", value)
        return [Section(item, f"{place}[{number}]") for number, item in enumerate(value)]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    names: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
