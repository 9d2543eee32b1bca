"""Mounts: the mount API on descriptors (man 2 fsopen and its kin), and man 2 mount where it is still needed."""

from __future__ import annotations

import os
import struct
import sys

from wherry.linux import syscall

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_NO_AUTOMOUNT = 0x800
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSPICK_CLOEXEC = 1
FSPICK_EMPTY_PATH = 8

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x00100000
MOUNT_ATTR_NOSYMFOLLOW = 0x00200000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
_PROC_SUPER_MAGIC = 0x9FA0
_STATFS_BYTES = 256  # struct statfs is 120 on 64 bit machines


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value) + b"\0"


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mounts as man 2 mount says: MS_… flags; `data` is the filesystem's own options, separated by commas."""
    subject = f"source={source} target={target} type={kind} flags={flags:#x} data={data}"
    syscall.call("mount", subject, _text(source), _text(target), _text(kind), flags, _text(data))


def umount2(target: str, flags: int = 0) -> None:
    """Unmounts; man 2 umount2."""
    syscall.call("umount2", f"{target} flags={flags:#x}", _text(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """Swaps the root; man 2 pivot_root: «.» twice puts the old root on top of the new one, to be unmounted as «.»."""
    syscall.call("pivot_root", f"new_root={new_root} put_old={put_old}", _text(new_root), _text(put_old))


def fsopen(kind: str) -> int:
    """A descriptor of a filesystem of type `kind` that is being configured; the caller closes it. man 2 fsopen."""
    return syscall.call("fsopen", kind, _text(kind), FSOPEN_CLOEXEC)


def fsconfig_set(fd: int, key: str, value: str | None = None) -> None:
    """Sets one option: `key=value`, or a flag where value is None. A string has at most 255 bytes. fsconfig(2)."""
    command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
    syscall.call("fsconfig", f"{key}={value}", fd, command, _text(key), _text(value), 0)


def fsconfig_set_fd(fd: int, key: str, value: int) -> None:
    """Sets one option whose value is a descriptor. fsconfig(2)."""
    syscall.call("fsconfig", f"{key}=fd {value}", fd, FSCONFIG_SET_FD, _text(key), None, value)


def fsconfig_create(fd: int) -> None:
    """Makes the superblock as configured. fsconfig(2). The kernel's own explanation of a failure is `fs_messages`."""
    syscall.call("fsconfig", "create", fd, FSCONFIG_CMD_CREATE, None, None, 0)


def reconfigure(mount_fd: int, options: tuple[tuple[str, str | None], ...]) -> None:
    """Changes options of the filesystem whose mount a descriptor stands for. man 2 fspick, fsconfig."""
    fd = syscall.call("fspick", str(mount_fd), mount_fd, b"\0", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH)
    try:
        for key, value in options:
            fsconfig_set(fd, key, value)
        syscall.call("fsconfig", "reconfigure", fd, FSCONFIG_CMD_RECONFIGURE, None, None, 0)
    finally:
        os.close(fd)


def fs_messages(fd: int) -> str:
    """What the kernel says about the last failures on a descriptor of fsopen; empty when it says nothing."""
    lines = []
    for _ in range(16):
        try:
            lines.append(os.read(fd, 1024).decode(errors="replace").strip()[2:])
        except OSError:
            break
    return "; ".join(lines)


def fsmount(fd: int, attributes: int = 0) -> int:
    """A detached mount of what was configured, with MOUNT_ATTR_…; it ends with its last descriptor. man 2 fsmount."""
    return syscall.call("fsmount", f"attributes={attributes:#x}", fd, FSMOUNT_CLOEXEC, attributes)


def filesystem(kind: str, options: tuple[tuple[str, str | int | None], ...] = (), attributes: int = 0) -> int:
    """A detached mount of a new filesystem: fsopen, `configured`. The caller closes it. A number as an option is a descriptor."""
    return configured(fsopen(kind), options, attributes)


def configured(fd: int, options: tuple[tuple[str, str | int | None], ...] = (), attributes: int = 0) -> int:
    """A detached mount from a descriptor of fsopen, which is closed: fsconfig for each option, fsmount.

    OSError carries the kernel's own explanation where there is one.
    """
    try:
        for key, value in options:
            if isinstance(value, int):
                fsconfig_set_fd(fd, key, value)
            else:
                fsconfig_set(fd, key, value)
        fsconfig_create(fd)
        return fsmount(fd, attributes)
    except OSError as error:
        told = fs_messages(fd)
        if told:
            raise OSError(error.errno, f"{error.strerror} ({told})", error.filename) from error
        raise
    finally:
        os.close(fd)


def open_tree(path: str, dir_fd: int = AT_FDCWD, recursive: bool = True, clone: bool = True) -> int:
    """A detached copy of the mount (tree) at `path`: what a bind mount is. Empty path: `dir_fd` itself. man 2 open_tree."""
    flags = OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT
    if clone:
        flags |= OPEN_TREE_CLONE | (AT_RECURSIVE if recursive else 0)
    if not path:
        flags |= AT_EMPTY_PATH
    return syscall.call("open_tree", f"{path or dir_fd} flags={flags:#x}", dir_fd, _text(path), flags)


def is_proc(fd: int) -> bool:
    """Whether the mount that a descriptor stands for is of procfs. man 2 fstatfs, «f_type»."""
    found = syscall.Buffer(_STATFS_BYTES)
    syscall.call("fstatfs", str(fd), fd, found)
    return int.from_bytes(found.data[:8], sys.byteorder) == _PROC_SUPER_MAGIC


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attaches a detached mount (or moves one) to the file or folder that `target_fd` stands for. man 2 move_mount."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    syscall.call("move_mount", f"mount={mount_fd} target={target_fd}", mount_fd, b"\0", target_fd, b"\0", flags)


def mount_setattr(
    mount_fd: int,
    attributes_set: int = 0,
    attributes_clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    userns_fd: int = 0,
    path: str = "",
) -> None:
    """Changes a mount's MOUNT_ATTR_… flags and propagation (MS_PRIVATE, MS_SLAVE, …). man 2 mount_setattr, Linux 5.12."""
    attributes = struct.pack("4Q", attributes_set, attributes_clear, propagation, userns_fd)
    flags = (0 if path else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    subject = f"mount={mount_fd} {path} set={attributes_set:#x} clear={attributes_clear:#x} propagation={propagation:#x}"
    syscall.call("mount_setattr", subject, mount_fd, _text(path), flags, attributes, len(attributes))
