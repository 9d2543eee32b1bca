"""What tells one snapshotter from another: how a snapshot lies in its folder, and how it is mounted."""

from __future__ import annotations

import os

from wherry.store.snapshots.model import Usage
from wherry.store.tree import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.snapshots.model import Mount, Node

_BLOCK = 512  # bytes of a block in stat(2), whatever the filesystem's are


class Layout:
    """A snapshot is the folder `<base>/<number>`; all paths are made from that. `name` is the snapshotter's."""

    name = ""

    def __init__(self, base: str) -> None:
        self.base = base

    def folder(self, number: int) -> str:
        """The folder of a snapshot."""
        return f"{self.base}/{number}"

    def files(self, folder: str) -> str:
        """Where a snapshot's own files are in its folder."""
        raise NotImplementedError

    def make(self, folder: str, kind: int, parent: int | None) -> None:
        """Fills the new, empty folder of a snapshot on top of `parent`. Raises OSError."""
        raise NotImplementedError

    def mounts(self, node: Node) -> tuple[Mount, ...]:
        """How a snapshot that is not committed is mounted."""
        raise NotImplementedError

    def usage(self, number: int) -> Usage:
        """What its own files occupy now. Raises OSError."""
        fd = os.open(self.files(self.folder(number)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            blocks, inodes = status.st_blocks, 1
            seen: set[tuple[int, int]] = set()
            for node in Walk(fd):
                status = node.status
                if status.st_nlink > 1:
                    key = (status.st_dev, status.st_ino)
                    if key in seen:
                        continue
                    seen.add(key)
                blocks += status.st_blocks
                inodes += 1
        finally:
            os.close(fd)
        return Usage(size_bytes=blocks * _BLOCK, inodes=inodes)
