"""Reading images out of a tar file: docker-archives of any age, and OCI layouts.

The archive comes as a stream whose table of contents (manifest.json, index.json) may stand last, so its files are put
into one file without a name first. Then all images are planned and checked, all missing layers unpacked, and only then
anything is committed.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import tempfile
from concurrent.futures import ThreadPoolExecutor

from wherry.errors import DataLoss, InvalidArgument, NotFound
from wherry.oci.digest import hex_of, next_chain_id
from wherry.oci.image import INDEXES, ImageConfig, Index, Manifest
from wherry.oci.platform import host_platform, select
from wherry.oci.reference import Reference, parse_name, parse_reference
from wherry.record import Record
from wherry.store import tarheader
from wherry.store.compression import decompress
from wherry.store.stream import CHUNK
from wherry.store.tarread import TarReader
from wherry.store.unpack import clean, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from wherry.oci.image import Descriptor
    from wherry.store.images import ImageStore
    from wherry.store.layers import Layer, LayerStore, Lease, Staged
    from wherry.store.references import ReferenceStore
    from wherry.store.stream import Readable

MAX_JSON = 8 << 20
_MAX_NESTED = 3
_THREADS = 2


class Progress(Record):
    """A layer on its way: `id` is the short diff id; bytes so far and in all."""

    id: str
    current_bytes: int
    total_bytes: int


class Loaded(Record):
    """One image of an archive: its id, and the references it now has from there (none: `Loaded image ID: …`).

    `replaced` lists the references that meant another image before, with that image's id.
    """

    image_id: str
    references: tuple[Reference, ...]
    replaced: tuple[tuple[Reference, str], ...] = ()


class Blob(Record):
    """A file of the archive that is a layer: its name there, and its digest where the archive says one."""

    name: str
    digest: str = ""


class PlannedImage(Record):
    """An image as the archive describes it."""

    raw: bytes
    config: ImageConfig
    layers: tuple[Blob, ...]
    references: tuple[Reference, ...]


class Spool:
    """The regular files of a tar, in one file without a name; reads them by their names. Close it."""

    def __init__(self, folder: str) -> None:
        try:
            self._fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:  # a filesystem without such files
            self._fd, path = tempfile.mkstemp(dir=folder)
            os.unlink(path)
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}

    def fill(self, stream: Readable) -> None:
        """Takes in the archive. Raises InvalidArgument, DataLoss, OSError."""
        _, plain = decompress(stream)
        reader = TarReader(plain)
        end = 0
        while (entry := reader.next()) is not None:
            name = clean(entry.name)
            if entry.kind == tarheader.REGULAR:
                for piece in reader.payload():
                    write_all(self._fd, piece)
                self._places[name] = (end, entry.size)
                end += entry.size
            elif entry.kind == tarheader.SYMLINK:
                self._links[name] = clean(posixpath.join(posixpath.dirname(name), entry.link))
            elif entry.kind == tarheader.LINK:
                self._links[name] = clean(entry.link)
            reader.take_raw()
        for _ in reader.rest():
            pass

    def place(self, name: str) -> tuple[int, int] | None:
        """(offset, size) of a file, through links; None where there is none."""
        name = posixpath.normpath(name).lstrip("/")
        for _ in range(8):
            if name in self._places:
                return self._places[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def json(self, name: str) -> bytes:
        """A small file. Raises InvalidArgument when it is missing or not small."""
        found = self.place(name)
        if found is None:
            raise InvalidArgument(f'invalid archive: "{name}" is missing')
        if found[1] > MAX_JSON:
            raise InvalidArgument(f'invalid archive: "{name}" is larger than {MAX_JSON} bytes')
        return os.pread(self._fd, found[1], found[0])

    def open(self, name: str, progress: Callable[[int], None], *, hashed: bool) -> SpooledFile:
        """A file, to be read. Raises InvalidArgument when it is missing."""
        found = self.place(name)
        if found is None:
            raise InvalidArgument(f'invalid archive: "{name}" is missing')
        return SpooledFile(self._fd, found[0], found[1], progress, hashed)

    def close(self) -> None:
        """Gives the room on the disk back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class SpooledFile:
    """A stretch of the spool, hashed while it is read where that is wanted."""

    def __init__(self, fd: int, offset: int, size: int, progress: Callable[[int], None], hashed: bool) -> None:
        self._fd = fd
        self._offset = offset
        self._left = size
        self._progress = progress
        self.sha256 = hashlib.sha256() if hashed else None
        self.size = size

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" at the end."""
        size = self._left if size < 0 else min(size, self._left)
        data = os.pread(self._fd, size, self._offset)
        self._offset += len(data)
        self._left -= len(data)
        if self.sha256 is not None:
            self.sha256.update(data)
        self._progress(self.size - self._left)
        return data


class Loader:
    """Loads archives into the stores of one data root."""

    def __init__(self, temporary: str, layers: LayerStore, images: ImageStore, references: ReferenceStore) -> None:
        self._temporary = temporary
        self._layers = layers
        self._images = images
        self._references = references

    def load(self, stream: Readable, progress: Callable[[Progress], None] | None) -> tuple[Loaded, ...]:
        """As ImageArchive.load."""
        with self._layers.lease() as lease:
            with Spool(self._temporary) as spool:
                spool.fill(stream)
                planned = tuple(plan(spool))
                staged = self._stage(lease, spool, planned, progress or (lambda _: None))
            # The spool is gone: what was never to stay need not be written to the disk by the sync that now comes.
            for image in planned:
                self._commit(lease, image, staged)
            return self._create(planned)

    def _stage(
        self, lease: Lease, spool: Spool, planned: tuple[PlannedImage, ...], progress: Callable[[Progress], None]
    ) -> dict[str, Staged]:
        """Unpacks the layers that the store does not have; by chain id."""
        missing: dict[str, tuple[int, str, Blob]] = {}
        for image in planned:
            chain = ""
            for number, (diff_id, blob) in enumerate(zip(image.config.diff_ids, image.layers, strict=True)):
                chain = next_chain_id(chain, diff_id)
                if chain not in missing and not self._hold(lease, chain):
                    missing[chain] = (number, diff_id, blob)
        # Half of the work (hashing, files) is done without the interpreter's lock, so a second thread pays.
        with ThreadPoolExecutor(_THREADS, "load") as pool:
            waiting = {
                chain: pool.submit(_stage_one, lease, spool, blob, number, diff_id, progress)
                for chain, (number, diff_id, blob) in missing.items()
            }
            try:
                return {chain: one.result() for chain, one in waiting.items()}
            finally:
                pool.shutdown(cancel_futures=True)  # waits for those that run: the lease drops what they made

    def _hold(self, lease: Lease, chain: str) -> Layer | None:
        try:
            return lease.hold(chain)
        except NotFound:
            return None

    def _commit(self, lease: Lease, image: PlannedImage, staged: dict[str, Staged]) -> None:
        chain, parent = "", ""
        new: list[Staged] = []
        for diff_id in image.config.diff_ids:
            chain = next_chain_id(chain, diff_id)
            one = staged.pop(chain, None)
            if one is not None:
                new.append(one)
            elif not new:
                parent = chain
        if new:
            lease.commit(new, parent)

    def _create(self, planned: tuple[PlannedImage, ...]) -> tuple[Loaded, ...]:
        """Makes the images, then gives all their names in one step. Raises as ReferenceStore.tag; no image is left then."""
        made: list[str] = []
        try:
            ids = [self._make(image, made) for image in planned]
            names = [(reference, one) for one, image in zip(ids, planned, strict=True) for reference in image.references]
            before = self._references.tag_all(names)
        except BaseException:
            for one in made:
                self._images.remove(one)
            raise
        replaced = [(name, old) for name, old in zip(names, before, strict=True) if old not in ("", name[1])]
        return tuple(
            Loaded(
                image_id=one,
                references=image.references,
                replaced=tuple((reference, old) for (reference, meant), old in replaced if meant == one),
            )
            for one, image in zip(ids, planned, strict=True)
        )

    def _make(self, image: PlannedImage, made: list[str]) -> str:
        known = {one.id for one in self._images.list()}
        image_id = self._images.create(image.raw)
        if image_id not in known:
            made.append(image_id)
        return image_id


def _stage_one(lease: Lease, spool: Spool, blob: Blob, number: int, diff_id: str, progress: Callable[[Progress], None]) -> Staged:
    short = hex_of(diff_id)[:12]

    def told(current: int) -> None:
        progress(Progress(id=short, current_bytes=current, total_bytes=size))

    file = spool.open(blob.name, told, hashed=blob.digest not in ("", diff_id))
    size = file.size
    one = lease.stage(file)
    while file.read(CHUNK):
        pass
    if file.sha256 is not None and file.sha256.hexdigest() != hex_of(blob.digest):
        raise DataLoss(f'invalid archive: "{blob.name}" is not what its digest says')
    if one.diff_id != diff_id:
        raise DataLoss(f'invalid diffID for layer {number}: expected "{diff_id}", got "{one.diff_id}"')
    return one


# What the archive says, as plans; nothing is touched.


def plan(spool: Spool) -> Iterator[PlannedImage]:
    """The images of an archive. Raises InvalidArgument or DataLoss."""
    if spool.place("manifest.json") is not None:
        yield from _docker_archive(spool)
    elif spool.place("index.json") is not None:
        yield from _oci_layout(spool)
    else:
        raise InvalidArgument("invalid archive: does not contain a manifest.json")


def _docker_archive(spool: Spool) -> Iterator[PlannedImage]:
    manifest = _parse(spool, "manifest.json")
    if not isinstance(manifest, list):
        raise InvalidArgument("invalid archive: manifest.json is not a list")
    for one in manifest:
        if not isinstance(one, dict) or not isinstance(one.get("Config"), str):
            raise InvalidArgument("invalid archive: manifest.json has an image without a config")
        names, tags = one.get("Layers") or [], one.get("RepoTags") or []
        if not all(isinstance(name, str) for name in (*names, *tags)):
            raise InvalidArgument("invalid archive: manifest.json has names that are not text")
        raw = spool.json(one["Config"])
        yield _planned(raw, tuple(Blob(name=name) for name in names), tuple(_tag(tag) for tag in tags))


def _tag(text: str) -> Reference:
    reference = parse_name(text)
    if not reference.tag or reference.digest:
        raise InvalidArgument(f'invalid tag "{text}"')
    return reference


def _oci_layout(spool: Spool) -> Iterator[PlannedImage]:
    """Images by the manifest that they share, with all their names together."""
    found: dict[str, tuple[Descriptor, list[Reference]]] = {}
    for top in Index.from_json(spool.json("index.json")).manifests:
        for one in _manifests(spool, top, 0):
            names = found.setdefault(one.digest, (one, []))[1]
            names += [name for name in _names(top) if name not in names]
    if not found:
        raise InvalidArgument("invalid archive: index.json names no image for this platform")
    for one, references in found.values():
        manifest = Manifest.from_json(_blob(spool, one))
        layers = tuple(Blob(name=_path(layer), digest=layer.digest) for layer in manifest.layers)
        yield _planned(_blob(spool, manifest.config), layers, tuple(references))


def _manifests(spool: Spool, one: Descriptor, depth: int) -> Iterator[Descriptor]:
    if one.media_type not in INDEXES:
        if "vnd.docker.reference.type" not in one.annotations:  # not an attestation
            yield one
        return
    if depth > _MAX_NESTED:
        raise InvalidArgument("invalid archive: indexes are nested too deep")
    index = Index.from_json(_blob(spool, one))
    here = [entry for entry in index.manifests if spool.place(_path(entry)) is not None]
    yield from _manifests(spool, select(here, host_platform()), depth + 1)


def _names(one: Descriptor) -> list[Reference]:
    name = one.annotations.get("io.containerd.image.name", "")
    short = one.annotations.get("org.opencontainers.image.ref.name", "")
    if not name and (":" in short or "/" in short):
        name = short
    return [parse_reference(name)] if name else []


def _planned(raw: bytes, layers: tuple[Blob, ...], references: tuple[Reference, ...]) -> PlannedImage:
    config = ImageConfig.from_json(raw)
    if len(config.diff_ids) != len(layers):
        raise InvalidArgument(f"invalid manifest, layers length mismatch: expected {len(config.diff_ids)}, got {len(layers)}")
    return PlannedImage(raw=raw, config=config, layers=layers, references=references)


def _path(one: Descriptor) -> str:
    algorithm, _, name = one.digest.partition(":")
    return f"blobs/{algorithm}/{name}"


def _blob(spool: Spool, one: Descriptor) -> bytes:
    data = spool.json(_path(one))
    algorithm, _, expected = one.digest.partition(":")
    if hashlib.new(algorithm, data).hexdigest() != expected:
        raise DataLoss(f'invalid archive: "{_path(one)}" is not what its digest says')
    return data


def _parse(spool: Spool, name: str) -> Any:
    try:
        return json.loads(spool.json(name))
    except (ValueError, RecursionError) as err:
        raise InvalidArgument(f"invalid archive: {name}: {err}") from err
