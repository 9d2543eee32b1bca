"""Go's texts for values, both ways: durations, sizes, moments, quoted texts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_NANOSECONDS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def duration(text: str) -> float:
    """Seconds of a Go duration such as 5s, 1m30s, -1.5h, 0. Raises ValueError."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(text)
    total = 0.0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number):]
        unit = rest[: next((at for at, letter in enumerate(rest) if letter in "0123456789."), len(rest))]
        rest = rest[len(unit):]
        if unit not in _NANOSECONDS or not number.strip(".") or number.count(".") > 1:
            raise ValueError(text)
        total += float(number) * _NANOSECONDS[unit]
    return (-total if text[0] == "-" else total) / 1e9


def spelled_duration(seconds: float) -> str:
    """A duration as Go prints it: 24h0m0s, 1.5s, 300ms, 0s."""
    nanoseconds = round(seconds * 1e9)
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if left < size * 1_000:
            return f"{sign}{_decimal(left, size)}{unit}"
    hours, left = divmod(left, 3600 * 10**9)
    minutes, left = divmod(left, 60 * 10**9)
    text = f"{_decimal(left, 10**9)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(count: int, size: int) -> str:
    whole, rest = divmod(count, size)
    digits = str(rest).rjust(len(str(size)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def size(count: int) -> str:
    """Bytes with a unit, as ctr's tables show them: `4.0 KiB`, `12.0 B`."""
    value, at = float(count), 0
    while value >= 1024.0 and at < len(_UNITS) - 1:
        value /= 1024.0
        at += 1
    return f"{value:.1f} {_UNITS[at]}"


def quoted(text: str) -> str:
    """The text in double quotes, with Go's escapes."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(one, one if one.isprintable() else f"\\x{ord(one):02x}") for one in text) + '"'


def labels(words: Iterable[str]) -> dict[str, str]:
    """`key=value` words as labels; a word without a value is a label `true`."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        found[key] = value if equals else "true"
    return found


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as ctr prints them: `a=b,c`, in order of their keys."""
    return ",".join(f"{key}={value}" if value else key for key, value in sorted(labels.items()))


def moment(stamp: Any) -> str:
    """A protobuf timestamp in RFC 3339 to the second."""
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp.seconds))


def moment_ns(stamp: Any) -> str:
    """A protobuf timestamp in RFC 3339 with as many digits as it needs."""
    import time

    fraction = f".{stamp.nanos:09d}".rstrip("0") if stamp.nanos else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(stamp.seconds)) + fraction + "Z"


def moment_spoken(stamp: Any) -> str:
    """A protobuf timestamp as Go's `%s` prints a time: 2026-11-25 09:30:23.77 +0000 UTC."""
    return moment_ns(stamp).replace("T", " ").replace("Z", " +0000 UTC")
