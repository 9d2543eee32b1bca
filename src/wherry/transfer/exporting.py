"""Writing images to an archive: an OCI layout, with docker's manifest.json beside for one platform's images."""

from __future__ import annotations

import io
import json
import tarfile

from wherry import errors
from wherry.oci.image import Descriptor, Index, Manifest
from wherry.oci.reference import InvalidReference, parse_reference
from wherry.record import Record
from wherry.transfer import manifests, names
from wherry.transfer.content import ChunkFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO, Any

    from wherry.oci.image import Platform
    from wherry.transfer.content import Content

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Choice(Record):
    """What of the images goes into the archive; no platform stands for all."""

    platform: Platform
    all_platforms: bool = False
    docker_manifest: bool = True
    non_distributable: bool = True


def write_archive(blobs: Content, file: IO[bytes], images: Sequence[tuple[str, Descriptor]], choice: Choice) -> None:
    """Writes it in order of the files' names. Raises NotFound where content is missing; nothing is written then."""
    content: dict[str, Descriptor] = {}
    for _, target in images:
        content |= {one.digest: one for one in _parts(blobs, target, choice)}
    for one in content.values():
        blobs.info(one.digest)
    entries = tuple(target.replace(annotations=dict(sorted({**target.annotations, **names.as_annotations(name)}.items())))
                    for name, target in images)
    documents = {"index.json": (manifests.index_json(Index(manifests=entries)), 0o644), "oci-layout": (LAYOUT, 0o444)}
    if choice.docker_manifest and (listed := _docker(blobs, images, choice)):
        documents["manifest.json"] = (json.dumps(listed, separators=(",", ":")).encode(), 0o644)
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        algorithms = sorted({digest.partition(":")[0] for digest in content})
        for folder in ("blobs/", *(f"blobs/{one}/" for one in algorithms)):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        for digest in sorted(content):
            info = _entry(_path(digest), tarfile.REGTYPE, 0o444)
            info.size = content[digest].size
            tar.addfile(info, ChunkFile(blobs.chunks(digest)))  # type: ignore[arg-type]  # read() is all that is called
        for name in sorted(documents):
            data, mode = documents[name]
            info = _entry(name, tarfile.REGTYPE, mode)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def _parts(blobs: Content, target: Descriptor, choice: Choice) -> Iterator[Descriptor]:
    """All content of an image that is chosen."""
    wanted = None if choice.all_platforms else choice.platform
    for one in manifests.walk(blobs.document, target, wanted=wanted):
        if choice.non_distributable or manifests.is_distributable(one):
            yield one


def _docker(blobs: Content, images: Sequence[tuple[str, Descriptor]], choice: Choice) -> list[Mapping[str, Any]]:
    """manifest.json: each image of the platform once, with its names."""
    tags: dict[str, list[str]] = {}
    found: dict[str, Manifest] = {}
    for name, target in images:
        try:
            one = manifests.find(blobs.document, target, choice.platform)
        except errors.NotFound:
            continue  # it has none for this platform
        found[one.descriptor.digest] = one.manifest
        tags.setdefault(one.descriptor.digest, []).append(_familiar(name))
    return [{"Config": _path(manifest.config.digest), "RepoTags": [tag for tag in tags[digest] if tag],
             "Layers": [_path(layer.digest) for layer in manifest.layers]} for digest, manifest in found.items()]


def _familiar(name: str) -> str:
    try:
        reference = parse_reference(name)
    except InvalidReference:
        return ""
    return "" if reference.digest else reference.with_default_tag().familiar()
