"""containerd's API beside Docker's, or alone: what it stands on, and its server.

gRPC and the messages take 40 MB and a tenth of a second, so they are imported when the first client comes (door.py), or when
there are tasks to take over.
"""

from __future__ import annotations

import logging
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Self

from wherry.daemon import listen
from wherry.daemon.door import Door
from wherry.engine.pool import Pool
from wherry.proto import require
from wherry.proto.channel import quieten
from wherry.record import Record
from wherry.shim.client import Zygote
from wherry.store.root import DataRoot
from wherry.tasks.bundle import all_bundles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.api.containerd.pace import Pace
    from wherry.api.containerd.rooms import Rooms
    from wherry.api.containerd.server import Server
    from wherry.api.containerd.tasking import Tasking
    from wherry.engine.compose import Engine
    from wherry.engine.options import EngineOptions

log = logging.getLogger("wherry.daemon")


class Ground(Record):
    """What containerd's side needs of the daemon: threads, the zygote that starts shims, places; Docker's engine, if any.

    `pace` is that of garbage collection.
    """

    pool: Pool
    zygote: Zygote
    data_folder: str
    run_folder: str
    pace: Pace
    engine: Engine | None = None


def shared(engine: Engine, pace: Pace) -> Ground:
    """The engine's own, for both APIs in one daemon. `pace` is that of garbage collection."""
    return _ground(engine.options, engine.pool, engine.zygote, pace, engine)


@asynccontextmanager
async def alone(options: EngineOptions, pace: Pace) -> AsyncIterator[Ground]:
    """The same without an engine. Raises Unavailable when another daemon uses the data root."""
    async with AsyncExitStack() as stack:
        pool = Pool()
        stack.callback(pool.close)
        root = await pool.run(DataRoot.open, options.data_root)
        stack.callback(root.close)
        os.makedirs(options.run_folder, mode=0o700, exist_ok=True)
        zygote = await Zygote.start(options.run_folder)
        stack.push_async_callback(zygote.close)
        yield _ground(options, pool, zygote, pace)


def door(ground: Ground, address: str) -> Door:
    """The API's socket, from here on. Raises Unsupported where libraries are missing, Conflict for a path in use, OSError."""
    require()
    listen.make_way(address)
    found = Door(address, lambda path: ContainerdApi.open(ground, address, path))
    found.listen()
    log.info("containerd's API listens on %s", address)
    if any(all_bundles(f"{ground.run_folder}/tasks")):
        found.open()
    return found


class ContainerdApi:
    """The API while it is served. Use `open`."""

    def __init__(self, rooms: Rooms, tasking: Tasking, server: Server) -> None:
        self._rooms = rooms
        self._tasking = tasking
        self._server = server

    @classmethod
    async def open(cls, ground: Ground, address: str, path: str) -> Self:
        """Serves on a Unix socket at `path`, which becomes `address`. Raises Unsupported for a later database, OSError."""
        quieten()
        from wherry.api.containerd.rooms import Rooms
        from wherry.api.containerd.server import Server
        from wherry.api.containerd.services import services
        from wherry.api.containerd.tasking import Tasking

        async with AsyncExitStack() as undo:
            rooms = await ground.pool.run(Rooms, ground.data_folder, ground.pool, ground.engine, ground.pace)
            undo.callback(rooms.close)
            tasking = await Tasking.open(ground.run_folder, address, ground.zygote, rooms.exchange)
            undo.push_async_callback(tasking.close)
            server = Server(services(rooms, tasking.tasks, tasking.sandboxes))
            await server.listen(path)
            undo.pop_all()
        rooms.collector.begin()
        log.info("containerd's API has its first client")
        return cls(rooms, tasking, server)

    async def close(self, seconds: float) -> None:
        """Ends the calls under way, after some seconds by force, then the rooms."""
        await self._server.close(seconds)
        await self._tasking.close()
        await self._rooms.collector.close()
        self._rooms.close()


def _ground(options: EngineOptions, pool: Pool, zygote: Zygote, pace: Pace, engine: Engine | None = None) -> Ground:
    return Ground(pool=pool, zygote=zygote, pace=pace, engine=engine, data_folder=f"{options.data_root}/containerd",
                  run_folder=f"{options.run_folder}/containerd")
