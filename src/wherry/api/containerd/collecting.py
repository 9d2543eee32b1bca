"""When garbage is collected: at once where somebody waits for it, otherwise soon after something was let go."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.engine.pool import Pool
    from wherry.store.collection import Collection

log = logging.getLogger(__name__)

_PAUSE_S = 0.1  # so that many removals in a row cost one collection


class Collector:
    """For the event loop's thread alone."""

    def __init__(self, pool: Pool, collection: Collection) -> None:
        self._pool, self._collection = pool, collection
        self._coming: asyncio.Task[None] | None = None
        self._is_wanted_again = False  # since the one that is coming has begun
        self._is_closed = False

    async def now(self) -> None:
        """Removes what nothing holds; on return it is gone. Raises OSError."""
        await self._pool.run_long(self._collection.run)

    def soon(self) -> None:
        """Something was let go: what it held may be garbage. Nothing is collected any more once it is closed."""
        if self._is_closed:
            return
        if self._coming is None:
            self._coming = asyncio.get_running_loop().create_task(self._collect())
        else:
            self._is_wanted_again = True

    async def close(self) -> None:
        """Calls the next collection off, and waits for one that is under way."""
        self._is_closed = True
        if self._coming is not None:
            await self._coming

    async def _collect(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        self._is_wanted_again = False
        try:
            if not self._is_closed:
                collected = await self._pool.run_long(self._collection.run)
                log.debug("garbage collection: %d records, %d files", len(collected.nodes), collected.files)
        except OSError:
            log.exception("garbage collection failed; the next one goes on with it")
        finally:
            self._coming = None
        if self._is_wanted_again:
            self.soon()
