"""How failures of the kernel read to people."""

from __future__ import annotations


def describe(error: OSError) -> str:
    """A failure in one clause: what was tried and why not, «mkdir /x: permission denied»."""
    reason = error.strerror or str(error)
    if ": " in reason or not error.filename:
        return reason
    return f"{error.filename}: {reason.lower()}"
