"""What a container changed: `docker diff`, from its upper folder and the layers below, without mounting."""

from __future__ import annotations

import os
import stat

from wherry.record import Record
from wherry.store.stack import is_opaque, is_whiteout
from wherry.store.tree import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.stack import Stack

MODIFIED, ADDED, DELETED = 0, 1, 2


class Change(Record):
    """A difference between a container and its image. `kind`: 0 modified, 1 added, 2 deleted; `path` is absolute."""

    kind: int
    path: str


def changes(upper_fd: int, lower: Stack) -> tuple[Change, ...]:
    """The differences, sorted by path.

    A folder that overlayfs only copied up to have a place for something in it counts as modified, as with Docker; one
    that is the same as below, and has no change in it, does not count.
    """
    found: dict[str, int] = {}
    same: set[str] = set()
    for node in Walk(upper_fd):
        below = lower.find(node.path)
        if is_whiteout(node.status):
            if below is not None:
                found[node.path] = DELETED
            continue
        if below is None:
            found[node.path] = ADDED
            continue
        if not stat.S_ISDIR(node.status.st_mode):
            found[node.path] = MODIFIED
            continue
        if not stat.S_ISDIR(below.status.st_mode) or not _same_folder(node.status, below.status):
            found[node.path] = MODIFIED
        else:
            same.add(node.path)
        path = f"/proc/self/fd/{node.folder_fd}/{node.name}"
        if is_opaque(path) and stat.S_ISDIR(below.status.st_mode):
            try:
                there = set(os.listdir(path))
            except FileNotFoundError:
                continue  # a running container removed it
            found.update({f"{node.path}/{name}": DELETED for name in lower.names(node.path) if name not in there})
    for path in tuple(found):
        # The way to a change is changed, even where nothing about the folder tells.
        while path := os.path.dirname(path):
            if path in same:
                found[path] = MODIFIED
    return tuple(Change(kind=found[path], path="/" + path) for path in sorted(found))


def _same_folder(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns) == (
        other.st_mode, other.st_uid, other.st_gid, other.st_mtime_ns)  # fmt: skip


def size_of_tree(fd: int) -> int:
    """Bytes in the files and links below a folder, as Docker counts them; a file with several names counts once."""
    total = 0
    seen: set[int] = set()
    for node in Walk(fd):
        status = node.status
        if stat.S_ISDIR(status.st_mode) or (status.st_nlink > 1 and status.st_ino in seen):
            continue
        seen.add(status.st_ino)
        total += status.st_size
    return total
