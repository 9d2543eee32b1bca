"""The zygote: parked, single-threaded, everything imported, no state; it forks a process for each message and forgets it.

    launch     a shim (shim.py)
    park       a shim for a container that nobody has asked for yet (slot.py)
    tasks      a shim with the front that containerd's shims have (containerd/server.py)
    netns      sockets and rules inside a network namespace (namespacework.py)

The first descriptor of a message is the socket for the answer; the child takes it along. What only shims of containerd's kind
need is imported before the first of them is forked: a daemon that does not serve containerd's API has no use for it.
The kernel reaps children (SIGCHLD is ignored here; shims set it anew). It ends when its control socket does, and no shim ends
with it.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from wherry import trace
from wherry.linux import namespace, process, syscall
from wherry.shim import packets, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# What children need is imported before they are forked: they share the memory, and do not wait for it.
PRELOADED = (
    "_json",
    "encodings.utf_8_sig",
    "select",
    "struct",
    "wherry.shim.shim",
    "wherry.shim.slot",
    "wherry.shim.builtin",
    "wherry.shim.external",
    "wherry.shim.namespacework",
    "wherry.linux.capability",
    "wherry.linux.cgroup.plan_v1",
    "wherry.linux.cgroup.v1",
    "wherry.linux.cgroup.v2",
    "wherry.linux.file",
    "wherry.linux.mount",
    "wherry.linux.path",
    "wherry.linux.pty",
    "wherry.linux.seccomp",
    "wherry.linux.seccomp.cache",
    "wherry.linux.seccomp.loader",
    "wherry.runtime.channel",
    "wherry.runtime.create",
    "wherry.runtime.delete",
    "wherry.runtime.execute",
    "wherry.runtime.init",
    "wherry.runtime.kill",
    "wherry.runtime.lookup",
    "wherry.runtime.copyup",
    "wherry.runtime.plan",
    "wherry.runtime.rootfs",
    "wherry.runtime.slot",
    "wherry.runtime.slothelper",
    "wherry.runtime.state",
)


FOR_TASKS = ("wherry.shim.containerd.server", "wherry.shim.containerd.events", "wherry.shim.containerd.metrics",
             "wherry.shim.containerd.service")


def main(control_fd: int, mounts_fd: int) -> NoReturn:
    """Serves until the control socket closes, in the mount namespace `mounts_fd`: this one is read-only (spawn.py)."""
    code = 0
    try:
        preload()
        namespace.setns(mounts_fd, namespace.CLONE_NEWNS)
        os.close(mounts_fd)
        trace.watch_as_environment_says()
        process.set_title("wherry-zygote")
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.set_inheritable(control_fd, False)
        gc.collect()
        gc.freeze()
        serve(_socket.socket(fileno=control_fd))
    except Exception as error:  # noqa: BLE001 (the boundary of the process)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    os._exit(code)


def preload() -> None:
    """Imports what the children need."""
    _import(PRELOADED)
    # The array type that clone3's pidfd needs: ctypes keeps it in the type `char` once it was made.
    syscall.Buffer(4)


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        __import__(name)


def serve(control: _socket.socket) -> None:
    """Forks a child for each message."""
    while True:
        packet, fds = packets.receive(control)
        if not packet:
            return
        body, raw = protocol.unpack(packet)
        if body["do"] == "tasks" and FOR_TASKS[0] not in sys.modules:
            _import(FOR_TASKS)
            gc.freeze()
        try:
            forked = os.fork()
        except OSError as error:
            sys.stderr.write(f"wherry-zygote: cannot fork: {error}\n")
            forked = -1
        if forked == 0:
            code = 1
            try:
                control.close()
                code = _serve_one(body, raw, fds)
            except BaseException as error:  # noqa: BLE001 (the boundary of the process)
                sys.excepthook(type(error), error, error.__traceback__)
            finally:
                os._exit(code)
        for fd in fds:  # with its last copy the answer's socket closes: that tells who asked that nobody will answer
            os.close(fd)


def _serve_one(body: dict[str, Any], raw: bytes, fds: list[int]) -> int:
    connection = _socket.socket(fileno=fds[0])
    rest = tuple(fds[1:])
    if body["do"] == "launch":
        from wherry.shim import shim

        return shim.run(protocol.read_launch(body, raw, rest), connection)
    if body["do"] == "park":
        from wherry.shim import slot

        return slot.run(protocol.read_park(body, raw), connection)
    if body["do"] == "tasks":
        from wherry.shim.containerd import server

        return server.run(body["arguments"], rest[0], connection)
    return _do_work(body, rest, connection)


def _do_work(body: dict[str, Any], fds: tuple[int, ...], connection: _socket.socket) -> int:
    from wherry.linux import unixsocket
    from wherry.shim import namespacework

    made: tuple[int, ...] = ()
    try:
        answer, made = namespacework.work(body, fds)
    except Exception as error:  # noqa: BLE001 (the boundary of a request: who asked is told)
        answer = {"error": protocol.error_body(error)}
    unixsocket.send(connection, protocol.pack({"re": 0, **answer}), made)
    return 0
