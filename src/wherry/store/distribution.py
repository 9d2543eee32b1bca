"""What pull and push remember about layers: which blob of which repository has which diff id.

distribution/diffid-by-digest/sha256/<blob hex>        the diff id
distribution/v2metadata-by-diffid/sha256/<diff hex>    [{"Digest", "SourceRepository", "HMAC"}], newest last
"""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.root import DataRoot


class BlobSource(Record):
    """A blob that a layer is known to be: its digest and the repository (`docker.io/library/busybox`) that has it."""

    digest: str
    repository: str
    hmac: str = ""


class Distribution:
    """The memory of pulls and pushes of a data root. A hint only: losing it costs transfers, nothing else."""

    def __init__(self, root: DataRoot) -> None:
        raise NotImplementedError

    def diff_id(self, blob_digest: str) -> str:
        """The diff id of a compressed blob; "" when not known."""
        raise NotImplementedError

    def sources(self, diff_id: str) -> tuple[BlobSource, ...]:
        """Blobs known to be this layer, newest last."""
        raise NotImplementedError

    def add(self, diff_id: str, source: BlobSource) -> None:
        """Remembers a blob (at most fifty for a layer, as Docker; the oldest goes)."""
        raise NotImplementedError

    def forget(self, blob_digest: str) -> None:
        """Forgets a blob that the registry does not have any longer."""
        raise NotImplementedError

    def forget_layer(self, diff_id: str) -> None:
        """Forgets all blobs of a layer that was removed."""
        raise NotImplementedError
