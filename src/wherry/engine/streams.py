"""Bridges between blocking iterators in a thread of their own and the event loop, with back-pressure.

For streams that may last as long as a client listens (logs, archives, exports): they must not take the pool's threads.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

AHEAD = 4  # chunks that the thread may be ahead of the reader


async def from_thread(make: Callable[[], Iterable[bytes]], cancel: Callable[[], None] | None = None) -> AsyncIterator[bytes]:
    """The chunks of an iterable that is made and read in a thread of its own. Raises what it raises.

    When the reader stops early, `cancel` is called (it must make a blocked iterator end); the iterable is closed in its
    thread, and the reader waits for that.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)
    stopped = threading.Event()
    done = loop.create_future()

    def work() -> None:
        error: BaseException | None = None
        try:
            chunks = make()
            try:
                for chunk in chunks:
                    room.acquire()
                    if stopped.is_set():
                        break
                    loop.call_soon_threadsafe(queue.put_nowait, chunk)
            finally:
                close = getattr(chunks, "close", None)
                if close is not None:
                    close()
        except BaseException as caught:  # noqa: BLE001 (handed to the reader)
            error = caught
        loop.call_soon_threadsafe(finish, error)

    def finish(error: BaseException | None) -> None:
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(None)
        queue.put_nowait(None)

    threading.Thread(target=work, name="wherry-stream", daemon=True).start()
    ended = False
    try:
        while (chunk := await queue.get()) is not None:
            room.release()
            if chunk:
                yield chunk
        ended = True
    finally:
        stopped.set()
        room.release()
        if not ended and cancel is not None:
            cancel()
        if not ended:
            await asyncio.wait([done])
            done.exception()
    done.result()
