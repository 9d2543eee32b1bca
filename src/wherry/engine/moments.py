"""Times as clients give them in filters: seconds since 1970, RFC 3339 in whole or in part, or how long ago."""

from __future__ import annotations

import datetime
import re
import time

from wherry.errors import InvalidArgument

_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?(?:ns|us|µs|μs|ms|s|m|h))+)")
_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = re.compile(r"(\d+)(?:\.(\d{1,9}))?")


def parse_moment(text: str, now_ns: int | None = None) -> int:
    """Nanoseconds since 1970: `1136073600.5`, `2006-01-02T15:04:05.999Z`, `2006-01-02` (local time), `1h30m` (before now).

    Raises InvalidArgument for anything else. Docker's client package says which forms there are.
    """
    if match := _SECONDS.fullmatch(text):
        return int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0"))
    if match := _DURATION.fullmatch(text):
        span = sum(round(float(number) * _UNITS[unit]) for number, unit in _PART.findall(match[2]))
        return (time.time_ns() if now_ns is None else now_ns) - (-span if match[1] == "-" else span)
    return _rfc3339(text)


def _rfc3339(text: str) -> int:
    head, _, tail = text.partition(".")
    digits = tail[:len(tail) - len(tail.lstrip("0123456789"))]
    try:
        # A date alone, hours alone and a missing zone are allowed; without a zone it is the machine's.
        seconds = int(datetime.datetime.fromisoformat(head + tail[len(digits):]).timestamp())
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f'failed to parse value as time or duration: "{text}"') from error
    return seconds * 10**9 + int(digits[:9].ljust(9, "0"))
