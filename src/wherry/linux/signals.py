"""Signals by name, as Docker's users write them.

Source: signal(7).
"""

from __future__ import annotations

import _signal

_LAST = 30  # what Docker allows beside SIGRTMIN and SIGRTMAX


def signal_number(text: str) -> int | None:
    """`SIGTERM`, `term`, `15`, `RTMIN+3`; None for what is no signal."""
    if text.isdecimal():
        return int(text) if 0 < int(text) <= _signal.SIGRTMAX else None
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    for base, sign, first in (("SIGRTMIN", "+", _signal.SIGRTMIN), ("SIGRTMAX", "-", _signal.SIGRTMAX)):
        kind, found, distance = name.partition(sign)
        if found and kind == base:
            return first + int(sign + distance) if distance.isdecimal() and int(distance) <= _LAST else None
    number = getattr(_signal, name, None)
    return int(number) if isinstance(number, int) and not name.startswith("SIG_") else None
