"""A snapshot whose files belong to a user namespace's users: a copy of another with every owner moved by a distance."""

from __future__ import annotations

import os
import stat

from wherry.ctr.mounting import mounted
from wherry.ctr.unpack import has_snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.ctr.client import Client


def remapped(client: Client, snapshotter: str, parent: str, uid: int, gid: int) -> str:
    """The committed snapshot with owners moved; made at first use, its name tells of what and how far."""
    name = f"{parent}-{uid}-{gid}"
    if has_snapshot(client, snapshotter, name):
        return name
    key = f"{name}-remap"
    mounts = client.snapshots.Prepare(snapshotter=snapshotter, key=key, parent=parent).mounts
    try:
        with mounted(mounts) as root:
            for path, status in _entries(root):
                os.lchown(path, status.st_uid + uid, status.st_gid + gid)
                if stat.S_ISREG(status.st_mode) and status.st_mode & 0o6000:
                    os.chmod(path, status.st_mode & 0o7777)  # chown takes setuid and setgid away
        client.snapshots.Commit(snapshotter=snapshotter, name=name, key=key)
    except BaseException:
        client.snapshots.Remove(snapshotter=snapshotter, key=key)
        raise
    return name


def _entries(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything in a tree, the root itself too; links are not followed."""
    yield root, os.lstat(root)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            yield path, os.lstat(path)
