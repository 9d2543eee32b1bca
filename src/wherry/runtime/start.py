"""Starts a container whose init waits on the exec fifo (cold)."""

from __future__ import annotations

import errno
import os

from wherry.errors import Conflict
from wherry.runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import State
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
        _run_inside(saved)
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

        run_hooks("poststart", saved.poststart, _spec_state(saved, "running"))


def _spec_state(saved: Saved, status: str) -> State:
    from wherry.oci.runtime import State as Document

    return Document(id=saved.id, status=status, pid=saved.pid, bundle=saved.bundle, annotations=saved.annotations)


def _run_inside(saved: Saved) -> None:
    """The startContainer hooks, in the container's namespaces (but the pid namespace, where our interpreter has no business)."""
    from wherry.linux import namespace, process, unixsocket
    from wherry.runtime import channel
    from wherry.runtime.execute import guard
    from wherry.runtime.hooks import HookFailed, run_hooks
    from wherry.runtime.init import forbid_imports

    connection, other = unixsocket.pair()
    init_fd = process.pidfd_open(saved.pid)
    flags = sum(namespace.FLAGS[name] for name in saved.namespaces if name != "pid")

    def live() -> None:
        connection.close()
        forbid_imports()
        process.set_dumpable(False)
        namespace.setns(init_fd, flags)
        run_hooks("startContainer", saved.start_container, _spec_state(saved, "created"))
        os._exit(0)

    child, child_fd = namespace.clone3(0)
    if child == 0:
        guard(live, other)
    other.close()
    try:
        data, _ = channel.receive(connection)
        process.reap(child_fd)
        if data:
            raise HookFailed(channel.failure(data).message)
    finally:
        connection.close()
        os.close(init_fd)
        os.close(child_fd)
