"""The loopback interface of a new network namespace: it is born down."""

from __future__ import annotations

import fcntl
import struct

SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def bring_up(socket_fd: int) -> None:
    """Brings `lo` up, with its addresses, in the network namespace in which the socket was made. netdevice(7)."""
    fcntl.ioctl(socket_fd, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
