"""A tree of files that a build reads from or writes to: a context, a stage, an image. Paths never leave it.

Paths are resolved by the kernel inside the root (`linux/path.py`), so a context with a link to the host's /etc finds its own
/etc, or nothing.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import os
import re
import shutil
import stat

from wherry.errors import InvalidArgument, NotFound
from wherry.linux.path import make_folders, open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

CHUNK = 1 << 20
# Deeper trees are not copied: the recursion ends before the interpreter's does.
MAX_DEPTH = 500
KEPT_XATTRS = ("security.capability",)


class Owner:
    """Who owns what is copied. `mode` replaces the permissions of files and folders where it is not None.

    With `keep` what is copied belongs to whom it belonged before; only folders that are made for it are the owner's.
    """

    def __init__(self, uid: int = 0, gid: int = 0, mode: int | None = None, *, keep: bool = False) -> None:
        self.uid, self.gid, self.mode, self.keep = uid, gid, mode, keep

    def of(self, found: os.stat_result) -> tuple[int, int]:
        """The user and the group of something that is copied."""
        return (found.st_uid, found.st_gid) if self.keep else (self.uid, self.gid)


class Tree:
    """An open root folder. Use it with `with`."""

    def __init__(self, path: str) -> None:
        self.root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.root_fd)

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """A descriptor, links followed inside the tree. Raises NotFound for what is not there or leads in circles."""
        try:
            return open_in_root(self.root_fd, path or ".", flags)
        except OSError as failure:
            if failure.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise NotFound(f"{path}: no such file or directory") from failure
            raise

    def kind(self, path: str) -> int | None:
        """The file type bits (`stat.S_IFDIR` …) with links followed; None where there is nothing."""
        try:
            descriptor = self.open(path)
        except NotFound:
            return None
        try:
            return stat.S_IFMT(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)

    def read(self, path: str, most_bytes: int) -> bytes:
        """A regular file's bytes. Raises NotFound, InvalidArgument for another kind or a larger one."""
        descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidArgument(f"{path} is not a regular file")
            if found.st_size > most_bytes:
                raise InvalidArgument(f"{path} is larger than {most_bytes} bytes")
            return b"".join(iter(lambda: os.read(descriptor, CHUNK), b""))
        finally:
            os.close(descriptor)

    def unlink(self, path: str) -> None:
        """Removes a file or a link; one that is not there is fine."""
        folder, name = os.path.split(path)
        try:
            descriptor = self.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except NotFound:
            return
        try:
            os.unlink(name, dir_fd=descriptor)
        except FileNotFoundError:
            return
        finally:
            os.close(descriptor)

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The paths that a pattern with `*`, `?` or `[…]` names, sorted; a text without them names itself, if it is there."""
        clean = os.path.normpath("/" + pattern).lstrip("/")
        if not any(char in pattern for char in "*?["):
            return (clean,) if self.kind(clean) is not None else ()
        found = [""]
        for part in clean.split("/"):
            expression = re.compile(_part(part))
            found = [os.path.join(folder, name) for folder in found for name in self._names(folder) if expression.fullmatch(name)]
        return tuple(sorted(found))

    def _names(self, folder: str) -> list[str]:
        if self.kind(folder) != stat.S_IFDIR:
            return []
        descriptor = self.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)

    def digest(self, path: str) -> str:
        """What a file or folder is by content: names, kinds, permissions, bytes; not owners and times. Hexadecimal SHA-256."""
        descriptor = self.open(path)
        try:
            digest = hashlib.sha256()
            for line in _described(descriptor, "", 0):
                digest.update(line)
            return digest.hexdigest()
        finally:
            os.close(descriptor)


def _part(pattern: str) -> str:
    """One path element's pattern as Go's filepath.Match reads it, as a regular expression."""
    return fnmatch.translate(pattern.replace("[^", "[!"))


def _reopen(descriptor: int, flags: int) -> int:
    """A real descriptor for an O_PATH one: by /proc, as there is no other way (open(2), «O_PATH»)."""
    return os.open(f"/proc/self/fd/{descriptor}", flags | os.O_CLOEXEC)


def _described(descriptor: int, name: str, depth: int) -> Iterator[bytes]:
    """Lines that say all about one entry, folders in depth."""
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"folders are nested more than {MAX_DEPTH} deep")
    found = os.fstat(descriptor)
    head = f"{name}\0{found.st_mode:o}\0".encode("utf-8", "surrogateescape")
    if stat.S_ISLNK(found.st_mode):
        yield head + os.fsencode(os.readlink("", dir_fd=descriptor)) + b"\n"
    elif stat.S_ISREG(found.st_mode):
        reader = _reopen(descriptor, os.O_RDONLY)
        try:
            digest = hashlib.sha256()
            for xattr in KEPT_XATTRS:
                digest.update(_xattr(reader, xattr))
            while data := os.read(reader, CHUNK):
                digest.update(data)
        finally:
            os.close(reader)
        yield head + digest.digest() + b"\n"
    elif stat.S_ISDIR(found.st_mode):
        yield head + b"\n"
        folder = _reopen(descriptor, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for child in sorted(os.listdir(folder)):
                inner = os.open(child, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    yield from _described(inner, f"{name}/{child}", depth + 1)
                finally:
                    os.close(inner)
        finally:
            os.close(folder)
    else:
        yield head + f"{found.st_rdev}\n".encode()


def _xattr(descriptor: int, name: str) -> bytes:
    try:
        return os.getxattr(descriptor, name)
    except OSError:
        return b""


def make_target_folder(tree: Tree, path: str, owner: Owner) -> int:
    """A descriptor for a folder of the target tree; folders that are missing are made and belong to `owner`."""
    missing = []
    probe = os.path.normpath("/" + path)
    while probe != "/" and tree.kind(probe) is None:
        missing.append(probe)
        probe = os.path.dirname(probe)
    descriptor = make_folders(tree.root_fd, path)
    for made in missing:
        inner = tree.open(made, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fchown(inner, owner.uid, owner.gid)
        finally:
            os.close(inner)
    try:
        return _reopen(descriptor, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(descriptor)


def copy_into(source: int, folder: int, name: str, owner: Owner, depth: int = 0) -> None:
    """Copies what the O_PATH descriptor `source` is to `name` in `folder`; a folder is merged into one that is there.

    Links are copied as links, devices and fifos as such, sockets passed over. What is in the way is replaced, a folder with
    all that is in it, except that a folder never replaces a file. Raises InvalidArgument for that.
    """
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"folders are nested more than {MAX_DEPTH} deep")
    found = os.fstat(source)
    if stat.S_ISDIR(found.st_mode):
        _copy_folder(source, found, folder, name, owner, depth)
        return
    if stat.S_ISSOCK(found.st_mode):
        return
    _make_room(folder, name)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink("", dir_fd=source), name, dir_fd=folder)
        os.chown(name, *owner.of(found), dir_fd=folder, follow_symlinks=False)
    elif stat.S_ISREG(found.st_mode):
        _copy_file(source, found, folder, name, owner)
    else:
        os.mknod(name, found.st_mode, found.st_rdev, dir_fd=folder)
        os.chown(name, *owner.of(found), dir_fd=folder, follow_symlinks=False)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=folder, follow_symlinks=False)


def copy_children(source: int, folder: int, owner: Owner, depth: int = 0) -> None:
    """Copies what is inside of the folder `source` into `folder`."""
    reader = _reopen(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for child in sorted(os.listdir(reader)):
            inner = os.open(child, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=reader)
            try:
                copy_into(inner, folder, child, owner, depth + 1)
            finally:
                os.close(inner)
    finally:
        os.close(reader)


def write_file(data: bytes, folder: int, name: str, owner: Owner, mode: int = 0o644) -> None:
    """Makes a file of these bytes (a here-document, a download)."""
    _make_room(folder, name)
    made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    with open(made, "wb") as file:
        file.write(data)
        os.fchown(made, owner.uid, owner.gid)
        os.fchmod(made, mode if owner.mode is None else owner.mode)


def _copy_folder(source: int, found: os.stat_result, folder: int, name: str, owner: Owner, depth: int) -> None:
    fresh = False
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.mkdir(name, 0o700, dir_fd=folder)
        fresh = True
    else:
        if not stat.S_ISDIR(there.st_mode):
            raise InvalidArgument(f"cannot copy to non-directory: {name}")
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        copy_children(source, inner, owner, depth)
        os.fchown(inner, *owner.of(found))
        os.fchmod(inner, stat.S_IMODE(found.st_mode) if owner.mode is None else owner.mode)
        if fresh:
            os.utime(inner, ns=(found.st_atime_ns, found.st_mtime_ns))
    finally:
        os.close(inner)


def _copy_file(source: int, found: os.stat_result, folder: int, name: str, owner: Owner) -> None:
    reader = _reopen(source, os.O_RDONLY)
    try:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            left = found.st_size
            while left > 0 and (moved := os.sendfile(writer, reader, None, left)):
                left -= moved
            os.fchown(writer, *owner.of(found))
            os.fchmod(writer, stat.S_IMODE(found.st_mode) if owner.mode is None else owner.mode)
            for xattr in KEPT_XATTRS:  # behind chown, which clears capabilities
                if value := _xattr(reader, xattr):
                    os.setxattr(writer, xattr, value)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _make_room(folder: int, name: str) -> None:
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(there.st_mode):
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
