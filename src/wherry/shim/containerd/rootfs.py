"""The mounts that make a container's root: what the snapshotter said, mounted over the bundle's `rootfs`, one on the other."""

from __future__ import annotations

import errno
import os

from wherry.errors import WherryError
from wherry.linux import mount
from wherry.store.snapshots.model import Mount
from wherry.store.snapshots.mounting import detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def mount_all(mounts: Sequence[Mapping[str, Any]], target: str) -> None:
    """Mounts them in their order, all or none. Raises InvalidArgument for odd options, WherryError for the kernel's no."""
    if not mounts:
        return
    os.makedirs(target, mode=0o711, exist_ok=True)
    done = 0
    try:
        for one in mounts:
            _mount(one, target)
            done += 1
    except OSError as error:
        raise WherryError(f"failed to mount rootfs component {dict(one)}: {error.strerror}") from error
    finally:
        if done < len(mounts):
            for _ in range(done):
                mount.umount2(target, mount.MNT_DETACH)


def unmount(target: str) -> None:
    """Takes away all that is mounted there."""
    while True:
        try:
            mount.umount2(target, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # nothing is mounted
                return
            raise


def _mount(one: Mapping[str, Any], target: str) -> None:
    tree = detached(Mount(type=one["type"], source=one["source"], target=one["target"], options=tuple(one["options"])))
    try:
        fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount.move_mount(tree, fd)
        finally:
            os.close(fd)
    finally:
        os.close(tree)
