"""What must be there of a content store to bring images into it and out of it."""

from __future__ import annotations

from wherry import errors
from wherry.oci.digest import digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Protocol

    from wherry.oci.image import Descriptor

    class Info(Protocol):
        """What is known of a blob; `size` is bytes."""

        @property
        def size(self) -> int:
            """Of the blob."""

        @property
        def labels(self) -> Mapping[str, str]:
            """Those that are set."""

    class Content(Protocol):
        """Blobs by digest."""

        def chunks(self, digest: str) -> Iterator[bytes]:
            """A blob's bytes in order. Raises NotFound."""

        def document(self, descriptor: Descriptor) -> bytes:
            """A small blob, whole. Raises NotFound, DataLoss for other bytes than the digest's."""

        def info(self, digest: str) -> Info:
            """What is known of a blob. Raises NotFound."""

        def has(self, digest: str) -> bool:
            """Whether a blob is there."""

        def set_labels(self, digest: str, labels: Mapping[str, str]) -> object:
            """Sets some labels of a blob; an empty value clears one."""

        def write(self, reference: str, chunks: Iterable[bytes], *, size: int = 0, digest: str = "",
                  labels: Mapping[str, str] | None = None) -> str:
            """Writes a blob and returns its digest; `size` (0: any) and `digest` ("": any) are what it must turn out to have.

            A blob that is there already gets the labels, and nothing is read. Raises Conflict where the bytes are others.
            """


# What is read whole, to be understood: manifests and configurations.
DOCUMENT_BYTES = 32 << 20


def whole(descriptor: Descriptor, chunks: Iterable[bytes]) -> bytes:
    """A small blob out of its pieces. Raises InvalidArgument for a large one, DataLoss for other bytes than the digest's."""
    if descriptor.size > DOCUMENT_BYTES:
        raise errors.InvalidArgument(f"blob {descriptor.digest} is larger than {DOCUMENT_BYTES} bytes")
    data = b"".join(chunks)
    if descriptor.digest.startswith("sha256:") and digest_of(data) != descriptor.digest:
        raise errors.DataLoss(f"blob {descriptor.digest} does not have its digest")
    return data


class ChunkFile:
    """Pieces of any size as a file that tarfile reads in pieces of its own."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Exactly so many bytes, fewer at the end."""
        found = [self._rest]
        length = len(self._rest)
        while length < size and (data := next(self._chunks, b"")):
            found.append(data)
            length += len(data)
        whole = b"".join(found)
        self._rest = whole[size:]
        return whole[:size]
