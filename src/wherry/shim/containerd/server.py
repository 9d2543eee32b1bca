"""The process that stays: a shim of containerd, for one container or for those of one pod.

For the real containerd it is executed from read-only mounts, as the zygote is (`wherry.shim.spawn`), because its forks become
containers' processes (`main`); its first words go to containerd by the fifo `log` in the bundle. For wherryd's own containerd
API it is a fork of the zygote (`run`). Everything else is the same.
"""

from __future__ import annotations

import _signal
import os
import sys
import time

from wherry.linux import namespace, process, unixsocket
from wherry.shim import protocol
from wherry.shim.loop import Loop
from wherry.shim.spawn import CONTROL_FD, MOUNTS_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Final, NoReturn

TERMINATING: Final = (1, 2, 15)  # SIGHUP, SIGINT, SIGTERM: containers outlive whoever sends them
LAST_EVENTS_S: Final = 2.0


class ShimLog:
    """Lines for containerd's log, in the form that it passes on."""

    def __init__(self, container_id: str, namespace_name: str, *, has_debug: bool) -> None:
        self._fields = f"id={container_id} namespace={namespace_name}"
        self._has_debug = has_debug

    def complain(self, message: str) -> None:
        """Says something that nobody asked for."""
        self._write("warning", message)

    def called(self, method: str) -> None:
        """Says with `-debug` that containerd called."""
        if self._has_debug:
            self._write("debug", f"call of {method}")

    def _write(self, level: str, message: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        try:
            os.write(2, f'time="{now}" level={level} msg="{text}" {self._fields} runtime=io.containerd.wherry.v2\n'.encode())
        except OSError:
            pass  # containerd is away


def main(arguments: list[str]) -> NoReturn:
    """Serves on the socket that it was given, in the mount namespace that it was started from, until `Shutdown`.

    arguments: container id, namespace, socket path, containerd's address, its ttrpc address, its publishing program, "debug" or
    nothing.
    """
    code = 0
    try:
        namespace.setns(MOUNTS_FD, namespace.CLONE_NEWNS)
        os.close(MOUNTS_FD)
        os.set_inheritable(CONTROL_FD, False)
        serve(CONTROL_FD, *arguments)
    except Exception as error:  # noqa: BLE001 (the boundary of the process)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    os._exit(code)


def run(arguments: list[str], listener_fd: int, connection: _socket.socket) -> int:
    """The life of a shim in a fresh fork of the zygote; the exit status for it. `connection` hears of its pid."""
    os.setsid()
    unixsocket.send(connection, protocol.pack({"re": 0, "pid": os.getpid()}))
    connection.close()
    serve(listener_fd, *arguments)
    return 0


def serve(
    listener_fd: int,
    container_id: str,
    namespace_name: str,
    socket_path: str,
    address: str,
    ttrpc_address: str,
    binary: str,
    debug: str,
) -> None:
    """The life of the shim."""
    import _socket

    from wherry.shim.containerd.events import Publisher
    from wherry.shim.containerd.service import TaskService
    from wherry.shim.containerd.ttrpc import Server

    process.set_title(f"wherry-shim {container_id}")
    process.set_child_subreaper()
    for number in TERMINATING:
        _signal.signal(number, _signal.SIG_IGN)
    log = ShimLog(container_id, namespace_name, has_debug=bool(debug))
    loop = Loop()
    is_leaving: list[float] = []
    publisher = Publisher(
        loop, namespace=namespace_name, address=address, ttrpc_address=ttrpc_address, binary=binary, complain=log.complain
    )
    service = TaskService(loop, namespace_name, publisher, lambda: is_leaving.append(time.monotonic()))
    listener = _socket.socket(fileno=listener_fd)
    Server(loop, listener, service.handlers(), log.complain, log.called)
    while not is_leaving:
        try:
            loop.run_once()
        except Exception as error:  # noqa: BLE001 (a defect must not cost the containers their streams and their end)
            log.complain(f"{type(error).__name__}: {error}")
    try:
        os.unlink(socket_path)
    except FileNotFoundError:
        pass
    loop.after(LAST_EVENTS_S, lambda: None)
    while not publisher.is_idle and time.monotonic() < is_leaving[0] + LAST_EVENTS_S:
        loop.run_once()
