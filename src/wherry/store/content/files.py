"""The files of content: `blobs/sha256/<hex>`, and `ingest/<number>` of what is being written.

A blob's file is complete and never changes; it is there before any record of it, and is removed after the last one.
"""

from __future__ import annotations

import os

from wherry import trace
from wherry.linux.file import sync_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ALGORITHM: Final = "sha256"


class ContentFiles:
    """The two folders."""

    def __init__(self, folder: str) -> None:
        """Makes them where they are missing."""
        self._blobs = f"{folder}/blobs/{_ALGORITHM}"
        self._ingests = f"{folder}/ingest"
        for one in (self._blobs, self._ingests):
            os.makedirs(one, mode=0o700, exist_ok=True)

    def blob(self, digest: str) -> str:
        """Where a blob is, or would be."""
        algorithm, _, encoded = digest.partition(":")
        if algorithm != _ALGORITHM:
            return f"{self._blobs}/no-{digest}"  # never there: what is written here is found by its sha256
        return f"{self._blobs}/{encoded}"

    def size(self, digest: str) -> int | None:
        """A blob's size in bytes, None when it is not there."""
        try:
            return os.stat(self.blob(digest)).st_size
        except FileNotFoundError:
            return None

    def keep(self, number: int, digest: str) -> None:
        """Makes an ingest's file, which is on the disk already, the blob's file. One that is there stays."""
        blob, ingest = self.blob(digest), self.ingest(number)
        trace.step("content keep", digest)
        if os.path.exists(blob):
            os.unlink(ingest)
            return
        os.chmod(ingest, 0o400)
        os.rename(ingest, blob)
        sync_folder(self._blobs)

    def remove(self, digest: str) -> None:
        """Removes a blob that no record names any more; one that is not there is no error."""
        trace.step("content remove", digest)
        _unlink(self.blob(digest))

    def digests(self) -> list[str]:
        """Those of all blobs that are there."""
        return [f"{_ALGORITHM}:{name}" for name in os.listdir(self._blobs)]

    def ingest(self, number: int) -> str:
        """The file that a write writes to."""
        return f"{self._ingests}/{number}"

    def remove_ingest(self, number: int) -> None:
        """Removes what a write has written."""
        _unlink(self.ingest(number))

    def ingests(self) -> list[int]:
        """The numbers of the writes that have a file."""
        return [int(name) for name in os.listdir(self._ingests)]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # a crash, or somebody else, was faster
