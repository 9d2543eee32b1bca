"""Moments in messages: nanoseconds of the wall clock here, seconds and nanoseconds there."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

_NS = 1_000_000_000
_GO_ZERO_SECONDS = -62135596800  # 0001-01-01, which Go sends for a time that was never set


def timestamp(ns: int) -> Timestamp:
    """The message of a moment; 0 is «never», as Go sends it."""
    if not ns:
        return Timestamp(seconds=_GO_ZERO_SECONDS)
    return Timestamp(seconds=ns // _NS, nanos=ns % _NS)


def nanoseconds(stamp: Timestamp) -> int:
    """The moment of a message, 0 for «never»."""
    ns = stamp.seconds * _NS + stamp.nanos
    return 0 if stamp.seconds == _GO_ZERO_SECONDS else ns
