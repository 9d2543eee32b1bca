"""A small event loop on epoll(7) for the shim: descriptors, timers, children. No threads, no asyncio, a page of code.

A callback gets the events (EPOLLIN …) of its descriptor. Callbacks may watch and forget any descriptor, also one whose event
waits in the same round: such events are dropped. EPOLLHUP and EPOLLERR always come, so who wants silence forgets the descriptor.
"""

from __future__ import annotations

import _signal
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
HUP: Final = select.EPOLLHUP
ERR: Final = select.EPOLLERR
SIGCHLD: Final = 17


class Timer:
    """One appointment; `cancel` calls it off."""

    def __init__(self, at: float, callback: Callable[[], None]) -> None:
        self.at = at
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Harmless when it is over."""
        self.callback = None


class Loop:
    """The loop of one process. `close` gives its descriptors back."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callable[[int], None]]] = {}
        self._timers: list[Timer] = []
        self._wake_in = self._wake_out = -1

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Calls back when an event of the descriptor comes; replaces what was watched on it before."""
        known = self._watched.get(fd)
        self._watched[fd] = (events, callback)
        if known is None:
            self._epoll.register(fd, events)
        elif known[0] != events:
            self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """No more callbacks for the descriptor. To be called before it is closed; harmless when it is not watched."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls back once, in so many seconds."""
        timer = Timer(time.monotonic() + seconds, callback)
        self._timers.append(timer)
        return timer

    def on_child(self, callback: Callable[[int, int], None]) -> None:
        """Calls back with pid and wait status of each child that ends; orphans given to this process are among them."""
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

        def reap(_events: int) -> None:
            try:
                os.read(self._wake_in, 4096)
            except BlockingIOError:
                pass
            self._reap(callback)

        self.watch(self._wake_in, IN, reap)
        _signal.signal(SIGCHLD, lambda _number, _frame: None)
        _signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        self.after(0, lambda: self._reap(callback))  # those that ended before

    @staticmethod
    def _reap(callback: Callable[[int, int], None]) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            callback(pid, status)

    def run_once(self) -> None:
        """Waits for the next events or timer, and calls back."""
        timeout = -1.0
        self._timers = [timer for timer in self._timers if timer.callback]
        if self._timers:
            timeout = max(0.0, min(timer.at for timer in self._timers) - time.monotonic())
        for fd, events in self._epoll.poll(timeout, 64):
            known = self._watched.get(fd)
            if known is not None:
                known[1](events)
        now = time.monotonic()
        for timer in self._timers:
            if timer.callback and timer.at <= now:
                callback, timer.callback = timer.callback, None
                callback()

    def close(self) -> None:
        """Gives back the loop's own descriptors."""
        if self._wake_out >= 0:
            _signal.set_wakeup_fd(-1)
            os.close(self._wake_in)
            os.close(self._wake_out)
            self._wake_in = self._wake_out = -1
        self._epoll.close()
