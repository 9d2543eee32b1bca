"""Sends a signal to a container's init, or to everybody inside."""

from __future__ import annotations

import os

from wherry.errors import Conflict
from wherry.linux import cgroup, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.container import Container
    from wherry.runtime.state import Saved

_KILL = 9


def kill(container: Container, number: int, everyone: bool) -> None:
    """See `container.kill`."""
    saved = container.saved
    if number == _KILL and outlives_init(saved) and saved.cgroup_driver != "disabled":
        everyone = True
    if everyone:
        if saved.cgroup_driver == "disabled":  # nobody else is known; with a pid namespace of its own they go with the init
            signal_init(saved, number)
            return
        group = cgroup.manager(saved.cgroup_path, saved.cgroup_driver)
        if not group.processes():
            raise Conflict("container not running")
        group.kill(number)
        return
    signal_init(saved, number)
    if number == _KILL:
        _thaw(saved)


def outlives_init(saved: Saved) -> bool:
    """Whether the container's other processes live on after its init: without a pid namespace of its own."""
    return "pid" not in saved.namespaces or saved.joins_pids


def signal_init(saved: Saved, number: int) -> None:
    """Signals exactly the init: by a pidfd, after its start time was compared. Conflict «container not running»."""
    try:
        pidfd = process.pidfd_open(saved.pid)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    try:
        if not process.is_alive(saved.pid, saved.start_time):
            raise Conflict("container not running")
        process.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    finally:
        os.close(pidfd)


def _thaw(saved: Saved) -> None:
    """A frozen process dies of SIGKILL only once it is thawed (v1)."""
    group = cgroup.manager(saved.cgroup_path, saved.cgroup_driver)
    if group.frozen():
        group.thaw()
