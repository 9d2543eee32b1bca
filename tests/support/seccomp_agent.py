"""An agent for seccomp's notify: listens where «listenerPath» points, and answers the calls that a filter passes on."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_RECEIVE, _SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
_NOTIFICATION = struct.Struct("QIIiIQ6Q")  # struct seccomp_notif
_CONTINUE = 1


class Agent:
    """Every call that is passed on fails with `error`, or is done when that is 0. `told` is what runtimes said, `calls` the numbers and pids."""

    def __init__(self, path: Path, error: int = errno.EXDEV) -> None:
        self.path, self.error = path, error
        self.told: list[dict[str, Any]] = []
        self.calls: list[tuple[int, int]] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join()
        self._server.close()
        self.path.unlink()

    def _serve(self) -> None:
        listeners: set[int] = set()
        while True:
            ready, _, _ = select.select([self._server, self._stopped, *listeners], [], [])
            if self._stopped in ready:
                break
            if self._server in ready:
                listeners.add(self._accept())
            for fd in listeners & set(ready):
                if not self._answer(fd):
                    listeners.discard(fd)
                    socket.close(fd)
        for fd in listeners:
            socket.close(fd)
        self._stopped.close()

    def _accept(self) -> int:
        connection, _ = self._server.accept()
        with connection:
            data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
            while True:  # crun keeps its end open
                try:
                    self.told.append(json.loads(data))
                    break
                except ValueError:
                    part = connection.recv(65536)
                    assert part, data
                    data += part
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        return fds[0]

    def _answer(self, fd: int) -> bool:
        """False when nobody has the filter any more."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(0)[0][1] & select.POLLIN:
            return False
        request = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(fd, _RECEIVE, request)
            number, pid, _, call = _NOTIFICATION.unpack(request)[:4]
            self.calls.append((call, pid))
            answer = struct.pack("QqiI", number, 0, -self.error, 0 if self.error else _CONTINUE)
            fcntl.ioctl(fd, _SEND, answer)
        except FileNotFoundError:
            pass  # the process was killed meanwhile
        return True
