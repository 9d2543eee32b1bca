"""Signals as something to poll: while watched they end nobody, they are read from a descriptor."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Any, Self

HUP, INT, QUIT, KILL, PIPE, TERM, CHLD, STOP, URG, WINCH = 1, 2, 3, 9, 13, 15, 17, 19, 23, 28
# What docker passes on to the process: everything that can be caught, but for those about our own children, pipes and terminal.
PROXIED = tuple(number for number in range(1, 32) if number not in (KILL, STOP, CHLD, PIPE, URG, WINCH, 32))
ENDING = (HUP, INT, QUIT, TERM)


class SignalWatch:
    """`with SignalWatch(numbers) as watch:` `watch.fileno()` becomes readable when one came, `watch.read()` tells which."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = tuple(numbers)
        self._before: dict[int, Any] = {}
        self._read = self._write = -1
        self._wakeup = -1

    def __enter__(self) -> Self:
        import _signal

        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = _signal.signal(number, _noticed)
        return self

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._read

    def read(self) -> list[int]:
        """The signals that came since."""
        try:
            return [number for number in os.read(self._read, 4096) if number in self._before]
        except BlockingIOError:
            return []

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import _signal

        for number, before in self._before.items():
            _signal.signal(number, before if before is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)


def _noticed(_number: int, _frame: object) -> None:
    """The number is in the pipe already (signal(7): the handler only has to exist)."""
