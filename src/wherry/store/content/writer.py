"""One write of a blob while it is open: bytes at its end, their digest so far, and the commit that verifies them."""

from __future__ import annotations

import os
from hashlib import sha256

from wherry.errors import Conflict
from wherry.oci.gotext import quote
from wherry.store.metadata.names import check_labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from wherry.store.content.files import ContentFiles
    from wherry.store.content.ingests import Ingests, Status

_PIECE: Final = 1 << 20


class Writer:
    """Has its ref to itself until it is closed. Not for several threads at once."""

    def __init__(self, ingests: Ingests, namespace: str, status: Status, files: ContentFiles) -> None:
        """Opens the file and reads again what is there, for the digest. Use `Ingests.writer`."""
        self._ingests = ingests
        self._namespace = namespace
        self._files = files
        self._digester = sha256()
        self._fd = -1
        self.status = status
        """As it was when the writer was opened."""
        self.offset = status.offset
        """How many bytes there are."""
        if not status.expected:
            self._open()
            self.offset = self._digest_of_file()

    @property
    def digest(self) -> str:
        """That of the bytes so far."""
        return self.status.expected or f"sha256:{self._digester.hexdigest()}"

    def write(self, data: bytes) -> None:
        """Appends; no bytes change nothing. OSError leaves what was written before."""
        if data and self.status.expected:
            self._unshare(copy=True)
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._digester.update(view[:written])
            self.offset += written
            view = view[written:]

    def truncate(self) -> None:
        """Begins anew."""
        if self.status.expected:
            self._unshare(copy=False)
        os.ftruncate(self._fd, 0)
        self._digester = sha256()
        self.offset = 0

    def commit(self, size: int, expected: str, labels: Mapping[str, str], lease: str) -> None:
        """Makes a blob of the bytes, if they are of this size (0: any) and this digest ("": any); the writer is closed then.

        Raises Conflict when they are not (the write stays as it is), AlreadyExists, InvalidArgument for the labels.
        """
        check_labels(labels, "info.Labels")
        if size not in (0, self.offset):
            raise Conflict(f"{quote(self.status.ref)} failed size validation: {self.offset} != {size}: failed precondition")
        if expected not in ("", self.digest):
            if self.status.expected:
                raise Conflict(f"{quote(self.status.ref)} unexpected digest: failed precondition")
            raise Conflict(f"unexpected commit digest {self.digest}, expected {expected}: failed precondition")
        if self._fd >= 0:
            os.fsync(self._fd)
        try:
            self._ingests.commit(self._namespace, self.status, self.digest, self.offset, labels, lease)
        finally:
            self.close()

    def close(self) -> None:
        """Leaves the write to whoever goes on with it. Closing twice is no error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._ingests.release(self._namespace, self.status.ref)

    def _unshare(self, *, copy: bool) -> None:
        """The bytes are to become others than the blob's that is there: from here on they are our own."""
        shared = self.status.expected
        self._ingests.unshare(self._namespace, self.status.ref)
        self.status = self.status.replace(expected="")
        self._open()
        os.ftruncate(self._fd, 0)
        self.offset = 0
        if copy:
            with open(self._files.blob(shared), "rb") as blob:
                while piece := blob.read(_PIECE):
                    self.write(piece)

    def _open(self) -> None:
        path = self._files.ingest(self.status.number)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _digest_of_file(self) -> int:
        """Feeds the digester with what is there; how many bytes that is."""
        offset = 0
        while piece := os.pread(self._fd, _PIECE, offset):
            self._digester.update(piece)
            offset += len(piece)
        return offset
