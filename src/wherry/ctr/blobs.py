"""Blobs in containerd's content store: read whole or in pieces, written under a reference, their labels."""

from __future__ import annotations

from wherry import errors
from wherry.oci.digest import digest_of, parse_digest
from wherry.transfer.content import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from wherry.ctr.client import Client
    from wherry.oci.image import Descriptor

CHUNK = 1 << 20
# WriteAction of content.proto.
STAT, WRITE, COMMIT = 0, 1, 2


def checked(text: str) -> str:
    """A digest from the command line. Raises InvalidArgument in Go's words."""
    try:
        return parse_digest(text)
    except errors.InvalidArgument:
        raise errors.InvalidArgument("invalid checksum digest format") from None


class Blobs:
    """The content store of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def chunks(self, digest: str, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes in order. Raises NotFound."""
        for answer in self._client.content.Read(digest=digest, offset=offset):
            yield answer.data

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob, whole. Raises NotFound, DataLoss for other bytes than the digest's."""
        return whole(descriptor, self.chunks(descriptor.digest))

    def info(self, digest: str) -> Any:
        """Size, moments and labels. Raises NotFound."""
        return self._client.content.Info(digest=digest).info

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        try:
            self.info(digest)
        except errors.NotFound:
            return False
        return True

    def list(self, filters: Iterable[str] = ()) -> Iterator[Any]:
        """What is known of each blob, in containerd's order."""
        for answer in self._client.content.List(filters=list(filters)):
            yield from answer.info

    def set_labels(self, digest: str, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Sets labels, an empty value clears one; all that the blob has then."""
        paths = [f"labels.{key}" for key in labels]
        found: Mapping[str, str] = self._client.content.Update(
            info={"digest": digest, "labels": dict(labels)}, update_mask={"paths": paths}).info.labels
        return found

    def delete(self, digest: str) -> None:
        """Deletes a blob. Raises NotFound."""
        self._client.content.Delete(digest=digest)

    def put(self, reference: str, data: bytes) -> str:
        """Writes a blob that is in memory; its digest."""
        return self.write(reference, (data,), size=len(data), digest=digest_of(data))

    def write(self, reference: str, chunks: Iterable[bytes], *, size: int = 0, digest: str = "",
              labels: Mapping[str, str] | None = None) -> str:
        """Writes a blob and returns its digest; `size` (0: any) and `digest` ("": any) are what it must turn out to have.

        A blob that is there already gets the labels, and nothing is read. Raises Conflict where the bytes are others.
        """
        writing = _Writing(reference, size, digest, labels or {})
        try:
            for answer in self._client.content.Write(writing.requests(chunks)):
                writing.goes_on(answer)
        except errors.AlreadyExists:
            if labels:
                self.set_labels(digest or writing.sent, labels)
            return digest or writing.sent
        except errors.WherryError as problem:
            if writing.problem is not None:
                raise writing.problem from problem
            if writing.commits:
                raise type(problem)(f'failed commit on ref "{reference}": commit failed: {problem.message}') from problem
            raise
        finally:
            writing.ended()
        return writing.digest


class _Writing:
    """One write: what is sent, and what the first answer says of where an earlier one was cut off.

    The requests are made in a thread of gRPC's, the answers come to ours.
    """

    def __init__(self, reference: str, size: int, digest: str, labels: Mapping[str, str]) -> None:
        import hashlib
        import threading

        self._hash = hashlib.sha256()
        self._reference, self._size, self._expected, self._labels = reference, size, digest, labels
        self._answered = threading.Event()
        self._failed = False
        self._offset = 0
        self.digest = ""
        self.sent = ""
        """The digest of what was sent, which is all there is to go by where the blob turns out to be there already."""
        self.commits = False
        self.problem: errors.WherryError | None = None
        """What went wrong on our side of it, which the call's own failure does not tell."""

    def goes_on(self, answer: Any) -> None:
        """Takes an answer."""
        if not self._answered.is_set():
            self._offset = answer.offset
            self._answered.set()
        self.digest = answer.digest

    def ended(self) -> None:
        """No more answers will come."""
        self._failed = not self._answered.is_set()
        self._answered.set()

    def requests(self, chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """The messages to send. The first says what will come, so that a blob that is there already is told before it is sent."""
        yield {"action": STAT, "ref": self._reference, "total": self._size, "expected": self._expected}
        self._answered.wait()
        if self._failed:
            return
        at, offset = 0, self._offset
        for data in chunks:
            self._hash.update(data)
            fresh = data[max(offset - at, 0):]
            at += len(data)
            for start in range(0, len(fresh), CHUNK):
                piece = fresh[start:start + CHUNK]
                yield {"action": WRITE, "ref": self._reference, "offset": offset, "data": piece}
                offset += len(piece)
        if at < self._size:
            self.problem = errors.DataLoss("failed to read expected number of bytes: unexpected EOF")
            raise self.problem
        self.sent = f"sha256:{self._hash.hexdigest()}"
        self.commits = True
        yield {"action": COMMIT, "ref": self._reference, "total": self._size, "offset": offset, "expected": self._expected,
               "labels": dict(self._labels)}
