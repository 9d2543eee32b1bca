"""A stack of unmounted layers, asked what is at a path: overlayfs' rules, without the mount.

The topmost layer that has the path counts; a whiteout, an opaque folder, or something else than a folder on the way
hides what lies below. Links are never followed: these are layers' own trees, and their links mean the container's
root, not ours.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry.linux.path import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from wherry.record import Record
from wherry.store.unpack import OPAQUE_XATTR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self


class Found(Record):
    """A file that the stack shows: the number of the layer that has it (0 is the topmost), and its status."""

    layer: int
    status: os.stat_result


class Stack:
    """The `diff` folders of layers, topmost first. Close it, or use it with `with`."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._fds: list[int] = []
        try:
            for folder in folders:
                self._fds.append(os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise

    def find(self, path: str) -> Found | None:
        """The file at a relative path; None where the stack shows none."""
        for number, fd in enumerate(self._fds):
            try:
                opened = _open(fd, path)
            except FileNotFoundError:
                if self._hides(fd, path):
                    return None
                continue
            except OSError as err:
                if err.errno in (errno.ENOTDIR, errno.ELOOP):
                    return None
                raise
            try:
                status = os.fstat(opened)
            finally:
                os.close(opened)
            return None if is_whiteout(status) else Found(layer=number, status=status)
        return None

    def names(self, path: str) -> tuple[str, ...]:
        """The names in the folder at a relative path, of all layers, sorted; none where there is no folder."""
        seen: dict[str, bool] = {}
        for fd in self._fds:
            try:
                opened = _open(fd, path or ".")
            except FileNotFoundError:
                if self._hides(fd, path):
                    break
                continue
            except OSError as err:
                if err.errno in (errno.ENOTDIR, errno.ELOOP):
                    break
                raise
            try:
                if not stat.S_ISDIR(os.fstat(opened).st_mode):
                    break
                for name in os.listdir(f"/proc/self/fd/{opened}"):
                    status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                    seen.setdefault(name, not is_whiteout(status))
                if is_opaque(f"/proc/self/fd/{opened}"):
                    break
            finally:
                os.close(opened)
        return tuple(sorted(name for name, shown in seen.items() if shown))

    def _hides(self, fd: int, path: str) -> bool:
        """Whether this layer, which does not have the path itself, hides it in the layers below."""
        parent = os.path.dirname(path)
        while parent:
            try:
                opened = _open(fd, parent)
            except FileNotFoundError:
                parent = os.path.dirname(parent)
                continue
            try:
                if is_opaque(f"/proc/self/fd/{opened}"):
                    return True
            finally:
                os.close(opened)
            parent = os.path.dirname(parent)
        return is_opaque(f"/proc/self/fd/{fd}")

    def close(self) -> None:
        """Closes the descriptors."""
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs' mark for «not here any more»: the character device 0/0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether a folder (by a path that may be followed) hides what lower layers have in theirs; not when it is gone."""
    try:
        return os.getxattr(path, OPAQUE_XATTR) == b"y"
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.ENOTSUP, errno.ENOENT):
            return False
        raise


def _open(fd: int, path: str) -> int:
    return openat2(fd, path, os.O_PATH | os.O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
