"""Points in time as Docker writes them (RFC 3339 with up to nine digits of a second) and as nanoseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime

from wherry.errors import InvalidArgument


def format_time(at_ns: int) -> str:
    """`2026-01-02T03:04:05.123456789Z`, without trailing zeros, as Go's RFC3339Nano."""
    seconds, fraction = divmod(at_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    digits = f"{fraction:09}".rstrip("0")
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 text. Raises InvalidArgument."""
    whole, dot, rest = text.partition(".")
    fraction = ""
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        fraction, rest = rest[:digits], rest[digits:]
        whole += rest
    try:
        moment = datetime.fromisoformat(whole.replace("z", "Z"))
    except ValueError as err:
        raise InvalidArgument(f'parsing time "{text}": {err}') from err
    if moment.tzinfo is None or (dot and not fraction):
        raise InvalidArgument(f'parsing time "{text}": not RFC 3339')
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _SECOND
    return seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0)


_SECOND = datetime(1970, 1, 1, 0, 0, 1) - datetime(1970, 1, 1)  # noqa: DTZ001  # their difference has no zone
