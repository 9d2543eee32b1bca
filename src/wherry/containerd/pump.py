"""The thread in which streams move: the shim's loop, beside the daemon's, so that a slow disk holds up no request."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from wherry.shim.logwriter import pack
from wherry.shim.loop import IN, Loop

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Pump:
    """One thread with a loop. `loop` is for what runs in the thread."""

    def __init__(self) -> None:
        self.loop = Loop()
        self._main = asyncio.get_running_loop()
        self._work: deque[Callable[[], None]] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = self._ending = False
        self.loop.watch(self._wake, IN, self._woken)
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def post(self, work: Callable[[], None]) -> None:
        """Has something done in the thread, after what was posted before; nothing is any more once it is being closed."""
        if self._closed:
            return
        self._work.append(work)
        os.eventfd_write(self._wake, 1)

    async def run(self, work: Callable[[], T]) -> T:
        """The same; its result, or what it raised."""
        done: asyncio.Future[T] = self._main.create_future()
        self.post(lambda: self._do(work, done))
        return await done

    def tell(self, what: Callable[[], object]) -> None:
        """From the thread: has something done in the daemon's loop."""
        self._main.call_soon_threadsafe(what)

    def settle(self, done: asyncio.Future[T], result: T) -> None:
        """From the thread: gives a future of the daemon's loop its result, if somebody still waits for it."""
        self.tell(lambda: None if done.done() else done.set_result(result))

    def pack(self, path: str) -> int:
        """Packs a rotated log file beside all this, as a `LogWriter` asks for it."""
        done, told = os.pipe2(os.O_CLOEXEC)

        def work() -> None:
            try:
                pack(path)
            except OSError as error:
                log.warning("%s cannot be compressed: %s", path, error)
            finally:
                os.close(told)

        threading.Thread(target=work, name="packer").start()
        return done

    def close(self) -> None:
        """Ends the thread after what was posted."""
        def end() -> None:
            self._ending = True

        self.post(end)
        self._closed = True
        self._thread.join()
        self.loop.close()
        os.close(self._wake)

    def _do(self, work: Callable[[], T], done: asyncio.Future[T]) -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 (it is raised where it was asked for)
            failed = error  # the name in `except` ends with it
            self.tell(lambda: None if done.done() else done.set_exception(failed))
        else:
            self.settle(done, result)

    def _woken(self, _events: int) -> None:
        os.eventfd_read(self._wake)
        while self._work:
            self._work.popleft()()

    def _run(self) -> None:
        while not self._ending:
            try:
                self.loop.run_once()
            except Exception:  # a defect in one stream must not cost all others theirs
                log.exception("a stream failed")
