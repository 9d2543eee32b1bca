"""One switch for seeing every step on the way to a running container, with times.

The doors to the kernel call `step(...)`; it does nothing until a program that wants to watch calls
`watch(sink)`. This is the one piece of module-level state in the house: a sink per process, because
what is traced is the process.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Sink = Callable[[float, str, str], None]

_sink: Sink | None = None


def watch(sink: Sink | None) -> None:
    """Sends all further steps to `sink(seconds_since_boot, operation, subject)`; None turns it off."""
    global _sink
    _sink = sink


def step(operation: str, subject: str = "") -> None:
    """Says that an operation is about to be done, if anybody watches."""
    if _sink is not None:
        _sink(time.monotonic(), operation, subject)
