"""The event loop of `wherry-proxy`: epoll, timers, nothing else. Small on purpose: the process lives as long as the machine."""

from __future__ import annotations

import heapq
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
FAILED = select.EPOLLERR | select.EPOLLHUP


class Timer:
    """Something to be done later, unless it is cancelled."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Callable[[], None] | None) -> None:
        self.at = at
        self.action = action

    def cancel(self) -> None:
        """Forgets the action. Idempotent."""
        self.action = None

    def __lt__(self, other: Timer) -> bool:
        return self.at < other.at


class Loop:
    """Calls handlers when descriptors are ready. Level-triggered; a handler gets the events that epoll saw.

    A handler that raises is reported on stderr and not called again.
    """

    def __init__(self) -> None:
        """Opens the epoll instance."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._timers: list[Timer] = []
        self._running = True

    def watch(self, fd: int, mask: int, handler: Callable[[int], None]) -> None:
        """Calls `handler` when `fd` is ready for what `mask` says; a mask of 0 only remembers the handler.

        A descriptor without a mask is out of epoll altogether: epoll reports a hang-up even to those who ask for nothing.
        """
        self._handlers[fd] = handler
        before = self._masks.get(fd, 0)
        if mask == before:
            return
        if not before:
            self._epoll.register(fd, mask)
        elif not mask:
            self._epoll.unregister(fd)
        else:
            self._epoll.modify(fd, mask)
        self._masks[fd] = mask

    def forget(self, fd: int) -> None:
        """Call it before the descriptor is closed. Idempotent."""
        if self._masks.pop(fd, 0):
            self._epoll.unregister(fd)
        self._handlers.pop(fd, None)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Calls `action` once, after some time."""
        timer = Timer(time.monotonic() + seconds, action)
        heapq.heappush(self._timers, timer)
        return timer

    def stop(self) -> None:
        """Ends `run` after the handler that calls it."""
        self._running = False

    def run(self) -> None:
        """Serves until `stop`."""
        while self._running:
            for fd, events in self._epoll.poll(self._until_next_timer()):
                handler = self._handlers.get(fd)
                if handler and self._masks.get(fd):  # an earlier handler of this round may have closed it
                    try:
                        handler(events)
                    except Exception:  # noqa: BLE001 (one connection's defect must not end all the others)
                        sys.excepthook(*sys.exc_info())
                        self.forget(fd)
            self._run_timers()

    def close(self) -> None:
        """Closes the epoll instance."""
        self._epoll.close()

    def _until_next_timer(self) -> float | None:
        while self._timers and self._timers[0].action is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            action = heapq.heappop(self._timers).action
            if action:
                action()
