"""Our own stores as `transfer/` wants them: what one namespace has, under one lease, for the threads of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.api.containerd.diff import apply_blob
from wherry.errors import AlreadyExists, Conflict, DataLoss, InvalidArgument, NotFound, Unavailable
from wherry.oci.image import Descriptor
from wherry.proto.services.images_pb2 import ImageCreate, ImageUpdate
from wherry.record import Record
from wherry.store.metadata.images import Image, Target
from wherry.transfer.content import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wherry.api.containerd.exchange import Exchange
    from wherry.api.containerd.threadwork import Work
    from wherry.store.content.blobs import Blobs, Info
    from wherry.store.content.ingests import Ingests
    from wherry.store.content.writer import Writer
    from wherry.store.metadata.images import Images
    from wherry.store.snapshots.model import Mount
    from wherry.store.snapshots.snapshotter import Snapshotter

_PIECE = 1 << 20
_PAUSE_S = 0.02  # between two looks whether another call has ended its write of the same blob


class View(Record):
    """Whose call it is: its namespace and lease, and the work that it is done in."""

    namespace: str
    lease: str
    work: Work


class StoredContent:
    """The content store."""

    def __init__(self, blobs: Blobs, ingests: Ingests, view: View) -> None:
        self._blobs, self._ingests, self._view = blobs, ingests, view

    def chunks(self, digest: str) -> Iterator[bytes]:
        """A blob's bytes in order. Raises NotFound."""
        with open(self._blobs.path(self._view.namespace, digest), "rb") as file:
            while data := file.read(_PIECE):
                self._view.work.go_on()
                yield data

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob, whole. Raises NotFound, DataLoss for other bytes than the digest's."""
        return whole(descriptor, self.chunks(descriptor.digest))

    def info(self, digest: str) -> Info:
        """What is known of a blob. Raises NotFound."""
        return self._blobs.info(self._view.namespace, digest)

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        try:
            self.info(digest)
        except NotFound:
            return False
        return True

    def set_labels(self, digest: str, labels: Mapping[str, str]) -> None:
        """Sets some labels of a blob; an empty value clears one."""
        self._blobs.update(self._view.namespace, digest, labels, [f"labels.{name}" for name in labels])

    def write(self, reference: str, chunks: Iterable[bytes], *, size: int = 0, digest: str = "",
              labels: Mapping[str, str] | None = None) -> str:
        """Writes a blob and returns its digest; one that was cut off goes on behind the bytes that are there.

        A blob that is there already gets the labels. Raises Conflict where the bytes are others: they are forgotten then.
        """
        try:
            writer = self._writer(reference, size, digest)
        except AlreadyExists:
            written, is_new = digest, False
        else:
            written, is_new = self._written(writer, chunks, size, digest, labels or {})
        if labels and not is_new:
            self.set_labels(written, labels)
        return written

    def _writer(self, reference: str, size: int, digest: str) -> Writer:
        """The one writer that a reference can have, once it is free."""
        while True:
            try:
                return self._ingests.writer(self._view.namespace, reference, total=size, expected=digest, lease=self._view.lease)
            except Unavailable:
                self._view.work.go_on(_PAUSE_S)

    def _written(self, writer: Writer, chunks: Iterable[bytes], size: int, expected: str,
                 labels: Mapping[str, str]) -> tuple[str, bool]:
        """The digest, and whether the blob was not there yet."""
        try:
            at, offset = 0, writer.offset
            for data in chunks:
                self._view.work.go_on()
                if fresh := data[max(offset - at, 0):]:
                    writer.write(fresh)
                at += len(data)
            if at < size:
                raise DataLoss("failed to read expected number of bytes: unexpected EOF")
            digest = writer.digest
            try:
                writer.commit(size, expected, labels, self._view.lease)
            except AlreadyExists:
                return digest, False
            except Conflict:
                writer.close()
                self._ingests.abort(self._view.namespace, writer.status.ref)
                raise
            return digest, True
        finally:
            writer.close()


class StoredSnapshots:
    """One snapshotter."""

    def __init__(self, name: str, snapshotter: Snapshotter, blobs: Blobs, view: View) -> None:
        self.name = name
        self._snapshotter, self._blobs, self._view = snapshotter, blobs, view

    def has(self, key: str) -> bool:
        """Whether a snapshot is there."""
        try:
            self._snapshotter.stat(self._view.namespace, key)
        except NotFound:
            return False
        return True

    def prepare(self, key: str, parent: str) -> Sequence[Mount]:
        """An active snapshot. Raises AlreadyExists, NotFound."""
        return self._snapshotter.prepare(self._view.namespace, key, parent, lease=self._view.lease)

    def apply(self, layer: Descriptor, mounts: Sequence[Mount]) -> str:
        """Unpacks a layer; its diff id."""
        self._view.work.go_on()
        return apply_blob(self._blobs, self._view.namespace, layer.media_type, layer.digest, mounts).digest

    def commit(self, name: str, key: str) -> None:
        """Raises AlreadyExists."""
        self._snapshotter.commit(self._view.namespace, name, key, lease=self._view.lease)

    def remove(self, key: str) -> None:
        """Raises NotFound."""
        self._snapshotter.remove(self._view.namespace, key)


class Stores:
    """All of our stores, from which each call is given what it may see."""

    def __init__(self, blobs: Blobs, ingests: Ingests, images: Images, snapshotters: Mapping[str, Snapshotter],
                 exchange: Exchange) -> None:
        self._blobs, self._ingests, self._images = blobs, ingests, images
        self._snapshotters, self._exchange = snapshotters, exchange

    def content(self, view: View) -> StoredContent:
        """The content store."""
        return StoredContent(self._blobs, self._ingests, view)

    def snapshots(self, view: View, name: str) -> StoredSnapshots:
        """A snapshotter by its name. Raises InvalidArgument."""
        if name not in self._snapshotters:
            raise InvalidArgument(f"snapshotter {name} is not loaded: invalid argument")
        return StoredSnapshots(name, self._snapshotters[name], self._blobs, view)

    def find(self, view: View, name: str) -> Descriptor:
        """What an image's name points to. Raises NotFound."""
        found = self._images.get(view.namespace, name).target
        return Descriptor(media_type=found.media_type, digest=found.digest, size=found.size, annotations=dict(found.annotations))

    def save(self, view: View, name: str, labels: Mapping[str, str], one: Descriptor) -> None:
        """Gives an image a name, also where that means something else."""
        image = Image(name=name, labels=dict(labels), target=Target(
            media_type=one.media_type, digest=one.digest, size=one.size, annotations=dict(one.annotations)))
        try:
            self._images.create(view.namespace, image)
        except AlreadyExists:
            self._images.update(view.namespace, image, ())
            view.work.tell(self._exchange.publish, view.namespace, "/images/update", ImageUpdate(name=name, labels=labels))
        else:
            view.work.tell(self._exchange.publish, view.namespace, "/images/create", ImageCreate(name=name, labels=labels))
