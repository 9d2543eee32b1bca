"""Progress of long work as Docker streams it: one JSON object a line, from worker threads to the client.

    {"status":"Pulling fs layer","progressDetail":{},"id":"3d2ab7…"}
    {"status":"Downloading","progressDetail":{"current":1024,"total":4096},"progress":"[=====>  ] …","id":"3d2ab7…"}
    {"errorDetail":{"message":"…"},"error":"…"}                       the last line of what failed after it had begun

A client that reads slowly gets fewer measured lines, not a longer queue.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.errors import Cancelled, WherryError, message_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

BAR_WIDTH = 50


class Lines:
    """Lines on their way to one client. `put` may be called from any thread; the other methods in the event loop."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        """Set when nobody reads any more: the work is to stop."""
        self._loop = asyncio.get_running_loop()
        self._guard = threading.Lock()
        self._waiting: dict[object, bytes] = {}
        self._woken = asyncio.Event()
        self._number = 0

    def put(self, value: dict[str, Any], *, replaces: object = None) -> None:
        """Adds a line. A line that was not sent yet and has the same key `replaces` is replaced."""
        line = encode(value)
        with self._guard:
            self._number += 1
            self._waiting[self._number if replaces is None else replaces] = line
            first = len(self._waiting) == 1
        if first:
            self._loop.call_soon_threadsafe(self._woken.set)

    def status(self, status: str, identifier: str = "", *, current: int = 0, total: int = 0, measured: bool = False,
               about_whole: bool = False, aux: dict[str, Any] | None = None) -> None:
        """A line of progress. `about_whole`: without `progressDetail`, as for lines that are no layer's."""
        value: dict[str, Any] = {"status": status} if status else {}
        if not about_whole:
            value["progressDetail"] = {}
        if measured:
            value["progressDetail"] = {"current": current, **({"total": total} if total else {})}
            value["progress"] = bar(current, total)
        if identifier:
            value["id"] = identifier
        if aux:
            value["aux"] = aux
        self.put(value, replaces=(identifier, status) if measured else None)

    async def stream(self, work: Coroutine[Any, Any, None], *, errors_in_stream: bool = False) -> AsyncIterator[bytes]:
        """Runs the work and yields its lines. An error before the first line is raised, later it is the last line.

        `errors_in_stream`: it is a line in any case. When the iterator is closed the work is told to stop.
        """
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._woken.set())
        begun = errors_in_stream
        try:
            while True:
                if lines := self._take():
                    begun = True
                    yield lines
                elif task.done():
                    break
                else:
                    self._woken.clear()
                    if not self._waiting and not task.done():
                        await self._woken.wait()
            try:
                task.result()
            except (WherryError, OSError) as error:
                if not begun:
                    raise
                yield encode(error_line(error))
            if lines := self._take():
                yield lines
        finally:
            self.cancelled.set()
            if not task.done():
                # It ends by itself, at its next look at `cancelled`; what it raises then is news to nobody.
                task.add_done_callback(_swallow)

    def _take(self) -> bytes:
        with self._guard:
            lines = b"".join(self._waiting.values())
            self._waiting.clear()
        return lines


def encode(value: dict[str, Any]) -> bytes:
    """One line, ended as dockerd ends them."""
    return msgspec.json.encode(value) + b"\r\n"


def error_line(error: BaseException) -> dict[str, Any]:
    """The line that says what went wrong."""
    message = message_of(error)
    return {"errorDetail": {"message": message}, "error": message}


def bar(current: int, total: int) -> str:
    """`[=====>      ]   1.2MB/3.4MB`, for clients that do not draw it themselves."""
    if total <= 0:
        return f"{human_size(current):>8}"
    done = min(BAR_WIDTH, current * 100 // total // 2)
    numbers = f"{human_size(current):>8}" + (f"/{human_size(total)}" if current <= total else "")
    return f"[{'=' * done}>{' ' * (BAR_WIDTH - done)}] {numbers}"


def human_size(size: int) -> str:
    """Bytes in decimal units with four significant digits, as Docker's tools print them: `1.024kB`."""
    value, unit = float(size), 0
    while value >= 1000 and unit < 8:
        value, unit = value / 1000, unit + 1
    return f"{value:.4g}{('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB')[unit]}"


def _swallow(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) and not isinstance(error, Cancelled | WherryError | OSError):
        task.get_loop().call_exception_handler({"message": "work for a client that has gone failed", "exception": error})

