"""A running container's control group: frozen, limited, asked what was used. Synchronous, for worker threads.

Only `expect_start` belongs to the event loop: it has the kernel's lock of cgroup moves woken while a start is prepared.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

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

    def path(self, container: Container) -> str:
        """`/wherry/<id>`, or `slice:wherry:<id>` with systemd; what the container's config says too."""
        return cgroups_path(container.id, container.host, self._options)

    def manager(self, container: Container) -> cgroup.Manager:
        """The door to its control group."""
        return cgroup.manager(self.path(container), driver=self._options.cgroup_driver)

    def freeze(self, container: Container) -> None:
        """Stops all its processes; returns when they stand. Raises OSError."""
        self.manager(container).freeze()

    def thaw(self, container: Container) -> None:
        """Lets them go on."""
        self.manager(container).thaw()

    def limit(self, container: Container, host: HostConfig) -> None:
        """Changes the limits to those of a host configuration. Raises OSError, InvalidArgument, NotFound for a device."""
        wanted = resources(host, look_up(host).numbers)
        if host.memory_swap == -1:  # a new container has no limit of swap; here one may have to go
            wanted["memory"]["swap"] = -1
        self.manager(container).set(wanted)

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


def cgroups_path(container_id: str, host: HostConfig, options: EngineOptions) -> str:
    """Where a container's control group is, as the runtime-spec's `cgroupsPath`."""
    parent = host.cgroup_parent or options.cgroup_parent
    if options.cgroup_driver == "systemd":
        return f"{parent}:{options.scope_prefix}:{container_id}"
    return f"{parent.rstrip('/')}/{container_id}"
