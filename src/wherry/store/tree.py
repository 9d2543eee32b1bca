"""Folder trees by descriptors: folders found inside a root, trees walked and removed however deep they are.

Nothing here follows a link out of its tree: the kernel resolves paths inside the root (openat2), and walking never
follows links. Trees may be deeper than a path may be long (a container can make such), so walking goes down by name
and up by `..`, with one descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry.linux.path import make_folders, open_in_root
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

_CACHED = 32
_O_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Root:
    """An opened folder that is the root of everything asked for. Close it, or use it with `with`."""

    def __init__(self, folder: str | int) -> None:
        """Opens the folder; a descriptor is duplicated."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self.fd = os.dup(folder) if isinstance(folder, int) else os.open(folder, flags)
        self._folders: dict[str, int] = {}

    def folder(self, path: str, *, make: bool = False) -> int:
        """A descriptor of the folder `path` (relative, "" for the root itself) that stays valid until the next call.

        `make` makes what is missing (0755). Raises OSError: ENOENT, ENOTDIR, ENAMETOOLONG.
        """
        if not path:
            return self.fd
        found = self._folders.get(path)
        if found is None:
            found = make_folders(self.fd, path) if make else open_in_root(self.fd, path, os.O_PATH | os.O_DIRECTORY)
            if len(self._folders) >= _CACHED:
                oldest = next(iter(self._folders))
                os.close(self._folders.pop(oldest))
            self._folders[path] = found
        return found

    def forget(self) -> None:
        """Drops remembered folders: one of them may have been replaced."""
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()

    def open_file(self, path: str) -> int:
        """A descriptor for reading the regular file at `path`. Raises OSError, EINVAL for anything else than a file."""
        fd = open_in_root(self.fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file", path)
        return fd

    def close(self) -> None:
        """Closes all descriptors."""
        self.forget()
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Node(Record):
    """A file met on a walk: `path` relative to its start, `name` in the folder `folder_fd` (valid until the next step)."""

    path: str
    name: str
    folder_fd: int
    status: os.stat_result


class Walk:
    """All files below a folder, each folder before what is in it, names sorted. `skip()` leaves out the folder just met."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._skip = False

    def skip(self) -> None:
        """Does not enter the folder that was yielded last."""
        self._skip = True

    def __iter__(self) -> Iterator[Node]:
        current = os.open(".", _O_FOLDER, dir_fd=self._fd)
        try:
            above: list[tuple[list[str], str]] = []
            names, prefix = sorted(os.listdir(current), reverse=True), ""
            while True:
                if not names:
                    if not above:
                        return
                    names, prefix = above.pop()
                    current = _replace(current, "..")
                    continue
                name = names.pop()
                try:
                    status = os.stat(name, dir_fd=current, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a running container removed it
                self._skip = False
                path = prefix + name
                yield Node(path=path, name=name, folder_fd=current, status=status)
                if stat.S_ISDIR(status.st_mode) and not self._skip:
                    try:
                        current = _replace(current, name)
                    except (FileNotFoundError, NotADirectoryError):
                        continue  # it went, or became something else, meanwhile
                    except OSError as err:
                        if err.errno == errno.EXDEV:
                            continue  # what is mounted there is not part of the tree
                        raise
                    above.append((names, prefix))
                    names, prefix = sorted(os.listdir(current), reverse=True), path + "/"
        finally:
            os.close(current)


def remove_tree(name: str, dir_fd: int) -> None:
    """Removes what `name` stands for in a folder, with all that is below; harmless when it is missing.

    The tree must be nobody else's: a folder that is moved meanwhile would lead `..` elsewhere.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    else:
        return
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError:
        pass
    else:
        return
    current = os.open(name, _O_FOLDER, dir_fd=dir_fd)
    try:
        path: list[str] = []
        while True:
            below = _empty(current)
            if below is not None:
                current = _replace(current, below)
                path.append(below)
            elif path:
                current = _replace(current, "..")
                os.rmdir(path.pop(), dir_fd=current)
            else:
                break
    finally:
        os.close(current)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(fd: int) -> str | None:
    """Removes the files and empty folders in a folder; the first folder that is not empty, if any."""
    with os.scandir(fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in entries:
        if not is_folder:
            os.unlink(name, dir_fd=fd)
            continue
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError as err:
            if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            return name
    return None


def remove_path(path: str) -> None:
    """As remove_tree, for a path."""
    folder, name = os.path.split(path)
    try:
        fd = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_tree(name, fd)
    finally:
        os.close(fd)


def _replace(fd: int, name: str) -> int:
    """A descriptor of the folder `name` in `fd`, which is closed. On failure, also at a mount, `fd` stays open."""
    opened = os.open(name, _O_FOLDER, dir_fd=fd)
    if name != ".." and os.fstat(opened).st_dev != os.fstat(fd).st_dev:
        os.close(opened)
        raise OSError(errno.EXDEV, "another filesystem is mounted here", name)
    os.close(fd)
    return opened
