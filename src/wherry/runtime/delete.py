"""Removes a container that has ended: its cgroups and its state; then the poststop hooks."""

from __future__ import annotations

from wherry import trace
from wherry.errors import Conflict
from wherry.linux import cgroup, process
from wherry.runtime import state
from wherry.runtime.kill import outlives_init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.linux.cgroup import Manager
    from wherry.runtime.container import Container


def delete(container: Container, force: bool) -> tuple[str, ...]:
    """See `container.delete`."""
    saved = container.saved
    group = cgroup.manager(saved.cgroup_path, saved.cgroup_driver)
    if process.is_alive(saved.pid, saved.start_time):
        now = state.status(container.root, saved)
        if not force and now != "created":
            raise Conflict(f"cannot delete container {container.id} that is not stopped: {now}")
        end(saved, group)
    elif outlives_init(saved):
        group.kill(9)
    group.remove()
    if "mount" not in saved.namespaces:
        from wherry.runtime.rootfs import leave

        leave(saved.rootfs)
    state.remove(container.root, container.id)
    if not saved.poststop:
        return ()
    from wherry.oci.runtime import State
    from wherry.runtime.hooks import run_every_hook

    return run_every_hook("poststop", saved.poststop, State(
        id=saved.id, status="stopped", pid=0, bundle=saved.bundle, annotations=saved.annotations))


def delete_ruin(root: str, container_id: str) -> None:
    """See `container.delete_ruin`."""
    found = state.ruin(root, container_id)
    if found is None:
        return
    driver, path = found
    if path:
        group = cgroup.manager(path, driver)
        group.kill(9)
        group.remove()
    state.remove(root, container_id)


def end(saved: state.Saved, group: Manager) -> None:
    """Kills everybody inside and waits for the init's end; it is a zombie then, or reaped by its parent."""
    import select

    try:
        pidfd = process.pidfd_open(saved.pid)
    except ProcessLookupError:
        return
    try:
        import os

        if process.is_alive(saved.pid, saved.start_time):
            process.pidfd_send_signal(pidfd, 9)
        group.kill(9)
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if saved.cgroup_driver == "cgroupfs" and group.version == "v1" and not poll.poll(200):
            _fetch(saved, group)
        if not poll.poll(10_000):
            raise Conflict(f"cannot delete container {saved.id}: container init still running")
    finally:
        os.close(pidfd)


def _fetch(saved: state.Saved, group: Manager) -> None:
    """Takes the init home into the container's cgroup: it does not die where somebody has moved and frozen it (v1)."""
    try:
        group.join(saved.pid)
    except OSError as error:
        trace.step("init not fetched", f"{saved.pid}: {error.strerror}")
