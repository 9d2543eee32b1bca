"""The parked child: a process that sits in the container's cgroups already, so that what it forks need not be moved there.

On cgroup v1 the first move of a process after some idleness waits up to 16 ms in the kernel, whoever asks; a fork inherits its
cgroups at once. The first exec in a container pays the move; after its answer a child is parked, and the next ones fork from it:

    shim                                  parked (in the cgroups)
      exec: socket, pidfd, stdio ───────▶ clone3(CLONE_PARENT) ─▶ in between: setns, clone3(CLONE_PARENT) ─▶ the process
      ◀──────────────────────── as told in wherry.runtime.execute, both are the shim's children ──────────────┘

It counts in the container's limits, holds no descriptor of the shim's, and ends with its socket: with the container, or the shim.
"""

from __future__ import annotations

import _signal
import _socket
import os

from wherry.errors import Conflict, Unavailable
from wherry.linux import namespace, process, unixsocket
from wherry.oci.runtime import Process
from wherry.runtime import channel, container, execute
from wherry.runtime.become import preload
from wherry.shim import packets, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from wherry.linux.cgroup import Manager

SIGCHLD = 17


class Parked:
    """The shim's handle of its parked child. `pid` is reaped by the shim's loop."""

    def __init__(self, pid: int, connection: _socket.socket, group: Manager) -> None:
        self.pid = pid
        self._connection = connection
        self._group = group

    def execute(self, given: Mapping[str, Any], init_pid: int, stdio: tuple[int, int, int] | None) -> container.Process:
        """Starts a process, given as in the runtime-spec, from it.

        Raises Unavailable when the child is gone, Conflict in a paused container, StartFailed as `container.execute`.
        """
        if self._group.frozen():
            raise Conflict(execute.PAUSED)
        connection, other = unixsocket.pair()
        try:
            init_fd = process.pidfd_open(init_pid)
            try:
                body = {"process": given}
                unixsocket.send(self._connection, protocol.pack(body), (other.fileno(), init_fd, *(stdio or ())))
            except (BrokenPipeError, ConnectionResetError) as error:
                raise Unavailable("the parked child is gone") from error
            finally:
                other.close()
                os.close(init_fd)
            channel.tell(connection, channel.GO)
            return execute.await_exec(connection, "", terminal=stdio is None)
        finally:
            connection.close()

    def forget(self) -> None:
        """It has ended and was reaped."""
        self._connection.close()

    def close(self) -> None:
        """Ends it and waits: nobody may be in a cgroup that is to be removed."""
        self._connection.close()
        try:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def park(root: str, container_id: str, group: Manager, init_pid: int) -> Parked:
    """Forks a child that moves itself into the cgroups; nobody waits for that."""
    ours, theirs = unixsocket.pair()
    packets.make_roomy(ours)
    pid = os.fork()
    if pid:
        theirs.close()
        return Parked(pid, ours, group)
    try:
        _serve(root, container_id, group, init_pid, theirs)
    finally:
        os._exit(1)


def _serve(root: str, container_id: str, group: Manager, init_pid: int, connection: _socket.socket) -> NoReturn:
    _signal.set_wakeup_fd(-1)
    _signal.signal(SIGCHLD, 0)
    process.close_from(3, connection.fileno() - 1)
    process.close_from(connection.fileno() + 1)
    process.set_title(f"wherry-exec {container_id}")
    group.join(os.getpid(), init_pid)
    loaded = container.load(root, container_id)  # once, and now that nobody waits: what it holds of the container does not change
    while True:
        packet, fds = packets.receive(connection)
        if not packet:
            os._exit(0)
        pid, pidfd = namespace.clone3(namespace.CLONE_PARENT)
        if pid == 0:
            connection.close()
            end = _socket.socket(fileno=fds[0])
            execute.guard(lambda: _become(loaded, packet, fds, end), end)  # noqa: B023 (it does not return)
        for fd in (pidfd, *fds):
            os.close(fd)


def _become(loaded: container.Container, packet: bytes, fds: list[int], end: _socket.socket) -> None:
    """In the process in between: the plan, then what `wherry.runtime.execute` does with it."""
    body, _ = protocol.unpack(packet)
    stdio = (fds[2], fds[3], fds[4]) if len(fds) == 5 else None
    request = container.ExecRequest(process=Process.from_json(body["process"]), stdio=stdio, console=stdio is None)
    plan = execute.plan_exec(loaded, request)
    preload(plan, cold=False)
    initial, final = execute.plan_affinity(loaded.saved, request.process)
    # In its cgroups already: an initial set that lasts counts as far as they allow, as after a move into them.
    lasting = final or initial & os.sched_getaffinity(0)
    execute.enter_and_run(loaded.saved, plan, fds[1], end, (frozenset(), lasting))
