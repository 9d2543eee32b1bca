"""Pseudo-terminals: open, resize, become the controlling terminal. pty(7), ioctl_tty(2)."""

from __future__ import annotations

import fcntl
import os
import struct

TIOCSCTTY = 0x540E
TIOCGWINSZ = 0x5413
TIOCSWINSZ = 0x5414
TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def open_slave(master: int) -> tuple[int, int]:
    """The other end of a terminal whose master is open: (slave, number N of its /dev/pts/N).

    It is opened through the master (TIOCGPTPEER), so no path under a container's control is followed.
    """
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    number: int = struct.unpack("i", fcntl.ioctl(master, TIOCGPTN, b"\0\0\0\0"))[0]
    return fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC), number


def resize(fd: int, rows: int, columns: int) -> None:
    """Sets the window size of a terminal; its foreground processes get SIGWINCH."""
    fcntl.ioctl(fd, TIOCSWINSZ, struct.pack("4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


def size(fd: int) -> tuple[int, int]:
    """(rows, columns) of a terminal."""
    rows, columns, _, _ = struct.unpack("4H", fcntl.ioctl(fd, TIOCGWINSZ, b"\0" * 8))
    return rows, columns


def make_controlling(fd: int) -> None:
    """Makes the terminal the controlling one of this session leader."""
    fcntl.ioctl(fd, TIOCSCTTY, 0)
