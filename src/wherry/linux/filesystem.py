"""Whole filesystems, in calls that may take seconds: writing everything of one to the disk, and ending one.

Through `ctypes`, not `syscall.py`: `CDLL` gives the interpreter's lock away meanwhile, so a threaded daemon goes on.
"""

from __future__ import annotations

import os

from wherry import trace


def syncfs(fd: int) -> None:
    """Writes all changes of the filesystem that `fd` lies on to the disk; returns when they are there. man 2 syncfs."""
    _call("syncfs", str(fd), fd)


def umount2(target: str, flags: int = 0) -> None:
    """As `mount.umount2`, for the last mount of a filesystem: the kernel then writes what is dirty. man 2 umount2.

    (An overlay's end writes everything of the filesystem below it.)
    """
    _call("umount2", f"{target} flags={flags:#x}", os.fsencode(target), flags)


def _call(name: str, subject: str, *arguments: object) -> None:
    import ctypes

    trace.step(name, subject)
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"{name} {subject}")
