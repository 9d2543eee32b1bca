"""Work for the time after an answer: folders made ready, trees unmounted, disks emptied, when nobody waits.

Jobs are done one by one once nothing was begun for a moment, so that they do not take the processors away from the next
request. Whoever needs a job's effect asks for it with `now` and gets it at once. What is left at the end is done then;
what a crash leaves undone, the next start of the engine finds and does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)

QUIET_S = 0.02  # nothing was begun for so long
LONGEST_S = 0.5  # however busy it is, jobs wait no longer than this


class Job:
    """One piece of work, done once."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self.since = time.monotonic()

    async def now(self) -> None:
        """Returns when it is done; does it if nobody has begun. Never raises: a failure is logged."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._do())
        await asyncio.shield(self._task)

    async def _do(self) -> None:
        try:
            await self._work()
        except Exception:
            log.exception("work after an answer failed")


class Afterwards:
    """The queue. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._draining: asyncio.Task[None] | None = None
        self._busy_until = 0.0

    def busy(self) -> None:
        """Something that people wait for begins: jobs wait a little longer."""
        self._busy_until = time.monotonic() + QUIET_S

    def later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Job:
        """Puts work into the queue."""
        job = Job(work)
        self._jobs.append(job)
        self.busy()
        if self._timer is None and self._draining is None:
            self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._look)
        return job

    async def close(self) -> None:
        """Does what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._draining is not None:
            await self._draining
        while self._jobs:
            await self._jobs.popleft().now()

    def _look(self) -> None:
        now = time.monotonic()
        wait_s = min(self._busy_until, self._jobs[0].since + LONGEST_S) - now if self._jobs else 0.0
        if wait_s > 0:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)
            return
        self._timer = None
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._jobs:
            now = time.monotonic()
            if now < min(self._busy_until, self._jobs[0].since + LONGEST_S):
                break
            await self._jobs.popleft().now()
        self._draining = None
        if self._jobs:
            self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._look)
