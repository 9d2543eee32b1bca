"""Sizes, spans and times as docker prints them."""

from __future__ import annotations

DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def _scaled(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    at = 0
    while size >= base and at < len(names) - 1:
        size /= base
        at += 1
    return f"{size:.{digits}g}{names[at]}"


def size(count: float, digits: int = 4) -> str:
    """Bytes in powers of 1000: `4.27MB`."""
    return _scaled(count, 1000.0, DECIMAL, digits)


def binary_size(count: float) -> str:
    """Bytes in powers of 1024: `1.5GiB`."""
    return _scaled(count, 1024.0, BINARY, 4)


def span(seconds: float) -> str:
    """How long, roughly: `About a minute`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if whole < 120:
        return "About a minute"
    if whole < 3600:
        return f"{whole // 60} minutes"
    hours = int(seconds / 3600 + 0.5)
    for limit, divisor, name in (
        (48, 1, "hours"),
        (24 * 14, 24, "days"),
        (24 * 60, 24 * 7, "weeks"),
        (24 * 365 * 2, 24 * 30, "months"),
    ):
        if hours == 1:
            return "About an hour"
        if hours < limit:
            return f"{hours // divisor} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def parse_time(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time (nanoseconds are kept as far as a float goes). Raises ValueError."""
    date, _, clock = text.partition("T")
    year, month, day = (int(one) for one in date.split("-"))
    zone = 0.0
    if clock.endswith("Z"):
        clock = clock[:-1]
    else:
        for sign in "+-":
            body, mark, shift = clock.rpartition(sign)
            if mark:
                hours, _, minutes = shift.partition(":")
                zone = (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes or 0) * 60)
                clock = body
    hour, minute, second = clock.split(":")
    return days_since_epoch(year, month, day) * 86400 + int(hour) * 3600 + int(minute) * 60 + float(second) - zone


def days_since_epoch(year: int, month: int, day: int) -> int:
    """Days from 1 January 1970 in the Gregorian calendar."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def local_time(seconds: float) -> str:
    """A time as Go's Time.String writes it: `2026-11-25 01:07:46 +0000 UTC`."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(int(seconds)))


def local_iso(seconds: float) -> str:
    """A local time in RFC 3339: `2026-11-25T01:07:46Z`."""
    import time

    moment = time.localtime(int(seconds))
    zone = time.strftime("%z", moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


def ellipsis(text: str, width: int) -> str:
    """At most `width` columns, with `…` at the end of what was cut."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 1 else text[:width]


def short_id(identifier: str) -> str:
    """The first twelve digits, without the algorithm."""
    return identifier.rpartition(":")[2][:12]
