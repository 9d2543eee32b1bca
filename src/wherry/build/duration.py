"""Go's durations as text (`1m30s`, `500ms`): what HEALTHCHECK's flags take."""

from __future__ import annotations

import re

_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration_ns(text: str) -> int | None:
    """Nanoseconds; None where the text is no duration. A bare `0` is one, as in Go."""
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-")
    if rest == "0":
        return 0
    if not rest or not re.fullmatch(f"(?:{_PART.pattern})+", rest):
        return None
    return sign * sum(round(float(number) * _UNITS_NS[unit]) for number, unit in _PART.findall(rest))


def duration_text(nanoseconds: int) -> str:
    """As Go prints a duration: `0s`, `1.5ms`, `1m0s`, `1h0m0.5s`."""
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if 0 < nanoseconds < 1000 * size and nanoseconds < 1_000_000_000:
            return f"{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    seconds = f"{_decimal(rest, 1_000_000_000)}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, size: int) -> str:
    """A fraction without trailing zeros."""
    whole, part = divmod(value, size)
    digits = str(part).zfill(len(str(size)) - 1).rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)
