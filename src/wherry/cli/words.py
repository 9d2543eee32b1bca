"""Errors of the operating system in Go's words, which is how docker says them."""

from __future__ import annotations

TYPE_CHECKING = False


def os_error(error: OSError, call: str = "open") -> str:
    """`open /x: no such file or directory`."""
    reason = (error.strerror or str(error)).lower()
    return f"{call} {error.filename}: {reason}" if error.filename else reason
