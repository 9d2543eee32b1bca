"""What a container's shim reports, and who is to know: ends of containers and execs, clients that left, lost logs."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wherry.errors import DataLoss, WherryError
from wherry.shim.exitfile import read_exit
from wherry.shim.protocol import AttachEnded, Exited, LogFailed, Lost, OutOfMemory

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from wherry.engine.cgroups import Cgroups
    from wherry.engine.container import Container
    from wherry.engine.ending import Ender
    from wherry.engine.events import Events
    from wherry.engine.execs import Execs
    from wherry.engine.pool import Pool
    from wherry.shim.interface import ContainerShim
    from wherry.shim.protocol import ShimEvent

log = logging.getLogger(__name__)

KILLED = 137


class ShimEvents:
    """Hands on what shims report. `heard` is called in the event loop and never waits."""

    def __init__(self, *, pool: Pool, ender: Ender, execs: Execs, events: Events, cgroups: Cgroups,
                 spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._pool = pool
        self._ender = ender
        self._execs = execs
        self._events = events
        self._cgroups = cgroups
        self._spawn = spawn

    def heard(self, container: Container, shim: ContainerShim, event: ShimEvent) -> None:
        """One event of one shim."""
        match event:
            case Exited(exec_id=""):
                _ = self._spawn(self._ended(container, shim, event))
            case Exited():
                self._execs.exited(container, event)
                _ = self._spawn(_forget(shim, event.exec_id))
            case AttachEnded(detached=True, exec_id=""):
                self._events.publish("container", "detach", container.id, container.attributes())
            case AttachEnded(detached=True):
                self._execs.detached(container, event.exec_id)
            case OutOfMemory():
                self._events.publish("container", "oom", container.id, container.attributes())
            case AttachEnded():
                pass  # the client went with the process, or broke off
            case LogFailed():
                log.warning("container %s: output was not logged: %s", container.id, event.message)
            case Lost():
                _ = self._spawn(self._lost(container, shim))

    async def _ended(self, container: Container, shim: ContainerShim, exited: Exited) -> None:
        async with container.lock:
            if container.shim is shim:
                await self._ender.ended(container, exited)

    async def _lost(self, container: Container, shim: ContainerShim) -> None:
        """The shim died. Nobody reaps or logs for the container any more: it is ended too."""
        async with container.lock:
            if container.shim is not shim:
                return
            log.error("container %s: its shim has died", container.id)
            exited = await self._pool.run(self._kill_left, container)
            await self._ender.ended(container, exited)

    def _kill_left(self, container: Container) -> Exited:
        exited = None
        with suppress(DataLoss):
            exited = read_exit(container.run_folder)
        manager = self._cgroups.manager(container)
        try:
            if manager.exists():
                manager.kill()
                manager.thaw()
                manager.remove()
        except OSError as error:
            log.warning("container %s: what its shim left cannot be removed: %s", container.id, error)
        return exited or Exited(code=KILLED, at_ns=time.time_ns(), signalled=True)


async def _forget(shim: ContainerShim, exec_id: str) -> None:
    with suppress(WherryError):  # the shim may have ended with its container
        await shim.forget(exec_id)
