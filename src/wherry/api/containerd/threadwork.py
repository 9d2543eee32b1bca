"""Work of one call in a thread of the pool: how it is told to stop, and how it asks the event loop for something."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

from wherry.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from wherry.engine.pool import Pool

T = TypeVar("T")

_LOOK_S = 0.2  # how often a thread that waits for the event loop looks whether it is to stop


class Work:
    """Made in the event loop; everything else but `run` is for the thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_over = threading.Event()

    async def run(self, pool: Pool, function: Callable[[], T]) -> T:
        """What the function, which does this work, comes to. When the caller goes, that is heard of once the thread has ended."""
        return await to_its_end(pool.run_long(function), self._is_over.set)

    def go_on(self, pause_s: float = 0.0) -> None:
        """Waits a little. Raises Cancelled when nobody waits for the work any more."""
        if self._is_over.wait(pause_s) if pause_s else self._is_over.is_set():
            raise Cancelled("context canceled")

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine in the event loop comes to. Raises what it raises, Cancelled."""
        asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        while True:
            try:
                return asked.result(_LOOK_S)
            except TimeoutError:
                try:
                    self.go_on()
                except Cancelled:
                    asked.cancel()
                    raise

    def tell(self, function: Callable[..., object], *args: object) -> None:
        """Has something called in the event loop."""
        self._loop.call_soon_threadsafe(function, *args)


async def to_its_end(work: Awaitable[T], gone: Callable[[], object] | None = None) -> T:
    """What work in a thread comes to. A client that goes meanwhile is heard of once the thread ends; `gone` is called at once.

    So nothing that the thread has in its hands is let go of under it.
    """
    doing, cancelled = asyncio.ensure_future(work), None
    while not doing.done():
        try:
            await asyncio.wait((doing,))
        except asyncio.CancelledError as error:
            cancelled = error
            if gone is not None:
                gone()
    if cancelled is not None:
        if not doing.cancelled():
            doing.exception()  # nobody asks for it any more
        raise cancelled
    return doing.result()
