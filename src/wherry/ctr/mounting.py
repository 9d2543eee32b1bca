"""Snapshots' mounts, made on this machine: at a folder that is given, or at one of a moment's life."""

from __future__ import annotations

import contextlib
import os
import tempfile

from wherry.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_FLAGS = {
    "ro": mount.MS_RDONLY, "nosuid": mount.MS_NOSUID, "nodev": mount.MS_NODEV, "noexec": mount.MS_NOEXEC,
    "bind": mount.MS_BIND, "rbind": mount.MS_BIND | mount.MS_REC, "rw": 0, "defaults": 0,
}


def mount_all(mounts: Iterable[Any], target: str, *, read_only: bool = False) -> None:
    """Mounts each in turn at the target. Raises OSError."""
    for one in mounts:
        options = _read_only(one.options) if read_only else list(one.options)
        flags, data = 0, []
        for option in options:
            if option in _FLAGS:
                flags |= _FLAGS[option]
            else:
                data.append(option)
        mount.mount(one.source, target, one.type, flags, ",".join(data) or None)
        if flags & mount.MS_BIND and flags & mount.MS_RDONLY:
            mount.mount("", target, None, flags | mount.MS_REMOUNT)


def _read_only(options: Iterable[str]) -> list[str]:
    """The options for a look at a snapshot without a trace: the layer that is written becomes the first of the lower ones."""
    found = [one for one in options if one not in ("rw", "ro") and not one.startswith(("upperdir=", "workdir="))]
    upper = next((one.removeprefix("upperdir=") for one in options if one.startswith("upperdir=")), "")
    if upper:
        found = [one.replace("lowerdir=", f"lowerdir={upper}:", 1) if one.startswith("lowerdir=") else one for one in found]
    return [*found, "ro"]


def unmount(target: str) -> None:
    """Unmounts all that is at the target. Raises OSError."""
    mount.umount2(target, mount.UMOUNT_NOFOLLOW)


@contextlib.contextmanager
def mounted(mounts: Iterable[Any], *, read_only: bool = False) -> Iterator[str]:
    """The mounts at a folder that exists inside of `with` alone."""
    folder = tempfile.mkdtemp(prefix="ctr-mount-")
    try:
        mount_all(mounts, folder, read_only=read_only)
        try:
            yield folder
        finally:
            mount.umount2(folder, mount.MNT_DETACH)
    finally:
        os.rmdir(folder)
