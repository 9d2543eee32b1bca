"""sd_notify(3) from inside a container: its service manager hears that the container's program is ready.

The manager's own socket ($NOTIFY_SOCKET) stays out of the container. There is one per container, in a folder of its state, which
is bound at the path of the manager's; whoever starts the container listens there, and passes on what makes it ready together with
the init's pid:

    $NOTIFY_SOCKET ◀── READY=1, MAINPID=<pid> ── start | run ◀── READY=1 ── <state>/sd-notify/notify = $NOTIFY_SOCKET/notify

The places are crun's (runc has /run/notify/notify.sock); as with runc, `start` and `run --detach` wait until the program is ready
or has ended.
"""

from __future__ import annotations

import _socket
import os
import select

from wherry.oci.runtime import Mount
from wherry.runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config

_OTHERWISE = "/run/notify"  # where the manager's socket is no path
_NAME = "notify"


def inside(host: str) -> str:
    """The container's socket as its program sees it. `host` is the caller's $NOTIFY_SOCKET."""
    return f"{_folder(host)}/{_NAME}"


def _folder(host: str) -> str:
    return host.rstrip("/") if host.startswith("/") else _OTHERWISE


def add_mount(config: Config, root: str, container_id: str, host: str) -> Config:
    """Makes the socket's folder in the state; the config that mounts it."""
    source = f"{state.folder(root, container_id)}/{state.NOTIFY}"
    os.mkdir(source, 0o755)
    mount = Mount(destination=_folder(host), type="bind", source=source, options=("bind", "nosuid", "noexec", "nodev", "ro"))
    return config.replace(mounts=(*config.mounts, mount))


class Proxy:
    """Listens for one container's program and tells the service manager. The caller's $NOTIFY_SOCKET is `host`."""

    def __init__(self, root: str, container_id: str, host: str) -> None:
        self._host = host
        path = f"{state.folder(root, container_id)}/{state.NOTIFY}/{_NAME}"
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._socket.bind(path)
        os.chmod(path, 0o777)  # the program's user is not ours

    def wait(self, pidfd: int, pid: int) -> None:
        """Passes on that the program is ready; returns then, or when it has ended."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._socket.fileno() in ready and self.heard(pid):
                return
            if pidfd in ready:
                return

    def fileno(self) -> int:
        """What becomes readable when the program says something."""
        return self._socket.fileno()

    def heard(self, pid: int) -> bool:
        """Reads one message; when it says READY, the manager is told so, and that `pid` is the service's. Whether it was."""
        lines = [line for line in self._socket.recv(4096).split(b"\n") if line.startswith(b"READY=")]
        if not lines:
            return False
        manager = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            manager.connect("\0" + self._host[1:] if self._host.startswith("@") else self._host)
            manager.send(lines[0] + b"\n")
            manager.send(f"MAINPID={pid}\n".encode())
        finally:
            manager.close()
        return True
