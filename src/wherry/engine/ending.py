"""What follows when a container ends: its state is written, the waiting are told, and what it occupied is given back.

    shim     Exited
    thread   ports, interfaces and addresses are given back; config.v2.json says that it ended
             those who wait are told; events die, network disconnect
             then           removed (--rm), or started again (its restart policy), or left
    later    release       cgroup and runtime state go, the shim ends
             vacate        tree, volumes, run folder: when nobody waits, and before the next start at the latest

The container's lock is held for all of this but what comes later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from wherry.engine import states
from wherry.engine.connections import Connected, disconnected_record
from wherry.engine.container import Ended
from wherry.engine.records import timestamp
from wherry.engine.restart import Backoff, next_start
from wherry.errors import WherryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from wherry.engine.afterwards import Afterwards
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container
    from wherry.engine.events import Events
    from wherry.engine.pool import Pool
    from wherry.engine.premises import Premises
    from wherry.engine.records import Record, Records
    from wherry.shim.interface import ContainerShim
    from wherry.shim.protocol import Exited

log = logging.getLogger(__name__)

REMOVAL_PAUSE_S = 0.25  # of `--rm`, where nobody waits for the removal


class Ender:
    """Ends containers."""

    def __init__(self, *, pool: Pool, records: Records, premises: Premises, connections: Connections, events: Events,
                 afterwards: Afterwards,
                 start: Callable[[Container], Awaitable[None]], remove: Callable[[Container], Awaitable[None]],
                 forget: Callable[[Container], None], spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        """What it is given: `start` and `remove` are called with the lock held, `forget` when the processes are gone.

        `spawn` keeps a task and reports its failure.
        """
        self._pool = pool
        self._records = records
        self._premises = premises
        self._connections = connections
        self._events = events
        self._afterwards = afterwards
        self._start = start
        self.remove = remove
        self._forget = forget
        self._spawn = spawn
        self.restarting_allowed = True  # False while the daemon shuts down

    async def ended(self, container: Container, exited: Exited) -> None:
        """Handles the end of a container's process; the lock is held."""
        self._forget(container)
        backoff = self._next(container, exited)
        record = ended_record(container.record, exited, backoff)
        connected = Connected(container.endpoints, container.ports)
        await self._pool.run(self._give_back, record, connected)
        container.record = record
        container.endpoints, container.ports = {}, {}
        shim, container.shim = container.shim, None
        container.tell_exited(Ended(exited.code))
        self._tell(container, exited, connected)
        container.leaving = self._afterwards.later(lambda: self._leave(container, shim))
        for mount in (record.mount_points or {}).values():
            if mount.type == "volume":
                self._events.publish("volume", "unmount", mount.name, {"container": container.id, "driver": mount.driver})
        if backoff is not None:
            container.backoff = backoff
            container.next_start = self._spawn(self._start_later(container, backoff))
        elif container.host.auto_remove and not container.kept:
            if container.removal_is_awaited:
                await self.remove(container)
            else:
                _ = self._spawn(self._remove_later(container))

    async def _remove_later(self, container: Container) -> None:
        """For clients that ask for output or exit code after the start: what ends at once would be gone before they do."""
        await asyncio.sleep(REMOVAL_PAUSE_S)
        async with container.lock:
            if container.state.status == "exited" and not container.kept:
                await self.remove(container)

    async def _leave(self, container: Container, shim: ContainerShim | None) -> None:
        if shim is not None:
            await shim.release()
        await self._pool.run(self._premises.vacate, container)

    async def give_up(self, container: Container) -> None:
        """Ends the waiting for a restart: the container counts as exited. The lock is held."""
        if container.next_start is not None:
            container.next_start.cancel()
            container.next_start = None
        if container.state.status == "restarting":
            state = states.move(container.id, container.state, "give_up")
            await self.write(container, replace(container.record, state=state))
            container.tell_exited(Ended(state.exit_code))

    async def write(self, container: Container, record: Record) -> None:
        """Writes a record of what has happened, and then holds it: a full disk must not keep a container from being killed."""
        try:
            await self._pool.run(self._records.write, record)
        except OSError as error:
            log.error("container %s: its state cannot be written down: %s", container.id, error)
        container.record = record

    def _next(self, container: Container, exited: Exited) -> Backoff | None:
        if not self.restarting_allowed or container.host.auto_remove:
            return None
        return next_start(container.host.restart_policy, container.backoff, exit_code=exited.code,
                          ran_for_s=time.monotonic() - container.started_monotonic,
                          stopped_by_hand=container.record.has_been_manually_stopped)

    def _give_back(self, record: Record, connected: Connected) -> None:
        """Neither a full disk nor a network that resists may keep a container from having ended."""
        try:
            self._connections.release(connected)
        except (WherryError, OSError) as error:
            log.error("container %s: its networks are not given back: %s", record.id, error)
        try:
            self._records.write(record)
        except OSError as error:
            log.error("container %s: its end cannot be written down: %s", record.id, error)

    async def _start_later(self, container: Container, backoff: Backoff) -> None:
        await asyncio.sleep(backoff.pause_s)
        async with container.lock:
            if container.state.status != "restarting":
                return
            container.next_start = None
            container.record = replace(container.record, restart_count=backoff.failures)
            try:
                await self._start(container)
            except Exception as error:  # noqa: BLE001 (whatever it is: nobody waits for this start)
                log.warning("container %s: restart failed: %s", container.id, error)

    def _tell(self, container: Container, exited: Exited, connected: Connected) -> None:
        ran_s = int(max(0.0, time.monotonic() - container.started_monotonic))
        self._events.publish("container", "die", container.id,
                             container.attributes(exitCode=str(exited.code), execDuration=str(ran_s)))
        for endpoint in connected.endpoints.values():
            self._events.publish("network", "disconnect", endpoint.network_id,
                                 {"container": container.id, "name": endpoint.network_name,
                                  "type": self._connections.driver_of(endpoint.network_id)})


def ended_record(record: Record, exited: Exited, backoff: Backoff | None) -> Record:
    """The record of a container that has ended, and is to be started again when there is a pause to wait for."""
    health = record.state.health and replace(record.state.health, status="unhealthy")
    state = states.move(record.id, record.state, "exit" if backoff is None else "fall", exit_code=exited.code,
                        oom_killed=exited.oom, finished_at=timestamp(exited.at_ns), health=health)
    return replace(record, state=state, network_settings=disconnected_record(record.network_settings))
