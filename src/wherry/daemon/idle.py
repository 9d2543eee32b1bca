"""When a daemon that was started on demand may end: nothing has needed it for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.api.docker.server import Server
    from wherry.engine.compose import Engine


class Idle:
    """Watches one daemon."""

    def __init__(self, engine: Engine, server: Server, seconds: float) -> None:
        self._engine = engine
        self._server = server
        self._seconds = seconds

    async def wait(self) -> None:
        """Returns when the daemon was idle for the time given."""
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while True:
            if self.is_busy():
                idle_since = loop.time()
            left = self._seconds - (loop.time() - max(idle_since, self._server.last_activity))
            if left <= 0:
                return
            await asyncio.sleep(min(left, max(0.05, self._seconds / 20)))

    def is_busy(self) -> bool:
        """Whether a request is being answered, a container runs or waits for its restart, an image is moved or built."""
        engine = self._engine
        return bool(self._server.requests_under_way or engine.transfer.under_way or engine.builds.under_way
                    or any(one.state.running or one.next_start is not None for one in engine.containers))
