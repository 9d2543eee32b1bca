"""Paths of a container, resolved by the kernel inside its root: man 2 openat2 with RESOLVE_IN_ROOT.

Links, `..` and absolute links of the root's content stay inside; «magic» links (/proc/self/exe and its kind) are refused.
What is found is a descriptor, and work goes on with that: no path is resolved twice.
"""

from __future__ import annotations

import errno
import os
import struct

from wherry.linux import syscall

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


def openat2(dir_fd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """A close-on-exec descriptor for `path` seen from `dir_fd`. man 2 openat2; EAGAIN (a race with a rename) is retried."""
    how = struct.pack("3Q", flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path) + b"\0"
    for attempt in range(64):
        try:
            return syscall.call("openat2", path, dir_fd, name, how, len(how))
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR) or attempt == 63:
                raise
    raise AssertionError("unreachable")


def open_in_root(root_fd: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """A descriptor for a path of the container whose root is `root_fd`; the caller closes it."""
    return openat2(root_fd, path.lstrip("/") or ".", flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def make_folders(root_fd: int, path: str, mode: int = 0o755, dangling: int = 0) -> int:
    """Makes the folders of `path` that are missing, inside the root, and returns a descriptor (O_PATH) for the last one.

    Each step is resolved by the kernel in the root, so a link in the middle leads where the container would go. So many dangling
    links are followed to where they would lead; one more is an error, as NotADirectoryError is when something else is in the way.
    """
    try:
        return open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    parent, name = os.path.split(path.rstrip("/"))
    if not name or name in (".", ".."):
        return make_folders(root_fd, os.path.normpath("/" + path), mode, dangling)
    above = make_folders(root_fd, parent or "/", mode, dangling)
    try:
        try:
            os.mkdir(name, mode, dir_fd=above)
        except FileExistsError:
            if dangling and (target := _link(above, name)):
                return make_folders(root_fd, os.path.join(parent, target), mode, dangling - 1)
        return openat2(above, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    finally:
        os.close(above)


def make_file(root_fd: int, path: str, mode: int = 0o755, dangling: int = 0) -> int:
    """An O_PATH descriptor for the file at `path`, made empty (with its folders) where it was missing. See `make_folders`."""
    try:
        return open_in_root(root_fd, path)
    except FileNotFoundError:
        pass
    parent, name = os.path.split(path.rstrip("/"))
    above = make_folders(root_fd, parent or "/", dangling=dangling)
    try:
        if dangling and (target := _link(above, name)):
            return make_file(root_fd, os.path.join(parent, target), mode, dangling - 1)
        made = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=above)
        os.close(made)
        return openat2(above, name, os.O_PATH | os.O_NOFOLLOW)
    finally:
        os.close(above)


def _link(folder_fd: int, name: str) -> str:
    """Where a link leads; "" for what is none."""
    try:
        return os.readlink(name, dir_fd=folder_fd)
    except OSError:
        return ""
