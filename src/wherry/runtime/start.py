"""Starts a container whose init waits on the exec fifo (cold)."""

from __future__ import annotations

import errno
import os

from wherry.errors import Conflict
from wherry.runtime import state
from wherry.runtime.container import ExecRequest, StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Hook, State
    from wherry.runtime.container import Container
    from wherry.runtime.state import Saved


def start(container: Container) -> None:
    """See `container.start`."""
    saved = container.saved
    now = state.status(container.root, saved)
    if now == "stopped":
        raise Conflict("cannot start a container that has stopped")
    if now == "creating":
        raise Conflict("cannot start a container that is being created")
    if now == "paused":
        raise Conflict("cannot start a container in the paused state")
    fifo = state.folder(container.root, container.id) + "/exec.fifo"
    if now != "created":
        raise Conflict("cannot start an already running container")
    if saved.start_container:
        _run_inside(container)
    try:
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nobody reads: the init has ended
            raise
        raise Conflict("cannot start a container that has stopped") from error
    # The word first: were the fifo removed before it, a crash in between would leave an init that waits for ever.
    os.write(fd, b"0")
    os.close(fd)
    os.unlink(fifo)
    if saved.poststart:
        from wherry.runtime.hooks import run_hooks

        try:
            run_hooks("poststart", saved.poststart, _spec_state(saved, "running"))
        except StartFailed:
            _stop(saved)
            raise


def _spec_state(saved: Saved, status: str) -> State:
    from wherry.oci.runtime import State as Document

    return Document(id=saved.id, status=status, pid=saved.pid, bundle=saved.bundle, annotations=saved.annotations)


def _run_inside(container: Container) -> None:
    """The startContainer hooks: further processes of the container, as its program will be. When one fails, it is stopped."""
    from wherry.linux import process
    from wherry.runtime.execute import execute
    from wherry.runtime.hooks import run_hooks

    saved = container.saved
    own = saved.own_process()

    def launch(hook: Hook, stdio: tuple[int, int, int]) -> int:
        request = ExecRequest(
            process=own.replace(args=hook.args or (hook.path,), env=own.env if hook.env is None else hook.env, terminal=False),
            program=hook.path, stdio=stdio, mode="cold")
        return execute(container, request).pidfd

    try:
        told = _spec_state(saved, "created").replace(pid=process.pid_inside(saved.pid))
        run_hooks("startContainer", saved.start_container, told, launch)
    except StartFailed:
        _stop(saved)
        raise


def _stop(saved: Saved) -> None:
    """Ends a container that a hook did not want to run; it is there to be deleted."""
    from wherry.linux import cgroup
    from wherry.runtime.delete import end

    end(saved, cgroup.manager(saved.cgroup_path, saved.cgroup_driver))
