"""JSON as Go's encoding/json writes it; reading is `oci.jsontext`'s."""

from __future__ import annotations

from wherry.oci import jsontext

__all__ = ["dumps", "loads", "number", "quote"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = Any


def loads(text: str | bytes) -> Json:
    """The value of a JSON text. Raises ValueError.

    Bytes are decoded here: the codec for a byte order mark is an import that a cold start can save.
    """
    return jsontext.loads(text if isinstance(text, str) else text.decode("utf-8", "surrogateescape"))


def dumps(value: Json, *, html: bool = False, indent: str = "") -> str:
    """Compact JSON as Go's encoder writes it; `html` escapes `<`, `>` and `&` as Go's json.Marshal does."""
    parts: list[str] = []
    _write(value, parts, indent, "\n")
    text = "".join(parts)
    if html:
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text


_ESCAPED = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def quote(text: str) -> str:
    """A JSON string."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPED.get(one) or (one if one >= " " else f"\\u{ord(one):04x}") for one in text) + '"'


def number(value: float) -> str:
    """A number as Go's encoding/json writes it."""
    if isinstance(value, int):
        return str(value)
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    return text.replace("e-0", "e-") if "e-0" in text else text


def _write(value: Json, parts: list[str], indent: str, line: str) -> None:
    if value is None or getattr(value, "is_nil", False):
        parts.append("null")
    elif value is True or value is False:
        parts.append("true" if value else "false")
    elif isinstance(value, str):
        parts.append(quote(value))
    elif isinstance(value, int | float):
        parts.append(number(value))
    elif isinstance(value, dict):
        _members(
            ((f"{quote(str(key))}:{' ' if indent else ''}", one) for key, one in value.items()),
            bool(value),
            "{}",
            parts,
            indent,
            line,
        )
    elif isinstance(value, list | tuple):
        _members((("", one) for one in value), bool(value), "[]", parts, indent, line)
    else:
        raise TypeError(f"no JSON for {type(value).__name__}")


def _members(pairs: Any, some: bool, brackets: str, parts: list[str], indent: str, line: str) -> None:
    parts.append(brackets[0])
    deeper = line + indent
    comma = ""
    for label, one in pairs:
        parts.append(comma)
        if indent:
            parts.append(deeper)
        parts.append(label)
        _write(one, parts, indent, deeper)
        comma = ","
    if indent and some:
        parts.append(line)
    parts.append(brackets[1])
