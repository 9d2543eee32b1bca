"""What pull and push remember about layers: which blob of which repository has which diff id.

distribution/diffid-by-digest/sha256/<blob hex>        the diff id
distribution/v2metadata-by-diffid/sha256/<diff hex>    [{"Digest", "SourceRepository", "HMAC"}], newest last
"""

from __future__ import annotations

import json
import os
import threading

from wherry.linux.file import read, replace
from wherry.oci.digest import InvalidDigest, is_digest, parse_digest
from wherry.record import Record
from wherry.store.tree import remove_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.root import DataRoot

MAX_SOURCES = 50


class BlobSource(Record):
    """A blob that a layer is known to be: its digest and the repository (`docker.io/library/busybox`) that has it."""

    digest: str
    repository: str
    hmac: str = ""


class Distribution:
    """The memory of pulls and pushes of a data root. A hint only: losing it costs transfers, nothing else."""

    def __init__(self, root: DataRoot) -> None:
        self._by_digest = f"{root.distribution}/diffid-by-digest"
        self._by_diff_id = f"{root.distribution}/v2metadata-by-diffid"
        self._lock = threading.Lock()

    def diff_id(self, blob_digest: str) -> str:
        """The diff id of a compressed blob; "" when not known."""
        try:
            return parse_digest(read(_file(self._by_digest, blob_digest)).decode().strip())
        except (OSError, UnicodeDecodeError, InvalidDigest):
            return ""

    def sources(self, diff_id: str) -> tuple[BlobSource, ...]:
        """Blobs known to be this layer, newest last."""
        try:
            found = json.loads(read(_file(self._by_diff_id, diff_id)))
            return tuple(
                BlobSource(digest=one["Digest"], repository=one["SourceRepository"], hmac=one.get("HMAC", ""))
                for one in found if is_digest(one["Digest"]))  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ()

    def add(self, diff_id: str, source: BlobSource) -> None:
        """Remembers a blob (at most fifty for a layer, as Docker; the oldest goes)."""
        with self._lock:
            known = [one for one in self.sources(diff_id) if one != source]
            self._write(diff_id, (*known, source)[-MAX_SOURCES:])
            _write(_file(self._by_digest, source.digest), diff_id.encode())

    def forget(self, blob_digest: str) -> None:
        """Forgets a blob that the registry does not have any longer."""
        with self._lock:
            diff_id = self.diff_id(blob_digest)
            if diff_id:
                self._write(diff_id, tuple(one for one in self.sources(diff_id) if one.digest != blob_digest))
            remove_path(_file(self._by_digest, blob_digest))

    def _write(self, diff_id: str, sources: tuple[BlobSource, ...]) -> None:
        records = [{"Digest": one.digest, "SourceRepository": one.repository, "HMAC": one.hmac} for one in sources]
        _write(_file(self._by_diff_id, diff_id), json.dumps(records, separators=(",", ":")).encode())


def _file(folder: str, digest: str) -> str:
    algorithm, _, name = parse_digest(digest).partition(":")
    return f"{folder}/{algorithm}/{name}"


def _write(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    replace(path, content, 0o644)
