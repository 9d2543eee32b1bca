"""Who a container's program is: `--user` and `--group-add` by the image's own /etc/passwd and /etc/group.

The files belong to the container, so they are opened by the kernel inside its root (no link leads out), read up to a limit, and a
line that makes no sense is passed over.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.spec.places import User
from wherry.errors import InvalidArgument
from wherry.linux.path import open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT_BYTES = 16 << 20
_MAX_ID = 2**31 - 1


class Account(msgspec.Struct, frozen=True):
    """A line of /etc/passwd, as far as it matters."""

    name: str
    uid: int
    gid: int
    home: str


class Group(msgspec.Struct, frozen=True):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


def find_user(rootfs: str, user: str, group_add: tuple[str, ...] = ()) -> User:
    """Reads the image's files and resolves. Raises InvalidArgument in Docker's words for a user or group that is not there."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        passwd, group = _read(root, "etc/passwd"), _read(root, "etc/group")
    finally:
        os.close(root)
    return resolve_user(user, group_add, passwd, group)


def _read(root: int, path: str) -> str:
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


def resolve_user(user: str, group_add: tuple[str, ...], passwd: str, group: str) -> User:
    """`name|uid[:group|gid]` by the texts of the two files: pure."""
    who, colon, group_name = user.partition(":")
    accounts, groups = list(_accounts(passwd)), list(_groups(group))
    uid, gid, name = 0, 0, ""
    if not who:
        account = next((one for one in accounts if one.uid == 0), None)
    elif who.isdigit():
        # A number is never a name: an image may call root «1000» (CVE-2016-3697).
        account = next((one for one in accounts if one.uid == int(who)), None)
    else:
        account = next((one for one in accounts if one.name == who), None)
    if account is not None:
        uid, gid, name = account.uid, account.gid, account.name
    elif who:
        uid = _number(who, f"unable to find user {who}: no matching entries in passwd file")
    additional: list[int] = []
    if colon and group_name:
        missing = f"unable to find group {group_name}: no matching entries in group file"
        gid = _number(group_name, missing) if group_name.isdigit() else _group_id(group_name, groups, missing)
    elif name:
        # Without a group of one's own choice, one is also in the groups that list one.
        additional = [one.gid for one in groups if name in one.members]
    additional += [_group_id(one, groups, f"Unable to find group {one}: no matching entries in group file") for one in group_add]
    return User(uid=uid, gid=gid, additional_gids=tuple(dict.fromkeys([gid, *additional])))


def _group_id(text: str, groups: list[Group], missing: str) -> int:
    for one in groups:
        if one.name == text:
            return one.gid
    return _number(text, missing)


def _number(text: str, missing: str) -> int:
    if not text.isdigit():
        raise InvalidArgument(missing)
    if int(text) > _MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{_MAX_ID}")
    return int(text)


def _accounts(text: str) -> Iterator[Account]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            yield Account(fields[0], int(fields[2]), int(fields[3]), fields[5])


def _groups(text: str) -> Iterator[Group]:
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[2].isdigit():
            members = tuple(name for name in fields[3].split(",") if name) if len(fields) > 3 else ()
            yield Group(fields[0], int(fields[2]), members)
