"""A running container's control group: frozen, limited, asked what was used.

Changes are made in worker threads, or by whoever runs the container and keeps account of them (a containerd). What only reads
is synchronous, for worker threads. `expect_start` has the kernel's lock of cgroup moves woken while a start is prepared.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.spec.devices import look_up
from wherry.engine.spec.resources import resources
from wherry.linux import cgroup
from wherry.linux.cgroup.movelock import MoveLock

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.model import HostConfig
    from wherry.engine.options import EngineOptions
    from wherry.engine.pool import Pool
    from wherry.linux.cgroup.stats import Stats

# How long the lock is safely awake once it was asked to be.
AWAKE_S = 0.008


class Cgroups:
    """The control groups of one engine's containers."""

    def __init__(self, options: EngineOptions, pool: Pool) -> None:
        self._options = options
        self._pool = pool
        self._move_lock = MoveLock()
        self._woken_s = 0.0

    def expect_start(self) -> None:
        """Says that a container will start soon; returns at once."""
        now = time.monotonic()
        if self._move_lock.sleeps and now - self._woken_s > AWAKE_S:
            self._woken_s = now
            self._pool.start(self._wake)

    def _wake(self) -> None:
        try:
            self._move_lock.wake()
        except OSError:  # a cgroup that is not ours to write: the start waits itself, as without this
            self._woken_s = float("inf")

    def manager(self, container: Container) -> cgroup.Manager:
        """The door to its control group, by the driver with which it was started."""
        path = container.cgroups_path or cgroups_path(container.id, container.host, self._options)
        return cgroup.manager(path, driver="cgroupfs" if "/" in path else "systemd")

    async def freeze(self, container: Container) -> None:
        """Stops all its processes; returns when they stand. Raises OSError, Conflict."""
        if container.shim is None or not await container.shim.freeze():
            await self._pool.run(self.manager(container).freeze)

    async def thaw(self, container: Container) -> None:
        """Lets them go on."""
        if container.shim is None or not await container.shim.thaw():
            await self._pool.run(self.manager(container).thaw)

    async def limit(self, container: Container, host: HostConfig) -> None:
        """Changes the limits to those of a host configuration. Raises OSError, InvalidArgument, NotFound for a device."""
        wanted = await self._pool.run(lambda: resources(host, look_up(host).numbers))
        if host.memory_swap == -1:  # a new container has no limit of swap; here one may have to go
            wanted["memory"]["swap"] = -1
        if container.shim is None or not await container.shim.limit(wanted):
            await self._pool.run(self.manager(container).set, wanted)

    def stats(self, container: Container) -> Stats:
        """What it used so far, without the parked child's place among its pids. Raises OSError when it has just ended."""
        used = self.manager(container).stats()
        if container.shim is not None and container.shim.parked_pid and used.pids.current > 1:
            used = used.replace(pids=used.pids.replace(current=used.pids.current - 1))
        return used

    def processes(self, container: Container) -> list[int]:
        """Its pids on the host, without the child that its shim has parked there for execs."""
        parked = 0 if container.shim is None else container.shim.parked_pid
        return [pid for pid in self.manager(container).processes() if pid != parked]


class _Linux(msgspec.Struct):
    cgroups_path: str = msgspec.field(default="", name="cgroupsPath")


class _Bundle(msgspec.Struct):
    linux: _Linux = msgspec.field(default_factory=_Linux)


def path_of_bundle(folder: str) -> str:
    """Where the control group is of a container that was started from a bundle, by its `config.json`; empty without one."""
    try:
        with open(f"{folder}/config.json", "rb") as file:
            return msgspec.json.decode(file.read(), type=_Bundle).linux.cgroups_path
    except (FileNotFoundError, msgspec.DecodeError):
        return ""


def cgroups_path(container_id: str, host: HostConfig, options: EngineOptions) -> str:
    """Where the control group of a container that is started now will be, as the runtime-spec's `cgroupsPath`.

    `/wherry/<id>`, or `slice:wherry:<id>` for systemd.
    """
    parent = host.cgroup_parent or options.cgroup_parent
    if options.cgroup_driver == "systemd":
        return f"{parent}:{options.scope_prefix}:{container_id}"
    return f"{parent.rstrip('/')}/{container_id}"
