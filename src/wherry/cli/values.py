"""Values of flags, read as Go reads them, with Go's words for what is wrong (scripts match on them).

Every function takes the text and returns the value, or raises ValueError whose text follows `invalid argument "x" for "--flag"
flag: `.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def go_quote(text: str) -> str:
    """A text as Go's %q writes it."""
    out = []
    for character in text:
        if character in ('"', "\\"):
            out.append("\\" + character)
        elif character in _ESCAPES:
            out.append(_ESCAPES[character])
        elif not character.isprintable():
            code = ord(character)
            if 0xDC80 <= code <= 0xDCFF:
                out.append(f"\\x{code - 0xDC00:02x}")
            elif code < 0x80:
                out.append(f"\\x{code:02x}")
            else:
                out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            out.append(character)
    return '"' + "".join(out) + '"'


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def boolean(text: str) -> bool:
    """strconv.ParseBool."""
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax")


def _digits(text: str, base: int) -> int | None:
    """An unsigned Go number with base prefix and underscores when `base` is 0; None when it is none."""
    body = text
    if base == 0:
        lower = text.lower()
        base = 10
        for prefix, value in (("0x", 16), ("0b", 2), ("0o", 8)):
            if lower.startswith(prefix):
                base, body = value, text[2:]
                break
        else:
            if len(text) > 1 and text[0] == "0":
                base, body = 8, text[1:]
        body = body.removeprefix("_") if body is not text else body
        if "__" in body or body.endswith("_") or body.startswith("_"):
            return None
        body = body.replace("_", "")
    if not body or not body.isascii() or not body.isalnum():
        return None
    try:
        return int(body, base)
    except ValueError:
        return None


def integer(text: str, bits: int = 64, base: int = 0, call: str = "ParseInt") -> int:
    """strconv.ParseInt with a signed size in bits."""
    sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    value = _digits(body, base)
    if value is None:
        raise ValueError(f"strconv.{call}: parsing {go_quote(text)}: invalid syntax")
    if not -(1 << (bits - 1)) <= sign * value < 1 << (bits - 1):
        raise ValueError(f"strconv.{call}: parsing {go_quote(text)}: value out of range")
    return sign * value


def unsigned(text: str, bits: int = 64, base: int = 0) -> int:
    """strconv.ParseUint."""
    value = _digits(text, base)
    if value is None:
        raise ValueError(f"strconv.ParseUint: parsing {go_quote(text)}: invalid syntax")
    if value >= 1 << bits:
        raise ValueError(f"strconv.ParseUint: parsing {go_quote(text)}: value out of range")
    return value


def uint16(text: str) -> int:
    """A number below 65536."""
    return unsigned(text, 16)


def plain_float(text: str) -> float | None:
    """strconv.ParseFloat for plain decimal numbers; None when it is none."""
    body = text[1:] if text[:1] in ("+", "-") else text
    mantissa, _, exponent = body.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    if not (whole + fraction).isdecimal() or not body.isascii():
        return None
    if "e" in body.lower() and not exponent.lstrip("+-").isdecimal():
        return None
    return float(text)


_SIZE_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "b": 0}


def ram_bytes(text: str) -> int:
    """units.RAMInBytes: `512m`, `1.5g`, `4 KiB`; powers of 1024."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    suffix = text[len(number) :].strip().lower()
    if not number or not (number[-1].isdecimal() or number[-1] == "."):
        raise ValueError(f"invalid size: '{text}'")
    value = plain_float(number)
    if value is None:
        raise ValueError(f"invalid size: '{text}'")
    if value < 0:
        raise ValueError(f"invalid size: '{text}'")
    short = suffix[:1]
    if suffix not in ("", "b", short, short + "b", short + "ib") or short not in _SIZE_UNITS:
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(value * 1024 ** _SIZE_UNITS[short])


def swap_bytes(text: str) -> int:
    """A size of memory, or -1 for no limit."""
    return -1 if text == "-1" else ram_bytes(text)


def nano_cpus(text: str) -> int:
    """A number of processors as billionths."""
    top, slash, bottom = text.partition("/")
    numerator = plain_float(top)
    denominator = plain_float(bottom) if slash else 1.0
    if numerator is None or not denominator:
        raise ValueError(f"failed to parse {text} as a rational number")
    if slash:
        scaled = numerator * 1e9 / denominator
        if scaled != int(scaled):
            raise ValueError("value is too precise")
        return int(scaled)
    return _decimal_nanos(top)


def _decimal_nanos(text: str) -> int:
    """A decimal number times 10^9, exactly."""
    negative = text.startswith("-")
    mantissa, _, exponent = text.lstrip("+-").lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = 9 + int(exponent or "0") - len(fraction)
    digits = int((whole + fraction) or "0")
    if shift < 0:
        if digits % 10**-shift:
            raise ValueError("value is too precise")
        value = digits // int(10**-shift)
    else:
        value = digits * int(10**shift)
    return -value if negative else value


_DURATION_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def duration(text: str) -> int:
    """time.ParseDuration: `1h2m3.5s`; nanoseconds."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {go_quote(text)}")
    total = 0
    while rest:
        number = _take(rest, "0123456789.")
        if not number.strip(".") or number.count(".") > 1:
            raise ValueError(f"time: invalid duration {go_quote(text)}")
        rest = rest[len(number) :]
        unit = _take_unit(rest)
        if not unit:
            raise ValueError(f"time: missing unit in duration {go_quote(text)}")
        if unit not in _DURATION_UNITS:
            raise ValueError(f"time: unknown unit {go_quote(unit)} in duration {go_quote(text)}")
        rest = rest[len(unit) :]
        whole, _, fraction = number.partition(".")
        scale = _DURATION_UNITS[unit]
        total += int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)
    return -total if text[0] == "-" else total


def _take(text: str, allowed: str) -> str:
    end = 0
    while end < len(text) and text[end] in allowed:
        end += 1
    return text[:end]


def _take_unit(text: str) -> str:
    end = 0
    while end < len(text) and text[end] not in "0123456789.":
        end += 1
    return text[:end]


def string(text: str) -> str:
    """Any text."""
    return text


def comma_list(text: str) -> list[str]:
    """One line of CSV as pflag's string slices read it."""
    return csv_fields(text)


def csv_fields(text: str) -> list[str]:
    """The fields of one CSV record with Go's quoting rules and messages."""
    if not text:
        return []
    fields, position = [], 0
    while True:
        if text[position : position + 1] == '"':
            value, position = _quoted_field(text, position)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            value = text[position:end]
            if '"' in value:
                column = position + value.index('"') + 1
                raise ValueError(f'parse error on line 1, column {column}: bare " in non-quoted-field')
            position = end
        fields.append(value)
        if position >= len(text):
            return fields
        position += 1


def _quoted_field(text: str, position: int) -> tuple[str, int]:
    value = ""
    position += 1
    while True:
        end = text.find('"', position)
        if end < 0:
            raise ValueError(f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
        value += text[position:end]
        position = end + 1
        following = text[position : position + 1]
        if following == '"':
            value += '"'
            position += 1
        elif following in ("", ","):
            return value, position
        else:
            raise ValueError(f'parse error on line 1, column {position}: extraneous or missing " in quoted-field')


def key_value(text: str) -> tuple[str, str]:
    """`key=value` of the flags whose kind is «map»."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text} must be formatted as key=value")
    return key, value


def filter_pair(text: str) -> tuple[str, str]:
    """`name=value` of `--filter`; the name is lower case and trimmed."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def environment(text: str) -> str:
    """`NAME=value`, or `NAME` for the value it has here (left for later, when the environment is at hand)."""
    if text.partition("=")[0] == "" or not text:
        raise ValueError(f"invalid environment variable: {text}")
    return text


KINDS: dict[str, Callable[[str], Any]] = {
    "bool": boolean,
    "string": string,
    "int": integer,
    "int64": integer,
    "uint": unsigned,
    "uint16": uint16,
    "bytes": ram_bytes,
    "decimal": nano_cpus,
    "duration": duration,
    "list": string,
    "strings": comma_list,
    "map": key_value,
    "filter": filter_pair,
}
# Kinds whose flags may be given several times.
COLLECTING = frozenset(("list", "strings", "map", "filter", "mount", "network", "ulimit", "gpu-request"))
