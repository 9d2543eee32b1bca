"""Who is who in a root: the lines of its /etc/passwd and /etc/group, passwd(5) and group(5).

The files belong to a container, so they are opened by the kernel inside its root (no link leads out), read up to a limit, and a
line that makes no sense is passed over.
"""

from __future__ import annotations

import os
import stat

from wherry.linux.path import open_in_root
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT_BYTES = 16 << 20


class Account(Record):
    """A line of /etc/passwd, as far as it matters."""

    name: str
    uid: int
    gid: int
    home: str


class Group(Record):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


def read(rootfs: str) -> tuple[str, str]:
    """The texts of a root's passwd and group files."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _text(root, "etc/passwd"), _text(root, "etc/group")
    finally:
        os.close(root)


def _text(root: int, path: str) -> str:
    """The file's text; empty when it is missing or no plain file (reading a fifo would wait for ever)."""
    try:
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        with open(fd, "rb", closefd=False) as file:
            return file.read(_LIMIT_BYTES).decode(errors="replace")
    finally:
        os.close(fd)


def accounts(passwd: str) -> Iterator[Account]:
    """The users of a passwd file's text."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            yield Account(name=fields[0], uid=int(fields[2]), gid=int(fields[3]), home=fields[5])


def groups(group: str) -> Iterator[Group]:
    """The groups of a group file's text."""
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isdigit():
            members = tuple(name for name in fields[3].split(",") if name) if len(fields) > 3 else ()
            yield Group(name=fields[0], gid=int(fields[2]), members=members)
