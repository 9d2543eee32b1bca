"""Unix sockets that carry descriptors beside their bytes, on `_socket` alone."""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SOCK_STREAM = _socket.SOCK_STREAM
SOCK_SEQPACKET = _socket.SOCK_SEQPACKET
_MSG_CMSG_CLOEXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0x40000000)
MAX_DESCRIPTORS = 253  # the kernel's SCM_MAX_FD


def pair(kind: int = SOCK_SEQPACKET) -> tuple[_socket.socket, _socket.socket]:
    """Two connected sockets, both close-on-exec."""
    return _socket.socketpair(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)


def connect(path: str, kind: int = SOCK_SEQPACKET) -> _socket.socket:
    """A socket connected to the one that listens at `path`; longer paths than 107 bytes go through their folder."""
    connection = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
    try:
        with _short(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(path: str, kind: int = SOCK_SEQPACKET, mode: int = 0o600, backlog: int = 128) -> _socket.socket:
    """A listening socket at `path` with the given mode; a file that is there already is replaced."""
    listener = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        with _short(path) as address:
            listener.bind(address)
        os.chmod(path, mode)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def send(connection: _socket.socket, data: bytes, descriptors: Iterable[int] = ()) -> None:
    """Sends one message with descriptors beside it; `data` must not be empty. The descriptors stay open here.

    On a stream, the rest of a long message follows without descriptors. unix(7), «SCM_RIGHTS».
    """
    import struct

    fds = tuple(descriptors)
    ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    sent = connection.sendmsg([data], ancillary)
    if sent < len(data):
        connection.sendall(data[sent:])


def receive(connection: _socket.socket, size: int = 65536) -> tuple[bytes, list[int]]:
    """The next message and the descriptors that came with it (close-on-exec; the caller owns them). b"" at the end."""
    data, ancillary, flags, _ = connection.recvmsg(
        size, _socket.CMSG_SPACE(4 * MAX_DESCRIPTORS), _MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds += memoryview(content[: len(content) & ~3]).cast("i").tolist()
    if flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        import errno

        raise OSError(errno.EMSGSIZE, "a message or its descriptors were cut off", f"recvmsg {size} bytes")
    return data, fds


class _short:  # noqa: N801 (reads as a verb at its place of use)
    """The path as an address: itself, or /proc/self/fd/<folder>/<name> where it is too long for sun_path."""

    def __init__(self, path: str) -> None:
        self.path, self.folder = path, -1

    def __enter__(self) -> str:
        if len(os.fsencode(self.path)) <= 107:
            return self.path
        folder, name = os.path.split(self.path)
        self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self.folder}/{name}"

    def __exit__(self, *_: object) -> None:
        if self.folder >= 0:
            os.close(self.folder)
