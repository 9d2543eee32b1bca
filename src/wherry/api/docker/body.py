"""A request's body on its way from the connection to the handler, with back-pressure.

The connection feeds chunks in; the handler takes them out, either in the event loop or, as a file, in a worker
thread. Above HIGH_BYTES the connection is asked to stop reading its socket, below LOW_BYTES to go on: a slow reader
slows the client down and never grows the daemon.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections import deque
from typing import TYPE_CHECKING

from wherry.api.docker.http import MAX_JSON_BYTES
from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HIGH_BYTES = 1 << 20
LOW_BYTES = 256 << 10


class IncomingBody:
    """The one body of a request. `want` is called when it is first read, `pause` and `resume` to slow the client."""

    def __init__(self, *, want: Callable[[], None], pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._want, self._pause, self._resume = want, pause, resume
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._broken = False
        self._discarding = False
        self._paused = False
        self._changed: threading.Condition | None = None  # made when a worker thread reads; until then one thread has all
        self._waiter: asyncio.Future[None] | None = None

    # -- the connection's side, in the event loop

    @property
    def is_complete(self) -> bool:
        """Whether everything that the client has to send has arrived."""
        return self._ended

    def feed(self, chunk: bytes) -> None:
        """More bytes from the client."""
        if self._discarding:
            return
        if self._changed is None:
            self._chunks.append(chunk)
            self._size += len(chunk)
            self._wake()
        else:
            with self._changed:
                self._chunks.append(chunk)
                self._size += len(chunk)
                self._changed.notify()
        if self._size > HIGH_BYTES and not self._paused:
            self._paused = True
            self._pause()

    def end(self) -> None:
        """The client has sent all of it."""
        self._ended = True
        self._wake()

    def fail(self) -> None:
        """The client went away in the middle, or sent something that is no HTTP."""
        self._broken = not self._ended
        self._wake()

    def discard(self) -> None:
        """Nobody will read the rest: throws away what is here and what comes."""
        self._discarding = True
        self._chunks.clear()
        self._size = 0
        self._wake()
        self._flow()

    async def wait_complete(self, seconds: float) -> None:
        """Waits until the rest has come, the client has gone, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not (self._ended or self._broken):
                    await self._wait()
        except TimeoutError:
            return

    # -- the handler's side

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks as they come. Raises ConnectionResetError when the client went away before the end."""
        self._want()
        while True:
            chunk = self._take()
            if chunk:
                self._flow()
                yield chunk
            elif self._ended:
                return
            elif self._broken:
                raise ConnectionResetError("the client went away in the middle of the request's body")
            else:
                await self._wait()

    async def read(self, limit: int = MAX_JSON_BYTES) -> bytes:
        """All of it. Raises InvalidArgument when it is longer than `limit` bytes."""
        if self._ended and not self._chunks:
            return b""
        parts, size = [], 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                raise InvalidArgument(f"request body is longer than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def as_file(self) -> io.RawIOBase:
        """A file for a worker thread; see `http.Body`. To be called in the event loop."""
        self._want()
        if self._changed is None:
            self._changed = threading.Condition()
        return _BodyFile(self, self._changed, asyncio.get_running_loop())

    # -- between the two

    def take_blocking(self, changed: threading.Condition, loop: asyncio.AbstractEventLoop) -> bytes:
        """The next chunk, in a worker thread; empty at the end. Raises ConnectionResetError as `__aiter__`."""
        with changed:
            while not (self._chunks or self._ended or self._broken or self._discarding):
                changed.wait()
            chunk = self._take()
        if not chunk and not self._ended:
            raise ConnectionResetError("the client went away in the middle of the request's body")
        if self._paused and self._size < LOW_BYTES:
            loop.call_soon_threadsafe(self._flow)
        return chunk

    def _take(self) -> bytes:
        if not self._chunks:
            return b""
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        return chunk

    def _flow(self) -> None:
        if self._paused and self._size < LOW_BYTES:
            self._paused = False
            self._resume()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._changed is not None:
            with self._changed:
                self._changed.notify()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _BodyFile(io.RawIOBase):
    """The body as a file that blocks its reader's thread."""

    def __init__(self, body: IncomingBody, changed: threading.Condition, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._body = body
        self._changed = changed
        self._loop = loop
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fills as much of the buffer as has arrived, at least one byte before the end."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not self._rest:
            self._rest = memoryview(self._body.take_blocking(self._changed, self._loop))
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
