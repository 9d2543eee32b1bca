"""Packets with descriptors, as the zygote and the shims send and receive them (synchronous, on `_socket`)."""

from __future__ import annotations

import _socket
import fcntl
import sys

from wherry.linux import unixsocket

FIONREAD = 0x541B
_SO_SNDBUFFORCE = 32


def receive(connection: _socket.socket) -> tuple[bytes, list[int]]:
    """The next packet, of any length, and its descriptors, which the caller owns; b"" at the end of the connection."""
    waiting = int.from_bytes(fcntl.ioctl(connection.fileno(), FIONREAD, b"\0\0\0\0"), sys.byteorder)
    try:
        # FIONREAD counts all the packets that wait (unix(7)), so it is enough for the first of them.
        return unixsocket.receive(connection, max(waiting, 1 << 16))
    except ConnectionResetError:
        return b"", []


def make_roomy(connection: _socket.socket, size: int = 1 << 20) -> None:
    """Lets the socket send packets up to this size: a packet must fit into the send buffer (unix(7))."""
    try:
        connection.setsockopt(_socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
    except PermissionError:
        connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, size)
