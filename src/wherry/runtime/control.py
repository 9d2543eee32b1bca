"""What is done to a running container by its cgroup alone: pause, resume, limits, its processes."""

from __future__ import annotations

from wherry.errors import Conflict
from wherry.linux import cgroup
from wherry.runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.cgroup import Manager
    from wherry.runtime.container import Container


def group_of(container: Container) -> Manager:
    """The container's cgroup."""
    return cgroup.manager(container.saved.cgroup_path, container.saved.cgroup_driver)


def pause(container: Container) -> None:
    """See `container.pause`."""
    if state.status(container.root, container.saved) not in ("running", "created"):
        raise Conflict("container not running")
    group_of(container).freeze()


def resume(container: Container) -> None:
    """See `container.resume`."""
    if not state.is_alive(container.saved) or not group_of(container).frozen():
        raise Conflict("container not paused")
    group_of(container).thaw()


def update(container: Container, resources: Mapping[str, Any]) -> None:
    """See `container.update`."""
    if not state.is_alive(container.saved):
        raise Conflict("container not running")
    group_of(container).set(resources)


def processes(container: Container) -> tuple[int, ...]:
    """See `container.processes`."""
    if container.saved.cgroup_driver == "disabled":
        raise Conflict("unable to get all container pids: cgroups not configured for container")
    return tuple(group_of(container).processes())
