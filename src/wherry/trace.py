"""One switch for seeing every step on the way to a running container, with times.

The doors to the kernel call `step(...)`; it does nothing until a program that wants to watch calls
`watch(sink)`. This is the one piece of module-level state in the house: a sink per process, because
what is traced is the process.

`WHERRY_TRACE=<file>` in wherryd's environment is that switch for containers: the zygote's children, shims and inits, append
their steps to the file, a line each: process, seconds, operation, subject.
"""

from __future__ import annotations

import os
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


def watch_as_environment_says() -> None:
    """Appends all further steps of this process and its forks to the file that WHERRY_TRACE names, if it does."""
    path = os.environ.get("WHERRY_TRACE")
    if not path:
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(moment: float, operation: str, subject: str) -> None:
        try:
            os.write(file, f"{os.getpid()} {moment:.6f} {operation} {subject}\n".encode("utf-8", "surrogateescape"))
        except OSError:  # a child that closes all it does not know: it is watched up to there
            watch(None)

    watch(write)
