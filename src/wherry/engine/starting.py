"""Bringing a container to run: prepare, launch, attach to networks, start, write down, tell.

    thread   prepare       mounts, addresses, files, bundle                       (Premises)
    launcher launch        the shim creates the container; its init waits
    thread   attach        interfaces and ports                                   (Connections; only with a network)
    shim     start         the program is executed; beside it
    thread   write         config.v2.json says that it runs
             events        network connect …, volume mount …, start

When a step fails, those before it are undone in reverse, the state says why (127 not found, 126 not executable, 128
otherwise), and the error has Docker's words. The container's lock is held by the caller all the time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import logconfig, states
from wherry.engine.cgroups import cgroups_path
from wherry.engine.connections import Connected, connected_record, disconnected_record
from wherry.engine.container import Ended
from wherry.engine.model import Health
from wherry.engine.records import timestamp
from wherry.errors import Conflict, Internal, InvalidArgument, WherryError
from wherry.shim.protocol import BUILTIN, LaunchRequest, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine.afterwards import Afterwards
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.links import Links
    from wherry.engine.options import EngineOptions
    from wherry.engine.pool import Pool
    from wherry.engine.premises import Premises, Prepared
    from wherry.engine.records import Record, Records
    from wherry.engine.slots import Slots
    from wherry.shim.interface import ContainerShim, Launcher
    from wherry.shim.protocol import ShimEvent

log = logging.getLogger(__name__)

NOT_FOUND, NOT_EXECUTABLE, OTHER_FAILURE = 127, 126, 128


class Starter:
    """Starts containers."""

    def __init__(self, *, pool: Pool, records: Records, premises: Premises, connections: Connections, launcher: Launcher,
                 containers: Containers, links: Links, events: Events, options: EngineOptions, afterwards: Afterwards,
                 slots: Slots, on_event: Callable[[Container, ContainerShim, ShimEvent], None]) -> None:
        self._pool = pool
        self._records = records
        self._premises = premises
        self._connections = connections
        self._launcher = launcher
        self._containers = containers
        self._links = links
        self._events = events
        self._options = options
        self._afterwards = afterwards
        self._slots = slots
        self._on_event = on_event

    async def start(self, container: Container) -> None:
        """Starts a container that does not run. Raises what `states` refuses, and the reason of a failure."""
        states.check(container.id, container.state, "start")
        self._afterwards.busy()
        if container.leaving is not None:
            await container.leaving.now()
            container.leaving = None
        try:
            network_of = self._network_owner(container)
            if network_of is not None:
                container.record = sharing_names(container.record, network_of.record)
            container.linked = self._links.linked(container)
            await self._start(container, network_of)
        except BaseException as error:
            await self._failed(container, error)
            raise _told(error) from error
        await self._links.refresh(container)

    async def _start(self, container: Container, network_of: Container | None) -> None:
        container.cgroups_path = cgroups_path(container.id, container.host, self._options)
        prepared = await self._pool.run(self._premises.prepare, container, network_of)
        connected = prepared.connected
        shim: ContainerShim | None = None
        try:
            request = self._launch_request(container)
            in_slot = request.runtime == BUILTIN and self._slots.serves(prepared.config)
            shim = await self._launcher.launch(request, in_slot=in_slot)
            container.held.clear()
            connected = await self._attach(container, connected, shim)
            container.shim = shim
            container.endpoints, container.ports = connected.endpoints, connected.ports
            record = running(container.record, shim.pid, connected, container.run_folder, time.time_ns())
            # Side by side: when the start fails, or the daemon dies between the two, the record is put right.
            written = self._pool.run(self._records.write, record)
            for outcome in await asyncio.gather(shim.start(), written, return_exceptions=True):
                if outcome is not None:
                    raise outcome
            container.record = record
        except BaseException:
            container.shim = None
            container.endpoints, container.ports = {}, {}
            await asyncio.shield(self._undo(container, prepared, connected, shim))
            self._slots.refill()  # this start may have had it
            raise
        container.started_monotonic = time.monotonic()
        # From here on the shim's events are heard; what it said meanwhile comes now.
        shim.on_event = lambda event: self._on_event(container, shim, event)
        self._tell(container)
        self._slots.refill()

    async def _attach(self, container: Container, connected: Connected, shim: ContainerShim) -> Connected:
        if not any(one.mac_address for one in connected.endpoints.values()):
            return connected  # the host's network, or none: nothing to do in the kernel
        try:
            return await self._pool.run(self._connections.attach, container, connected, shim.pid, shim.rtnetlink_fd)
        except (WherryError, OSError):
            if not os.path.exists(f"/proc/{shim.pid}/ns/net"):
                # The init has died meanwhile, which is why there is no network: start says why it died.
                await shim.start()
            raise

    async def _write(self, container: Container, record: Record) -> None:
        await self._pool.run(self._records.write, record)
        container.record = record

    def _launch_request(self, container: Container) -> LaunchRequest:
        record, host, options = container.record, container.host, self._options
        runtime = options.runtimes.get(host.runtime or options.default_runtime)
        return LaunchRequest(
            id=container.id,
            bundle=container.run_folder,
            run_folder=container.run_folder,
            runtime=runtime.path or BUILTIN if runtime else BUILTIN,
            runtime_args=runtime.arguments if runtime else (),
            systemd_cgroup=options.cgroup_driver == "systemd",
            terminal=record.config.tty,
            console_size=(host.console_size[0], host.console_size[1]),
            open_stdin=record.config.open_stdin,
            stdin_once=record.config.stdin_once,
            log=logconfig.log_options(record, host, record.log_path),
            seccomp_cache=f"{options.run_folder}/seccomp",
            attach=tuple(container.held),
        )

    def _network_owner(self, container: Container) -> Container | None:
        """Whose network it shares. Raises Conflict unless that one runs."""
        kind, _, reference = container.host.network_mode.partition(":")
        if kind != "container":
            return None
        owner = self._containers.find(reference)
        if owner is container:
            raise InvalidArgument("cannot join own network")
        if owner.state.status not in ("running", "paused"):
            raise Conflict(f"cannot join network of a non running container: {owner.id}")
        return owner

    async def _undo(self, container: Container, prepared: Prepared, connected: Connected, shim: ContainerShim | None) -> None:
        if shim is not None:
            await shim.release()
        attached = connected if connected.endpoints else prepared.connected
        await self._pool.run(self._connections.release, attached)
        await self._pool.run(self._premises.vacate, container)

    async def _failed(self, container: Container, error: BaseException) -> None:
        """Writes down why it does not run, and lets go of those who had attached to it."""
        container.release_held()
        message, was = _message(error), container.state.status
        state = states.move(container.id, container.state, "fail", exit_code=_exit_code(error), error=message)
        record = replace(container.record, state=state, network_settings=disconnected_record(container.record.network_settings))
        try:
            await asyncio.shield(self._write(container, record))
        except OSError:
            log.exception("container %s: its failure to start cannot be written down", container.id)
        if was == "restarting":  # those who wait for its end have been waiting through its restarts
            container.tell_exited(Ended(state.exit_code, message))

    def _tell(self, container: Container) -> None:
        for endpoint in container.endpoints.values():
            self._events.publish("network", "connect", endpoint.network_id,
                                 {"container": container.id, "name": endpoint.network_name,
                                  "type": self._connections.driver_of(endpoint.network_id)})
        for mount in (container.record.mount_points or {}).values():
            if mount.type == "volume":
                self._events.publish("volume", "mount", mount.name, {
                    "container": container.id, "destination": mount.destination, "driver": mount.driver,
                    "propagation": mount.propagation, "read/write": "true" if mount.rw else "false"})
        self._events.publish("container", "start", container.id, container.attributes())


def running(record: Record, pid: int, connected: Connected, run_folder: str, now_ns: int) -> Record:
    """The record of a container that was started just now."""
    health = Health(status="starting") if has_health_check(record) else None
    state = states.move(record.id, record.state, "start", pid=pid, exit_code=0, error="", oom_killed=False,
                        started_at=timestamp(now_ns), health=health)
    return replace(record, state=state, has_been_started_before=True, has_been_manually_stopped=False,
                   network_settings=connected_record(record, connected, run_folder))


def sharing_names(record: Record, owner: Record) -> Record:
    """The record of a container that lives in another one's network: its names are that one's."""
    return replace(record, config=replace(record.config, hostname=owner.config.hostname, domainname=owner.config.domainname),
                   hostname_path=owner.hostname_path, hosts_path=owner.hosts_path, resolv_conf_path=owner.resolv_conf_path)


def has_health_check(record: Record) -> bool:
    """Whether there is a probe to run."""
    check = record.config.healthcheck
    return bool(check and check.test and check.test[0] in ("CMD", "CMD-SHELL"))


def _exit_code(error: BaseException) -> int:
    code = error.exit_code if isinstance(error, StartFailed) else OTHER_FAILURE
    return code if code in (NOT_FOUND, NOT_EXECUTABLE) else OTHER_FAILURE


def _message(error: BaseException) -> str:
    if not isinstance(error, StartFailed):
        return str(error) or type(error).__name__
    if taken := re.search(r'chdir to cwd \("(.*)"\) set in config.json failed: not a directory', error.message, re.DOTALL):
        return f"Cannot mkdir: {taken[1]} is not a directory"  # dockerd makes the folder itself, and says it so
    cause = error.message if error.message.startswith("runc ") else f"runc create failed: {error.message}"
    text = f"failed to create task for container: failed to create shim task: OCI runtime create failed: {cause}: unknown"
    return text + hint(cause)


def hint(cause: str) -> str:
    """What Docker adds to a runtime's words when a folder was expected; empty else."""
    return (": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is "
            "the expected type" if "not a directory" in cause else "")


def _told(error: BaseException) -> BaseException:
    """What the caller is told: a missing or unusable program is the request's fault, the rest the machine's."""
    if isinstance(error, StartFailed):
        kind = InvalidArgument if error.exit_code in (NOT_FOUND, NOT_EXECUTABLE) else Internal
        return kind(_message(error))
    if isinstance(error, OSError) and not isinstance(error, WherryError):
        return Internal(f"failed to start container: {error}")
    return error
