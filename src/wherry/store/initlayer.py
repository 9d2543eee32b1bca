"""The init layer: between image and container, the few files that Docker puts into every container.

    /.dockerenv /dev/console /etc/hostname /etc/hosts /etc/resolv.conf      empty files, 0755
    /etc/mtab                                                               a link to /proc/mounts
    /dev/pts /dev/shm /proc /sys                                            folders, where the image has none

They are there so that something can be mounted on them, and they hide the image's own, as Docker's do. A folder that
the image has keeps its owner and mode. What must be made depends on the image alone and is computed once for each
(`plan`, without side effects but reading).
"""

from __future__ import annotations

import os
import stat

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.stack import Stack

FOLDER, FILE, LINK = "folder", "file", "link"
_WANTED = (
    (".dockerenv", FILE), ("dev", FOLDER), ("dev/console", FILE), ("dev/pts", FOLDER), ("dev/shm", FOLDER), ("etc", FOLDER),
    ("etc/hostname", FILE), ("etc/hosts", FILE), ("etc/mtab", LINK), ("etc/resolv.conf", FILE), ("proc", FOLDER),
    ("sys", FOLDER),
)  # fmt: skip
_ALWAYS = frozenset({"dev", "etc"})  # something is always made in them
_MTAB = "/proc/mounts"


class Step(Record):
    """One file to make. `opaque`: the image has something else there, that must not shine through."""

    path: str
    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    opaque: bool = False


def plan(image: Stack) -> tuple[Step, ...]:
    """What the init layer of a container on this image contains, folders first."""
    steps = []
    for path, kind in _WANTED:
        if kind != FOLDER:
            steps.append(Step(path=path, kind=kind))
            continue
        found = image.find(path)
        if found is not None and stat.S_ISDIR(found.status.st_mode):
            if path in _ALWAYS:
                status = found.status
                mode = stat.S_IMODE(status.st_mode)
                steps.append(Step(path=path, kind=kind, mode=mode, uid=status.st_uid, gid=status.st_gid))
        else:
            steps.append(Step(path=path, kind=kind, opaque=found is not None))
    return tuple(steps)


def apply(steps: tuple[Step, ...], folder: str) -> None:
    """Makes the files in a new, empty folder."""
    for step in steps:
        path = f"{folder}/{step.path}"
        if step.kind == LINK:
            os.symlink(_MTAB, path)
        elif step.kind == FILE:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
            os.fchmod(fd, step.mode)
            os.close(fd)
        else:
            os.mkdir(path)
            if step.uid or step.gid:
                os.chown(path, step.uid, step.gid)
            os.chmod(path, step.mode)
            if step.opaque:
                os.setxattr(path, "trusted.overlay.opaque", b"y")
