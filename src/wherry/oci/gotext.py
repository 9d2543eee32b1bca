"""Text between quotes as Go's programs write and read it, since the messages and filters of the family are made with it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_SHORT: Final = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v", "\\": "\\"}
_LONG: Final = {short: char for char, short in _SHORT.items()}
_DIGITS: Final = {"x": 2, "u": 4, "U": 8}
QUOTES: Final = '"/|'
_NO_NUMBER: Final = "illegal numeric escape sequence"


def quote(text: str) -> str:
    """`text` as `%q` prints it (strconv.Quote)."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def unquote(text: str) -> str:
    """What a Go string literal means (strconv.Unquote); also `/…/` and `|…|`, as in containerd's filters. Raises ValueError."""
    if len(text) < 2 or text[0] not in QUOTES or text[-1] != text[0]:
        raise ValueError("quoted literal not terminated")
    found, rest = bytearray(), text[1:-1]
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "\\":
            meant, rest = _meant(rest, text[0])
            found += meant
        elif char in ("\n", text[0]):
            raise ValueError("quoted literal not terminated")
        else:
            found += char.encode()
    return found.decode("utf-8", "replace")


def _escaped(char: str) -> str:
    if char == '"':
        return '\\"'
    if char in _SHORT:
        return "\\" + _SHORT[char]
    if char.isprintable():
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _meant(rest: str, quote: str) -> tuple[bytes, str]:
    """The bytes of the escape that begins after a backslash, and what follows it."""
    kind = rest[:1]
    if kind in _LONG or kind == quote:
        return _LONG.get(kind, kind).encode(), rest[1:]
    if kind in _DIGITS:
        end = 1 + _DIGITS[kind]
        number = _number(rest[1:end], _DIGITS[kind], 16)
        return (bytes((number,)) if kind == "x" else _character(number)), rest[end:]
    if not "0" <= kind <= "7":
        raise ValueError("illegal escape sequence")
    number = _number(rest[:3], 3, 8)
    if number > 0xFF:
        raise ValueError(_NO_NUMBER)
    return bytes((number,)), rest[3:]


def _number(digits: str, length: int, base: int) -> int:
    if len(digits) != length or not digits.isalnum() or not digits.isascii():
        raise ValueError(_NO_NUMBER)
    try:
        return int(digits, base)
    except ValueError:
        raise ValueError(_NO_NUMBER) from None


def _character(number: int) -> bytes:
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise ValueError(_NO_NUMBER)
    return chr(number).encode()
