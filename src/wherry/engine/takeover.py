"""What the engine finds when it is opened: containers that still run, that ended meanwhile, that were half made.

    record says     shim answers     what is done
    running, paused running          taken over: its events are heard again, its places on networks are kept; it stands still
                                     only if it is paused by its record
    running         has the exit     its end is handled as if it came now
    running         no               the same with what the exit file says; without one it counts as ended with 255
    anything else   yes              a start that was never written down: killed
    restarting                       started again

Then what the policies say is started, and whatever belongs to no container is removed: layers, run folders.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import states
from wherry.engine.cgroups import path_of_bundle
from wherry.engine.connections import read_state
from wherry.engine.container import Container
from wherry.engine.records import nanoseconds
from wherry.engine.restart import starts_with_daemon
from wherry.errors import DataLoss, NotFound, WherryError
from wherry.shim.exitfile import read_exit
from wherry.shim.protocol import Exited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry.engine.cgroups import Cgroups
    from wherry.engine.containers import Containers
    from wherry.engine.ending import Ender
    from wherry.engine.links import Links
    from wherry.engine.model import HostConfig
    from wherry.engine.pool import Pool
    from wherry.engine.records import Record, Records
    from wherry.engine.volume_mounts import VolumeMounts
    from wherry.shim.interface import ContainerShim, Launcher
    from wherry.shim.protocol import ShimEvent
    from wherry.store.mounts import ContainerLayers

log = logging.getLogger(__name__)

LOST = 255  # the exit code of a container of whose end nothing is known, as after a power cut
KILL_TIMEOUT_S = 10.0


class Takeover:
    """Brings memory, disk and kernel together when an engine is opened."""

    def __init__(self, *, pool: Pool, records: Records, containers: Containers, layers: ContainerLayers, volumes: VolumeMounts,
                 cgroups: Cgroups, ender: Ender, links: Links, launcher: Launcher, run_folder: str,
                 on_event: Callable[[Container, ContainerShim, ShimEvent], None], start: Callable[[Container], Awaitable[None]],
                 watch: Callable[[Container], None]) -> None:
        """`start` starts a container whose lock is held; `watch` begins the health checks of one that runs."""
        self._pool = pool
        self._records = records
        self._containers = containers
        self._layers = layers
        self._volumes = volumes
        self._cgroups = cgroups
        self._ender = ender
        self._links = links
        self._launcher = launcher
        self._run_folder = run_folder
        self._on_event = on_event
        self._start = start
        self._watch = watch
        self._ended: list[tuple[Container, Exited]] = []

    async def load(self) -> None:
        """Reads all containers and finds the shims of those that run. Networks are not touched yet."""
        for record, host in await self._pool.run_long(self._read):
            self._containers.add(Container(record, host, f"{self._run_folder}/{record.id}"))
        occupied = frozenset(await self._pool.run(os.listdir, self._run_folder))
        for container in self._containers:
            if container.id in occupied or container.state.running:
                await self._find(container)

    async def settle(self) -> None:
        """With networks there: removes what belongs to nobody, and handles the ends that came meanwhile.

        In this order: an end may be followed by a start, whose run folder is no stray.
        """
        await self._remove_strays()
        for container, exited in self._ended:
            async with container.lock:
                await self._ender.ended(container, exited)
        self._ended = []
        for container in self._containers:
            if container.shim is not None:
                container.linked = self._links.present(container)

    async def start_due(self) -> None:
        """Starts what the policies say, one after another: what waited for a restart, and what was down."""
        for container in self._containers:
            state = container.state
            due = state.status == "restarting" or (
                state.status in ("created", "exited") and container.record.has_been_started_before
                and starts_with_daemon(container.host.restart_policy, was_running=False, exit_code=state.exit_code,
                                       stopped_by_hand=container.record.has_been_manually_stopped))
            if not due or container.next_start is not None:
                continue
            async with container.lock:
                if self._containers.get(container.id) is not container or container.state.status == "running":
                    continue
                try:
                    await self._start(container)
                except (WherryError, OSError) as error:
                    log.warning("container %s cannot be started: %s", container.id, error)

    def _read(self) -> list[tuple[Record, HostConfig]]:
        """All records; one that cannot be read is told and left as it is."""
        self._records.sweep()
        found = []
        for container_id in self._records.ids():
            try:
                record, host = self._records.load(container_id)
            except DataLoss as error:
                log.error("%s", error)
                continue
            if record.state.status in ("removing", "dead"):
                record = replace(record, state=states.loaded(record.state, alive=False, finished_at=record.state.finished_at))
            found.append((record, host))
        return sorted(found, key=lambda both: both[0].created)

    async def _find(self, container: Container) -> None:
        shim = await self._connect(container.run_folder)
        if container.state.status not in ("running", "paused"):
            if shim is not None:
                await self._kill(shim, container.run_folder)
            return
        container.cgroups_path = await self._pool.run(path_of_bundle, container.run_folder)
        if shim is not None and not shim.started and shim.exited is None:
            await self._kill(shim, container.run_folder)  # the daemon died in the middle of its start
            shim = None
        if shim is None or shim.exited is not None:
            exited = shim.exited if shim is not None else await self._pool.run(self._end_of, container)
            container.shim = shim
            self._ended.append((container, exited or Exited(code=LOST, at_ns=time.time_ns())))
            return
        container.shim = shim
        await self._freeze_as_recorded(container)
        connected = await self._pool.run(read_state, container.run_folder)
        container.endpoints, container.ports = connected.endpoints, connected.ports
        await self._pool.run(self._layers.mount, container.id)
        self._volumes.hold(container)
        container.started_monotonic = time.monotonic() - (time.time_ns() - nanoseconds(container.state.started_at)) / 1e9
        shim.on_event = lambda event: self._on_event(container, shim, event)
        self._watch(container)

    async def _freeze_as_recorded(self, container: Container) -> None:
        """A pause that was not written down was not answered either, and is undone; so is the end of one."""
        try:
            frozen = await self._pool.run(self._cgroups.manager(container).frozen)
            if container.state.paused and not frozen:
                await self._cgroups.freeze(container)
            elif not container.state.paused and frozen:
                await self._cgroups.thaw(container)
        except (OSError, WherryError) as error:  # it ends at this very moment, or its processes cannot be stopped
            wanted = "paused" if container.state.paused else "unpaused"
            log.warning("container %s cannot be %s: %s", container.id, wanted, error)

    async def _connect(self, run_folder: str) -> ContainerShim | None:
        try:
            return await self._launcher.connect(run_folder)
        except (NotFound, FileNotFoundError):
            return None

    def _end_of(self, container: Container) -> Exited:
        """How a container ended whose shim is gone; whatever is left of it is killed."""
        exited = None
        try:
            exited = read_exit(container.run_folder)
        except DataLoss as error:
            log.warning("%s", error)
        self._kill_left(container)
        return exited or Exited(code=LOST, at_ns=time.time_ns())

    def _kill_left(self, container: Container) -> None:
        manager = self._cgroups.manager(container)
        if not manager.exists():
            return
        try:
            manager.kill()
            manager.thaw()
            manager.remove()
        except OSError as error:
            log.warning("container %s: what its shim left cannot be removed: %s", container.id, error)

    async def _kill(self, shim: ContainerShim, run_folder: str) -> None:
        """Ends a container that no record knows as running."""
        ended = asyncio.get_running_loop().create_future()

        def heard(event: ShimEvent) -> None:
            if isinstance(event, Exited) and not event.exec_id and not ended.done():
                ended.set_result(None)

        shim.on_event = heard
        try:
            if shim.exited is None:
                await shim.signal(9, everyone=True)
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await ended
        except (WherryError, TimeoutError) as error:
            log.warning("the half-started container in %s cannot be ended: %s", run_folder, error)
        await shim.release()
        await self._pool.run(shutil.rmtree, run_folder, True)

    async def _remove_strays(self) -> None:
        """Layers and run folders without a container."""
        for container_id in await self._pool.run(self._layers.list):
            if self._containers.get(container_id) is None:
                await self._pool.run(self._layers.remove, container_id)
        for name in await self._pool.run(os.listdir, self._run_folder):
            path = f"{self._run_folder}/{name}"
            container = self._containers.get(name)
            if container is None:
                if (shim := await self._connect(path)) is not None:
                    await self._kill(shim, path)
                await self._pool.run(shutil.rmtree, path, True)
            elif container.shim is None:
                await self._pool.run(self._unmount_stray, container, path)

    def _unmount_stray(self, container: Container, path: str) -> None:
        self._layers.unmount(container.id)
        shutil.rmtree(path, ignore_errors=True)
