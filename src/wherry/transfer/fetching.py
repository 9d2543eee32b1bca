"""Content from a registry into the content store: documents in turn, as each tells of the next, then blobs side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from wherry.oci import image as oci
from wherry.oci.image import Descriptor
from wherry.record import Record
from wherry.transfer import manifests
from wherry.transfer.holding import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherry.oci.image import Platform
    from wherry.registry.client import FetchedManifest, Repository
    from wherry.transfer.content import Content
    from wherry.transfer.hosts import Remote

    Watch = Callable[[str, Descriptor, int], object]
    """What happens to a blob, and to how many of its bytes."""

CHUNK = 1 << 20
PARALLEL = 3


class Wanted(Record):
    """What of an image is fetched: for which platform (None: all), and how much of it."""

    platform: Platform | None = None
    all_metadata: bool = False
    metadata_only: bool = False
    parallel: int = PARALLEL


def unwatched(_event: str, _one: Descriptor, _bytes: int) -> None:
    """Nobody wants to know."""


class Fetch:
    """One image on its way. `done` has each blob's reference once it is there, `fetched` counts the bytes that came.

    `watch` is told of each blob, by threads of this one: «downloading» with the bytes so far, at its end «complete» or
    «already exists».
    """

    def __init__(self, blobs: Content, repository: Repository, remote: Remote, wanted: Wanted, watch: Watch = unwatched) -> None:
        self._blobs = blobs
        self._repository = repository
        self._labels = {remote.source_label: remote.path}
        self._wanted = wanted
        self._watch = watch
        self.done: dict[str, None] = {}
        self.fetched = 0

    def run(self, fetched: FetchedManifest) -> Descriptor:
        """Fetches everything below a manifest that was resolved; its descriptor."""
        target = Descriptor(media_type=fetched.media_type, digest=fetched.digest, size=len(fetched.data))
        self._put(target, fetched.data)
        leaves = list(self._documents(target))
        with ThreadPoolExecutor(max_workers=max(self._wanted.parallel, 1)) as pool:
            for _ in pool.map(self._blob, leaves):
                pass
        hold(self._blobs, target, None if self._wanted.all_metadata else self._wanted.platform)
        return target

    def _documents(self, target: Descriptor) -> Iterator[Descriptor]:
        """Fetches indexes, manifests and configurations; the layers that are then to fetch."""
        everything = None if self._wanted.all_metadata else self._wanted.platform
        for one in manifests.walk(self._blobs.document, target, wanted=everything, fetch=self._document):
            if self._is_layer(one) and not self._wanted.metadata_only:
                yield one

    @staticmethod
    def _is_layer(one: Descriptor) -> bool:
        return not (one.media_type in oci.INDEXES | oci.MANIFESTS or one.media_type in (oci.OCI_CONFIG, oci.DOCKER_CONFIG))

    def _document(self, one: Descriptor) -> None:
        if one.media_type in oci.INDEXES | oci.MANIFESTS:
            self._write(one, self._manifest(one))
        elif not self._is_layer(one):
            self._blob(one)

    def _put(self, one: Descriptor, data: bytes) -> None:
        self._write(one, iter((data,)))

    def _blob(self, one: Descriptor) -> None:
        self._write(one, self._chunks(one))

    def _write(self, one: Descriptor, chunks: Iterator[bytes]) -> None:
        """Writes a blob, unless it is there: then nothing is asked of the registry."""
        taken = 0

        def watched() -> Iterator[bytes]:
            nonlocal taken
            for data in chunks:
                taken += len(data)
                self._watch("downloading", one, taken)
                yield data

        self._blobs.write(reference(one), watched(), size=one.size, digest=one.digest, labels=self._labels)
        self._watch("complete" if taken else "already exists", one, one.size)
        self.done[reference(one)] = None

    def _manifest(self, one: Descriptor) -> Iterator[bytes]:
        yield self._repository.manifest(one.digest).data

    def _chunks(self, one: Descriptor) -> Iterator[bytes]:
        answer, _ = self._repository.open_blob(one.digest)
        try:
            while data := answer.read(CHUNK):
                self.fetched += len(data)
                yield data
        finally:
            answer.close()


def reference(one: Descriptor) -> str:
    """What a blob's write is called, as containerd's own clients call it."""
    if one.media_type in oci.MANIFESTS:
        return f"manifest-{one.digest}"
    if one.media_type in oci.INDEXES:
        return f"index-{one.digest}"
    return f"{'config' if one.media_type in (oci.OCI_CONFIG, oci.DOCKER_CONFIG) else 'layer'}-{one.digest}"
