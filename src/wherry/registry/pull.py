"""Pull: from a name to an image on disk; blobs come in parallel, layers are registered from the lowest up, right behind them.

reference ──manifest──▶ index ──platform──▶ manifest ──▶ config (diff ids) ──▶ which layers are here already
│
threads: one download each  ─────────────┤  each hashed while it arrives
this thread: register layer by layer  ◀──┘  reading behind the download, hashed again unpacked
then the image, then its names. Before the last step nothing is visible; cut anywhere, the next pull goes on.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.digest import chain_id
from wherry.oci.image import ImageConfig, Index, Manifest
from wherry.oci.platform import select
from wherry.record import Record
from wherry.registry import failure
from wherry.registry.blob import Download, Ingest
from wherry.registry.client import FetchedManifest, Repository
from wherry.registry.endpoint import endpoints
from wherry.registry.progress import Progress, short
from wherry.store.distribution import BlobSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.oci.image import Descriptor, Platform
    from wherry.oci.reference import Reference
    from wherry.registry.endpoint import Credentials, RegistryConfig
    from wherry.registry.progress import Report
    from wherry.registry.transport import Transport
    from wherry.store.distribution import Distribution
    from wherry.store.images import ImageStore
    from wherry.store.layers import Layer, LayerStore, Lease
    from wherry.store.references import ReferenceStore

CONFIG_BYTES = 8 << 20
# Deeper than any index of indexes that is meant well.
INDEX_DEPTH = 4


class Stores(Record):
    """Where pulled things go; `ingest` is the folder of blobs under way."""

    layers: LayerStore
    images: ImageStore
    references: ReferenceStore
    distribution: Distribution
    ingest: str


class Pulled(Record):
    """What a pull brought: the image, the manifest's digest, and whether the name meant this image before."""

    image_id: str
    digest: str
    up_to_date: bool


class Puller:
    """Pulls images into one data root. Two pulls of the same blob at once share one download, one after the other."""

    def __init__(self, transport: Transport, config: RegistryConfig, stores: Stores, parallel: int = 3) -> None:
        self._transport = transport
        self._config = config
        self._stores = stores
        self._parallel = parallel
        self._ingest = Ingest(stores.ingest)

    def pull(self, reference: Reference, platform: Platform, credentials: Credentials, report: Report,
             cancelled: threading.Event) -> Pulled:
        """Pulls one tag or digest. `report` is called from several threads, one at a time.

        Raises NotFound, Unauthorized, Forbidden, Unavailable, DataLoss, InvalidArgument, Cancelled or OSError (full
        disk); no name has changed then, and what was verified is kept for the next attempt.
        """
        guard = threading.Lock()

        def say(progress: Progress) -> None:
            with guard:
                report(progress)

        last: errors.WherryError | None = None
        for endpoint in endpoints(reference.domain, self._config):
            repository = Repository(self._transport, endpoint, reference.path, credentials, "pull")
            try:
                wanted = reference.digest or reference.tag
                manifest = repository.manifest(wanted)
            except errors.Unavailable as problem:
                last = problem
                if repository.is_reached and not endpoint.mirror:
                    break
                continue
            except errors.WherryError as problem:
                last = problem
                if endpoint.mirror:
                    continue
                break
            try:
                return self._pull(repository, reference, manifest, platform, say, cancelled)
            except errors.WherryError as problem:
                raise failure.of_pull(reference, problem) from problem
        if last is None:
            last = errors.Unavailable(f"no endpoint for {reference.domain}")
        raise failure.of_pull(reference, last) from last

    def tags(self, reference: Reference, credentials: Credentials) -> tuple[str, ...]:
        """All tags of a repository. Raises as `pull`."""
        last: errors.WherryError | None = None
        for endpoint in endpoints(reference.domain, self._config):
            repository = Repository(self._transport, endpoint, reference.path, credentials, "pull")
            try:
                return repository.tags()
            except errors.Unavailable as problem:
                last = problem
                if repository.is_reached and not endpoint.mirror:
                    break
            except errors.WherryError as problem:
                raise failure.of_pull(reference, problem) from problem
        raise last or errors.Unavailable(f"no endpoint for {reference.domain}")

    def _pull(self, repository: Repository, reference: Reference, fetched: FetchedManifest, platform: Platform,
              say: Report, cancelled: threading.Event) -> Pulled:
        say(Progress(status=f"Pulling from {reference.path}", id=str(reference) if reference.digest else reference.tag))
        manifest = self._choose(repository, fetched, platform)
        try:
            image_id = self._stores.images.get(manifest.config.digest).id
        except errors.NotFound:
            image_id = self._image(repository, reference, manifest, say, cancelled)
        before = self._name(reference, fetched.digest, image_id)
        say(Progress(status=f"Digest: {fetched.digest}"))
        what = "Image is up to date" if before == image_id else "Downloaded newer image"
        say(Progress(status=f"Status: {what} for {reference.familiar()}"))
        return Pulled(image_id=image_id, digest=fetched.digest, up_to_date=before == image_id)

    def _image(self, repository: Repository, reference: Reference, manifest: Manifest, say: Report,
               cancelled: threading.Event) -> str:
        """Brings an image that is not here; its id."""
        raw = repository.blob(manifest.config.digest, CONFIG_BYTES)
        config = ImageConfig.from_json(raw)
        if len(config.diff_ids) != len(manifest.layers):
            raise errors.InvalidArgument(
                f"the image's configuration names {len(config.diff_ids)} layers, its manifest {len(manifest.layers)}")
        with self._stores.layers.lease() as lease:
            try:
                self._layers(repository, reference, manifest, config, lease, say, cancelled)
            except (errors.WherryError, OSError):
                lease.keep()  # verified layers wait for the next attempt
                raise
            return self._stores.images.create(raw)

    def _choose(self, repository: Repository, fetched: FetchedManifest, platform: Platform) -> Manifest:
        """The manifest for this platform, through as many indexes as it takes."""
        for _ in range(INDEX_DEPTH):
            if fetched.media_type not in oci.INDEXES:
                break
            entry = select(Index.from_json(fetched.data).manifests, platform)
            fetched = repository.manifest(entry.digest)
        if fetched.media_type not in oci.MANIFESTS:
            raise errors.Unsupported(f"unsupported manifest media type: {fetched.media_type}")
        return Manifest.from_json(fetched.data)

    def _layers(self, repository: Repository, reference: Reference, manifest: Manifest, config: ImageConfig, lease: Lease,
                say: Report, cancelled: threading.Event) -> None:
        """Downloads and registers what is missing."""
        missing = list(self._missing(manifest, config, lease, say))
        for _, blob in missing[self._parallel:]:
            say(Progress(status="Waiting", id=short(blob.digest)))
        stop = _Either(cancelled)
        downloads = [Download(self._ingest, blob, say, stop) for _, blob in missing]
        registered = 0
        try:
            with ThreadPoolExecutor(max_workers=self._parallel, thread_name_prefix="pull") as pool:
                try:
                    for download in downloads:
                        pool.submit(_run, download, repository)
                    for (position, blob), download in zip(missing, downloads, strict=True):
                        layer = self._register(config.diff_ids, position, download, lease, say)
                        registered += 1
                        self._stores.distribution.add(layer.diff_id, BlobSource(digest=blob.digest, repository=reference.name))
                        say(Progress(status="Pull complete", id=short(blob.digest)))
                except BaseException:
                    stop.set()  # the other downloads stop at their next chunk; what they have stays
                    raise
        finally:
            for position, download in enumerate(downloads):
                download.close(used=position < registered)

    def _missing(self, manifest: Manifest, config: ImageConfig, lease: Lease, say: Report) -> Iterator[tuple[int, Descriptor]]:
        """The layers that have to come, lowest first; those that are here are held by the lease."""
        for position, blob in enumerate(manifest.layers):
            try:
                lease.hold(chain_id(config.diff_ids[:position + 1]))
            except errors.NotFound:
                say(Progress(status="Pulling fs layer", id=short(blob.digest)))
                yield position, blob
            else:
                say(Progress(status="Already exists", id=short(blob.digest)))

    def _register(self, diff_ids: tuple[str, ...], position: int, download: Download, lease: Lease, say: Report) -> Layer:
        """Unpacks one layer behind its download, or as soon as it is there."""
        blob = download.blob
        with download.open() as reader:
            counted = _Counted(reader, blob, say)
            try:
                layer = lease.register(counted, chain_id(diff_ids[:position]), expected_diff_id=diff_ids[position])
            except (errors.WherryError, OSError) as problem:
                if not isinstance(problem, OSError):
                    download.wait()  # bytes that are wrong on the wire explain what they did to the unpacking
                raise
            download.wait()
        return layer

    def _name(self, reference: Reference, digest: str, image_id: str) -> str:
        """Gives the image its names; what the name meant before."""
        references = self._stores.references
        try:
            before = references.lookup(reference)
        except errors.NotFound:
            before = ""
        if reference.tag and not reference.digest:
            references.tag(reference, image_id)
        references.tag(reference.with_digest(digest), image_id)
        return before


def _run(download: Download, repository: Repository) -> None:
    """The work of a downloading thread."""
    try:
        download.run(repository)
    except (errors.WherryError, OSError):
        return  # the registering thread is told by the download, and raises it


class _Either(threading.Event):
    """Set by ourselves or by the caller: asked, not awaited, except for the short pauses between attempts."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        step, left = 0.1, 3600.0 if timeout is None else timeout
        while not self.is_set() and left > 0:
            super().wait(min(step, left))
            left -= step
        return self.is_set()


class _Counted:
    """A reader that says how far the unpacking is."""

    def __init__(self, inner: object, blob: Descriptor, say: Report) -> None:
        self._read = inner.read  # type: ignore[attr-defined]
        self._blob = blob
        self._say = say
        self._done = 0
        self._told = -1

    def read(self, size: int = -1, /) -> bytes:
        """As the reader's."""
        data: bytes = self._read(size)
        self._done += len(data)
        step = self._done * 20 // max(self._blob.size, 1)  # at most twenty lines a layer
        if step != self._told:
            self._told = step
            self._say(Progress(status="Extracting", id=short(self._blob.digest), current=self._done, total=self._blob.size,
                               measured=True))
        return data


def prepare(folder: str) -> None:
    """Makes the folder for blobs under way, readable by the daemon alone."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
