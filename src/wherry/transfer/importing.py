"""Reading an archive of images into the content store: OCI layouts, and what `docker save` writes.

The archive comes as a stream: each file is written to the store as it passes, and what the files are is known only at the end,
from index.json or manifest.json. A lease of the caller's holds them until images do.
"""

from __future__ import annotations

import json
import posixpath
import tarfile

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.image import Descriptor, ImageConfig, Index, Manifest
from wherry.oci.reference import parse_reference
from wherry.record import Record
from wherry.transfer import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO, Any

    from wherry.transfer.content import Content

CHUNK = 1 << 20
DOCUMENT_BYTES = 20 << 20
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
UNCOMPRESSED_LABEL = "containerd.io/uncompressed"


class _Files(Record):
    """What an archive had: blobs by path, links by path, documents by name."""

    blobs: Mapping[str, Descriptor]
    links: Mapping[str, str]
    documents: Mapping[str, bytes]


def read_archive(blobs: Content, file: IO[bytes], *, compress: bool) -> Descriptor:
    """Stores all that is in the archive; the index of its images. Raises InvalidArgument for what is no such archive."""
    files = _read(blobs, file)
    if "oci-layout" in files.documents:
        if "index.json" not in files.documents:
            raise errors.InvalidArgument("missing index.json in OCI layout v1")
        return _store(blobs, "index", files.documents["index.json"], oci.OCI_INDEX)
    if "manifest.json" not in files.documents:
        raise errors.InvalidArgument("unrecognized image format")
    return _docker(blobs, files, compress=compress)


def _read(blobs: Content, file: IO[bytes]) -> _Files:
    found: dict[str, Descriptor] = {}
    links: dict[str, str] = {}
    documents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=file, mode="r|*", bufsize=CHUNK) as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                if member.issym() or member.islnk():
                    base = posixpath.dirname(name) if member.issym() else ""
                    links[name] = posixpath.normpath(posixpath.join(base, member.linkname))
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    continue
                if name in ("oci-layout", "index.json", "manifest.json", "repositories"):
                    documents[name] = content.read(DOCUMENT_BYTES)
                    continue
                digest = blobs.write(f"tar-{name}", _chunks(content), size=member.size)
                found[name] = Descriptor(media_type="", digest=digest, size=member.size)
    except (tarfile.TarError, EOFError) as problem:
        raise errors.InvalidArgument("unexpected EOF") from problem
    return _Files(blobs=found, links=links, documents=documents)


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while data := content.read(CHUNK):
        yield data


def _store(blobs: Content, reference: str, data: bytes, kind: str) -> Descriptor:
    descriptor = oci.descriptor(data, kind)
    blobs.write(f"{reference}-{descriptor.digest}", (data,), size=len(data), digest=descriptor.digest)
    return descriptor


def _docker(blobs: Content, files: _Files, *, compress: bool) -> Descriptor:
    """Makes manifests and an index of what `docker save` wrote."""
    try:
        listed = [(one["Config"], one.get("RepoTags") or [], one.get("Layers") or [])
                  for one in json.loads(files.documents["manifest.json"])]
    except (ValueError, LookupError, TypeError) as problem:
        raise errors.InvalidArgument(f"untar manifest \"manifest.json\": {problem}") from problem
    entries: list[Descriptor] = []
    for config_path, tags, layer_paths in listed:
        config = _found(files, config_path).replace(media_type=oci.DOCKER_CONFIG)
        settings = ImageConfig.from_json(blobs.document(config))
        layers = tuple(_layer(blobs, _found(files, path), compress=compress) for path in layer_paths)
        manifest = Manifest(media_type=oci.DOCKER_MANIFEST, config=config, layers=layers)
        stored = _store(blobs, "manifest", manifest.to_json(), oci.DOCKER_MANIFEST).replace(platform=settings.platform)
        entries += [stored.replace(annotations=names.as_annotations(parse_reference(tag).with_default_tag().canonical()))
                    for tag in tags] or [stored]
    return _store(blobs, "index", Index(manifests=tuple(entries)).to_json(), oci.OCI_INDEX)


def _found(files: _Files, path: str) -> Descriptor:
    name = posixpath.normpath(path)
    for _ in range(8):  # links to links
        if name in files.blobs:
            return files.blobs[name]
        name = files.links.get(name, "")
    raise errors.InvalidArgument(f'image content "{path}" not found')


def _layer(blobs: Content, blob: Descriptor, *, compress: bool) -> Descriptor:
    """The descriptor of a layer by what its bytes begin with; compressed where that is asked for and it is not."""
    start = next(blobs.chunks(blob.digest), b"")
    if start.startswith(GZIP_MAGIC):
        return blob.replace(media_type=oci.DOCKER_LAYER_GZIP)
    if start.startswith(ZSTD_MAGIC):
        return blob.replace(media_type=oci.DOCKER_LAYER_ZSTD)
    if not compress:
        return blob.replace(media_type=oci.DOCKER_LAYER)
    digest = blobs.write(f"compress-blob-{blob.digest}", _compressed(blobs.chunks(blob.digest)),
                         labels={UNCOMPRESSED_LABEL: blob.digest})
    return Descriptor(media_type=oci.DOCKER_LAYER_GZIP, digest=digest, size=int(blobs.info(digest).size))


def _compressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zlib

    compressor = zlib.compressobj(wbits=31)
    for data in chunks:
        if made := compressor.compress(data):
            yield made
    yield compressor.flush()


class Named(Record):
    """An image of an archive under one name."""

    name: str
    target: Descriptor


def named_images(entries: Sequence[Descriptor], base: str, **choice: Any) -> list[Named]:
    """The images to make. `choice`: `only_base`, `digests` (names by digest too), `skip_named` (not for those with a name)."""
    found = []
    for entry in entries:
        name = names.of_annotations(entry.annotations, base, only_base=choice["only_base"])
        if name:
            found.append(Named(name=name, target=entry))
        if choice["digests"] and not (name and choice["skip_named"]):
            found.append(Named(name=f"{base}@{entry.digest}", target=entry))
    return found
