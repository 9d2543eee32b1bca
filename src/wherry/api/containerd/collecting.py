"""When garbage is collected: after removals and many changes, at containerd's pace, and when somebody waits for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.api.containerd.pace import Pace
    from wherry.engine.pool import Pool
    from wherry.store.collection import Collection

log = logging.getLogger(__name__)

_PAUSE_AFTER_FAILURE_S = 1.0  # beside the interval


class Collector:
    """For the event loop's thread alone, but for `changed`.

    As in containerd, all that happens in an interval costs one collection at its end, and how long collections take decides
    how long intervals are. It differs in that nothing wakes up while nothing happens.
    """

    def __init__(self, pool: Pool, collection: Collection, pace: Pace) -> None:
        self._pool, self._collection, self._pace = pool, collection, pace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._earliest = 0.0  # the interval's end
        self._deletions = self._mutations = 0  # since the last collection began, and ended
        self._runs, self._run_s = 0, 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._coming: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From here on collections come by themselves; the first one finds what an earlier daemon left."""
        self._loop = asyncio.get_running_loop()
        if self._pace.startup_delay_s > 0:
            self._earliest = self._loop.time() + self._pace.startup_delay_s
            self._arm(self._earliest)

    async def now(self) -> None:
        """Removes what nothing holds; on return it is gone. Raises OSError."""
        await asyncio.sleep(self._pace.schedule_delay_s)
        await self._run()

    def deleted(self) -> None:
        """Something was let go: what it held may be garbage."""
        self._deletions += 1
        self._consider()

    def changed(self) -> None:
        """Something was written: what is unheld from its beginning is found after many of those. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._count_change)

    async def close(self) -> None:
        """Calls the next collection off, and waits for one that is under way."""
        self._loop = None
        self._disarm()
        if self._coming is not None:
            await self._coming

    def _count_change(self) -> None:
        self._mutations += 1
        self._consider()

    def _consider(self) -> None:
        """Sets the moment of the next collection, where there is a reason for one."""
        if self._loop is None:
            return
        soon = self._loop.time() + self._pace.schedule_delay_s
        if self._pace.is_urgent(self._deletions):
            self._arm(soon)
        elif self._pace.is_reason(self._deletions, self._mutations):
            self._arm(max(soon, self._earliest))

    def _arm(self, moment: float) -> None:
        if self._loop is None or (self._timer is not None and self._timer.when() <= moment):
            return
        self._disarm()
        self._timer = self._loop.call_at(moment, self._due)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        if self._loop is not None and self._coming is None:
            self._coming = self._loop.create_task(self._collect())

    async def _collect(self) -> None:
        try:
            await self._run()
        except OSError as error:
            log.error("garbage collection failed, and is tried again: %s", error)
        finally:
            self._coming = None

    async def _run(self) -> None:
        """One collection, after one that is under way."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            self._disarm()  # all that it was set for is dealt with here
            deletions, self._deletions, began = self._deletions, 0, loop.time()
            try:
                collected = await self._pool.run_long(self._collection.run)
            except OSError:
                self._deletions += deletions
                self._earliest = loop.time() + self._interval_s() + _PAUSE_AFTER_FAILURE_S
                self._arm(self._earliest)
                raise
            self._mutations = 0  # a collection's own writes are some, too
            self._runs, self._run_s = self._runs + 1, self._run_s + loop.time() - began
            self._earliest = loop.time() + self._interval_s()
            self._consider()
        log.debug("garbage collection: %d records, %d files", len(collected.nodes), collected.files)

    def _interval_s(self) -> float:
        return self._pace.interval_s(self._run_s / self._runs if self._runs else None)
