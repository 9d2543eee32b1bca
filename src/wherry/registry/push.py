"""Push: from an image on disk to a registry; layers go in parallel, each compressed and hashed while it is sent.

For each layer, cheapest first: a blob that this repository has already; one that another repository of the same registry has and
that the registry mounts; else its tar, byte for byte from tar-split, through gzip. Then the configuration, then the manifest: a
registry never shows an image whose parts are not there.
"""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from isal import isal_zlib

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.image import Descriptor, Manifest
from wherry.record import Record
from wherry.registry.client import Repository
from wherry.registry.endpoint import endpoints
from wherry.registry.progress import Progress, short
from wherry.store.distribution import BlobSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.oci.reference import Reference
    from wherry.registry.endpoint import Credentials, RegistryConfig
    from wherry.registry.progress import Report
    from wherry.registry.pull import Stores
    from wherry.registry.transport import Transport
    from wherry.store.layers import Layer

GZIP_WINDOW = 31  # zlib's window of 15 bits, with gzip's head and no time in it: the same layer is the same blob
COMPRESSION_LEVEL = isal_zlib.ISAL_DEFAULT_COMPRESSION
REPORT_EVERY_S = 0.1
# A layer that is known from elsewhere is tried in at most this many of those places.
MOUNT_ATTEMPTS = 4


class Pushed(Record):
    """What a push sent: the manifest's digest and size in bytes."""

    digest: str
    size: int


class Pusher:
    """Pushes images of one data root."""

    def __init__(self, transport: Transport, config: RegistryConfig, stores: Stores, parallel: int = 5) -> None:
        self._transport = transport
        self._config = config
        self._stores = stores
        self._parallel = parallel

    def push(self, reference: Reference, credentials: Credentials, report: Report, cancelled: threading.Event) -> Pushed:
        """Pushes one tagged image. `report` is called from several threads, one at a time.

        Raises NotFound for a name that means no image, Unauthorized, Forbidden, Unavailable, DataLoss (a layer's files
        were changed on disk), Cancelled.
        """
        guard = threading.Lock()

        def say(progress: Progress) -> None:
            with guard:
                report(progress)

        say(Progress(status=f"The push refers to repository [{reference.name}]"))
        try:
            image = self._stores.images.get(self._stores.references.lookup(reference))
        except errors.NotFound as problem:
            raise errors.NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}") from problem
        layers = self._stores.layers.chain(image.config.chain_id)
        repository = self._repository(reference, credentials)
        for layer in reversed(layers):
            say(Progress(status="Preparing", id=short(layer.diff_id)))
        for layer in layers[self._parallel:]:
            say(Progress(status="Waiting", id=short(layer.diff_id)))
        with ThreadPoolExecutor(max_workers=self._parallel, thread_name_prefix="push") as pool:
            transfers = [_Transfer(self._stores, repository, reference, layer, say, cancelled) for layer in layers]
            futures = [pool.submit(transfer.run) for transfer in transfers]
            try:
                blobs = tuple(future.result() for future in futures)
            except BaseException:
                for transfer in transfers:
                    transfer.stop.set()
                raise
        if cancelled.is_set():  # the registry is told last that there is an image
            raise errors.Cancelled("context canceled")
        config = Descriptor(media_type=oci.DOCKER_CONFIG, digest=image.id, size=len(image.raw))
        if not repository.has_blob(config.digest):
            repository.finish_upload(repository.send_blob(repository.start_upload(), [image.raw]), config.digest)
        data = Manifest(media_type=oci.DOCKER_MANIFEST, config=config, layers=blobs).to_json()
        digest = repository.put_manifest(reference.tag, oci.DOCKER_MANIFEST, data)
        self._stores.references.tag(reference.with_digest(digest), image.id)
        say(Progress(status=f"{reference.tag}: digest: {digest} size: {len(data)}"))
        say(Progress(status="", aux=(("Tag", reference.tag), ("Digest", digest), ("Size", len(data)))))
        return Pushed(digest=digest, size=len(data))

    def _repository(self, reference: Reference, credentials: Credentials) -> Repository:
        """The repository behind the first address that answers."""
        last: errors.WherryError | None = None
        for endpoint in endpoints(reference.domain, self._config, for_push=True):
            repository = Repository(self._transport, endpoint, reference.path, credentials, "pull,push")
            try:
                repository.ping()
            except errors.Unavailable as problem:
                last = problem
                if repository.is_reached:
                    break
            except errors.Unauthorized:
                return repository  # it answers; the layers' requests are told what is missing
            else:
                return repository
        raise last or errors.Unavailable(f"no endpoint for {reference.domain}")


class _Transfer:
    """One layer on its way out."""

    def __init__(self, stores: Stores, repository: Repository, reference: Reference, layer: Layer, say: Report,
                 cancelled: threading.Event) -> None:
        self._stores = stores
        self._repository = repository
        self._reference = reference
        self._layer = layer
        self._say_all = say
        self._cancelled = cancelled
        self.stop = threading.Event()

    def run(self) -> Descriptor:
        """The blob's descriptor, when the registry has it."""
        self._check_wanted()
        found = self._found_there()
        if found is None:
            self._remember(found := self._send())
        return found

    def _found_there(self) -> Descriptor | None:
        """A blob that the registry has, or takes over from another of its repositories."""
        name = self._reference.name
        known = self._stores.distribution.sources(self._layer.diff_id)
        for source in reversed([one for one in known if one.repository == name]):
            if self._repository.has_blob(source.digest):
                self._say("Layer already exists")
                return self._described(source.digest)
            self._stores.distribution.forget(source.digest)
        domain = self._reference.domain + "/"
        elsewhere = [one for one in known if one.repository.startswith(domain) and one.repository != name]
        for source in list(reversed(elsewhere))[:MOUNT_ATTEMPTS]:
            if self._repository.mount_blob(source.digest, source.repository.removeprefix(domain)):
                self._say(f"Mounted from {source.repository.removeprefix(domain)}")
                described = self._described(source.digest)
                self._remember(described)
                return described
        return None

    def _described(self, digest: str) -> Descriptor:
        return Descriptor(media_type=oci.DOCKER_LAYER_GZIP, digest=digest, size=self._repository.blob_size(digest))

    def _send(self) -> Descriptor:
        """Compresses, hashes and sends in one pass."""
        upload = self._repository.start_upload()
        sent = _Compressed(self._tar())
        upload = self._repository.send_blob(upload, sent)
        self._check_wanted()
        digest = "sha256:" + sent.digest.hexdigest()
        self._repository.finish_upload(upload, digest)
        self._say("Pushed")
        return Descriptor(media_type=oci.DOCKER_LAYER_GZIP, digest=digest, size=sent.size)

    def _tar(self) -> Iterator[bytes]:
        """The layer's tar, with progress by its uncompressed size."""
        done, told = 0, 0.0
        total = self._layer.size_bytes
        with self._stores.layers.open_tar(self._layer.chain_id) as stream:
            for chunk in stream:
                self._check_wanted()
                yield chunk
                done += len(chunk)
                if time.monotonic() - told >= REPORT_EVERY_S:
                    told = time.monotonic()
                    self._say_all(Progress(status="Pushing", id=short(self._layer.diff_id), current=done, total=max(total, done),
                                           measured=True))

    def _check_wanted(self) -> None:
        if self.stop.is_set() or self._cancelled.is_set():
            raise errors.Cancelled("context canceled")

    def _remember(self, blob: Descriptor) -> None:
        self._stores.distribution.add(self._layer.diff_id, BlobSource(digest=blob.digest, repository=self._reference.name))

    def _say(self, status: str) -> None:
        self._say_all(Progress(status=status, id=short(self._layer.diff_id)))


class _Compressed:
    """A tar's chunks as gzip, hashed as they pass."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        compressor = isal_zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP_WINDOW)
        for chunk in self._chunks:
            if data := compressor.compress(chunk):
                yield self._counted(data)
        yield self._counted(compressor.flush())

    def _counted(self, data: bytes) -> bytes:
        self.digest.update(data)
        self.size += len(data)
        return data
