"""Times as people give them to `--since` and `--until`: durations back from now, dates, seconds since 1970."""

from __future__ import annotations

from wherry.cli.values import duration
from wherry.console.units import days_since_epoch

TYPE_CHECKING = False


def timestamp(text: str) -> str:
    """Seconds since 1970 with nanoseconds, as the API takes them. Raises ValueError."""
    import time

    try:
        nanoseconds = time.time_ns() - duration(text)
    except ValueError:
        return _date(text)
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"


def _date(text: str) -> str:
    whole, dot, fraction = text.partition(".")
    if whole.lstrip("-").isdecimal() and (not dot or fraction.isdecimal()) and not whole.startswith("--"):
        return text
    if len(text) < 10 or text[4:5] != "-":
        from wherry.cli.values import go_quote

        raise ValueError(f"failed to parse value as time or duration: {go_quote(text)}")
    try:
        return _parse(text)
    except (ValueError, IndexError):
        from wherry.cli.values import go_quote

        raise ValueError(f"failed to parse value as time or duration: {go_quote(text)}") from None


def _parse(text: str) -> str:
    import time

    date, _, clock = text.partition("T")
    year, month, day = (int(one) for one in date.split("-"))
    zone: int | None = None
    if clock.endswith("Z"):
        clock, zone = clock[:-1], 0
    else:
        for sign in "+-":
            body, mark, shift = clock.rpartition(sign)
            if mark:
                zone = (1 if sign == "+" else -1) * (int(shift[:2]) * 3600 + int(shift[-2:]) * 60)
                clock = body
    parts = (clock or "0").split(":")
    second, _, fraction = (parts[2] if len(parts) > 2 else "0").partition(".")
    moment = (year, month, day, int(parts[0]), int(parts[1]) if len(parts) > 1 else 0, int(second))
    if zone is None:
        seconds = int(time.mktime((*moment, 0, 0, -1)))
    else:
        seconds = days_since_epoch(year, month, day) * 86400 + moment[3] * 3600 + moment[4] * 60 + moment[5] - zone
    return f"{seconds}.{fraction[:9].ljust(9, '0')}"
