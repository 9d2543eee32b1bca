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
    from collections.abc import Iterator

    from wherry.oci.image import Platform
    from wherry.registry.client import FetchedManifest, Repository
    from wherry.transfer.content import Content
    from wherry.transfer.hosts import Remote

SOURCE_LABEL = "containerd.io/distribution.source."
CHUNK = 1 << 20
PARALLEL = 3


class Wanted(Record):
    """What of an image is fetched: for which platform (None: all), and how much of it."""

    platform: Platform | None = None
    all_metadata: bool = False
    metadata_only: bool = False
    parallel: int = PARALLEL


class Fetch:
    """One image on its way. `done` has each blob's reference once it is there, `fetched` counts the bytes that came."""

    def __init__(self, blobs: Content, repository: Repository, remote: Remote, wanted: Wanted) -> None:
        self._blobs = blobs
        self._repository = repository
        self._labels = {SOURCE_LABEL + remote.host: remote.path}
        self._wanted = wanted
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
            if not self._blobs.has(one.digest):
                self._put(one, self._repository.manifest(one.digest).data)
            else:
                self._note(one)
        elif not self._is_layer(one):
            self._blob(one)

    def _put(self, one: Descriptor, data: bytes) -> None:
        self._blobs.write(reference(one), (data,), size=len(data), digest=one.digest, labels=self._labels)
        self._note(one)

    def _blob(self, one: Descriptor) -> None:
        if self._blobs.has(one.digest):
            self._note(one)
            return
        self._blobs.write(reference(one), self._chunks(one), size=one.size, digest=one.digest, labels=self._labels)
        self._note(one)

    def _chunks(self, one: Descriptor) -> Iterator[bytes]:
        answer, _ = self._repository.open_blob(one.digest)
        try:
            while data := answer.read(CHUNK):
                self.fetched += len(data)
                yield data
        finally:
            answer.close()

    def _note(self, one: Descriptor) -> None:
        self.done[reference(one)] = None


def reference(one: Descriptor) -> str:
    """What a blob's write is called, as containerd's own clients call it."""
    if one.media_type in oci.MANIFESTS:
        return f"manifest-{one.digest}"
    if one.media_type in oci.INDEXES:
        return f"index-{one.digest}"
    return f"{'config' if one.media_type in (oci.OCI_CONFIG, oci.DOCKER_CONFIG) else 'layer'}-{one.digest}"
