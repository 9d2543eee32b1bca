"""The mounts that make a container's root: what the snapshotter said, mounted over the bundle's `rootfs`, one on the other."""

from __future__ import annotations

import errno
import os

from wherry.errors import InvalidArgument, WherryError
from wherry.linux import mount
from wherry.oci.runtime import Mount
from wherry.runtime.mountplan import plan_mount

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
    if one["target"].strip("/"):
        raise InvalidArgument(f"mount target {one['target']!r}: only the root itself can be mounted")
    step = plan_mount(Mount(destination="/", source=one["source"], type=one["type"], options=tuple(one["options"])), "/")
    if step.kind == "bind":
        tree = mount.open_tree(step.source, recursive=step.recursive)
        try:
            mount.mount_setattr(tree, *step.attributes)
            _move(tree, target)
        finally:
            os.close(tree)
        return
    text = ",".join(key if value is None else f"{key}={value}" for key, value in step.data)
    mount.mount(step.source or step.fstype, target, step.fstype, 0, text)
    made = mount.open_tree(target, recursive=False, clone=False)
    try:
        mount.mount_setattr(made, *step.attributes)
    finally:
        os.close(made)


def _move(tree: int, target: str) -> None:
    fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount.move_mount(tree, fd)
    finally:
        os.close(fd)
