"""Whole filesystems: writing everything of one to the disk.

Through `ctypes`, not `syscall.py`: the call may take seconds, and `CDLL` gives the interpreter's lock away meanwhile.
"""

from __future__ import annotations

import os

from wherry import trace


def syncfs(fd: int) -> None:
    """Writes all changes of the filesystem that `fd` lies on to the disk; returns when they are there. man 2 syncfs."""
    import ctypes

    trace.step("syncfs", str(fd))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"syncfs fd={fd}")
