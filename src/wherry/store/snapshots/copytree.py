"""A copy of a file tree that cannot be told from it: owners, modes, times, links, nodes, holes and extended attributes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from wherry.store.tree import Node, Root, Walk

_FICLONE = 0x40049409  # man 2 ioctl_ficlone
_CHUNK = 1 << 24
_NO_CLONE = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL})


def copy_tree(source: str, target: str) -> None:
    """Copies what is in the folder `source`, and its own attributes, to the empty folder `target`. Raises OSError."""
    with Root(source) as origin, Root(target) as root:
        folders: list[tuple[str, os.stat_result]] = [("", os.fstat(origin.fd))]
        links: dict[tuple[int, int], str] = {}
        _own_and_mark(Node(path="", name=".", folder_fd=origin.fd, status=folders[0][1]), ".", root.fd)
        for node in Walk(origin.fd):
            parent, _, name = node.path.rpartition("/")
            into = root.folder(parent)
            if stat.S_ISDIR(node.status.st_mode):
                os.mkdir(name, 0o700, dir_fd=into)
                _own_and_mark(node, name, into)
                folders.append((node.path, node.status))
                continue
            inode = (node.status.st_dev, node.status.st_ino)
            if node.status.st_nlink > 1 and inode in links:
                os.link(links[inode], name, src_dir_fd=root.fd, dst_dir_fd=into, follow_symlinks=False)
                continue
            links[inode] = node.path
            _make(node, name, into)
            _own_and_mark(node, name, into)
            _date(name, into, node.status)
        for path, status in reversed(folders):  # at last: what is made in a folder changes its time
            _date(path or ".", root.fd, status)


def _make(node: Node, name: str, into: int) -> None:
    mode = node.status.st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(node.name, dir_fd=node.folder_fd), name, dir_fd=into)
    elif stat.S_ISREG(mode):
        _copy_content(node, name, into)
    else:
        os.mknod(name, stat.S_IFMT(mode) | 0o600, node.status.st_rdev, dir_fd=into)


def _copy_content(node: Node, name: str, into: int) -> None:
    """Shares the blocks where the filesystem can, else copies what is not a hole."""
    reader = os.open(node.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.folder_fd)
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=into)
    try:
        try:
            fcntl.ioctl(writer, _FICLONE, reader)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            _copy_data(reader, writer, node.status.st_size)
    finally:
        os.close(reader)
        os.close(writer)


def _copy_data(reader: int, writer: int, size: int) -> None:
    at = 0
    while at < size:
        try:
            at = os.lseek(reader, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        end = os.lseek(reader, at, os.SEEK_HOLE)
        os.lseek(reader, at, os.SEEK_SET)
        os.lseek(writer, at, os.SEEK_SET)
        while at < end:
            copied = os.sendfile(writer, reader, None, min(end - at, _CHUNK))
            if not copied:
                break
            at += copied
    os.ftruncate(writer, size)


def _own_and_mark(node: Node, name: str, into: int) -> None:
    """Owner, then extended attributes (a change of owner takes capabilities away), then mode."""
    status = node.status
    os.chown(name, status.st_uid, status.st_gid, dir_fd=into, follow_symlinks=False)
    _copy_xattrs(f"/proc/self/fd/{node.folder_fd}/{node.name}", f"/proc/self/fd/{into}/{name}")
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=into)


def _date(name: str, into: int, status: os.stat_result) -> None:
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=into, follow_symlinks=False)


def _copy_xattrs(source: str, target: str) -> None:
    for name in os.listxattr(source, follow_symlinks=False):
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
