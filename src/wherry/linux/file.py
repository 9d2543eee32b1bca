"""Files replaced atomically, in the two classes of durability that the house knows.

`replace` renames without syncing: after a crash of ours the reader finds the old or the new content; a power cut may lose
it. `replace_durably` syncs file and folder: it also survives the power cut (see docs/architecture.md, «State on disk»).
"""

from __future__ import annotations

import os

_DRAFT = ".tmp"


def replace(path: str, content: bytes, mode: int = 0o600) -> None:
    """Makes `path` contain exactly `content`, for readers in one step. OSError leaves the old content in place."""
    _replace(path, content, mode, sync=False)


def write_pid(path: str, pid: int) -> None:
    """A pid file, for readers in one step. OSError «open <path>»."""
    try:
        replace(path, str(pid).encode(), 0o644)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"open {os.path.abspath(path)}") from error


def replace_durably(path: str, content: bytes, mode: int = 0o600) -> None:
    """As `replace`, and on return it is on the disk: rename(2) after fsync(2) of the file, then fsync of the folder."""
    _replace(path, content, mode, sync=True)
    sync_folder(os.path.dirname(path) or ".")


def _replace(path: str, content: bytes, mode: int, sync: bool) -> None:
    # One name per process, and an end by which `sweep` knows what a killed process left.
    temporary = f"{path}.{os.getpid()}{_DRAFT}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def sweep(folder: str) -> None:
    """Removes what processes that were killed in `replace` left in a folder, where nobody writes now; no folder is no error."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if name.endswith(_DRAFT):
            os.unlink(f"{folder}/{name}")


def sync_folder(folder: str) -> None:
    """Writes a folder's entries to the disk: what was created, renamed or removed in it. fsync(2)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str, limit_bytes: int = 64 << 20) -> bytes:
    """The content of a file; OSError (EFBIG) when it is longer than the limit."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, total = [], 0
        while part := os.read(fd, 1 << 20):
            parts.append(part)
            total += len(part)
            if total > limit_bytes:
                import errno

                raise OSError(errno.EFBIG, f"larger than {limit_bytes} bytes", path)
        return b"".join(parts)
    finally:
        os.close(fd)
