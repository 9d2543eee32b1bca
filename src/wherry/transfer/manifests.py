"""From an image's name to its parts: the walk over indexes, manifests and configurations in the content store."""

from __future__ import annotations

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.image import Descriptor, ImageConfig, Index, Manifest, Platform
from wherry.oci.platform import host_platform, matches, normalize, select
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Read = Callable[[Descriptor], bytes]

# Deeper than any index of indexes that is meant well.
DEPTH = 8


class Found(Record):
    """One image for one platform: its manifest with the descriptor that led there."""

    descriptor: Descriptor
    manifest: Manifest


def from_message(message: Any) -> Descriptor:
    """A descriptor as the API sends it."""
    return Descriptor(media_type=message.media_type, digest=message.digest, size=message.size,
                      annotations=dict(message.annotations))


def to_message(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as the API takes it."""
    return {"media_type": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size,
            "annotations": dict(descriptor.annotations)}


def index_json(index: Index) -> bytes:
    """An index as containerd writes it: without its own media type."""
    import json

    fields = json.loads(index.to_json())
    fields.pop("mediaType")
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def children(read: Read, descriptor: Descriptor) -> tuple[Descriptor, ...]:
    """What a descriptor's content points to: an index's manifests, a manifest's configuration and layers."""
    if descriptor.media_type in oci.INDEXES:
        return Index.from_json(read(descriptor)).manifests
    if descriptor.media_type in oci.MANIFESTS:
        manifest = Manifest.from_json(read(descriptor))
        return (manifest.config, *manifest.layers)
    return ()


def find(read: Read, target: Descriptor, platform: Platform | None = None) -> Found:
    """The manifest for a platform (this machine's). Raises NotFound where the image has none, or it is not here."""
    wanted = platform or host_platform()
    best = None
    for descriptor in _manifests(read, target, wanted, DEPTH):
        manifest = Manifest.from_json(read(descriptor))
        if descriptor.platform is None and descriptor.digest != target.digest and not _suits(read, manifest, wanted):
            continue
        best = Found(descriptor=descriptor, manifest=manifest)
        break
    if best is None:
        raise errors.NotFound(f"no match for platform in manifest {target.digest}: not found")
    return best


def _manifests(read: Read, target: Descriptor, wanted: Platform, depth: int) -> Iterator[Descriptor]:
    """The manifests that may suit, best first."""
    if target.media_type in oci.MANIFESTS:
        yield target
    elif target.media_type in oci.INDEXES and depth:
        entries = Index.from_json(read(target)).manifests
        try:
            yield from _manifests(read, select(entries, wanted), wanted, depth - 1)
        except errors.NotFound:
            pass
        for entry in entries:
            if entry.platform is None:
                yield from _manifests(read, entry, wanted, depth - 1)
    else:
        raise errors.NotFound(f"unexpected media type {target.media_type} for {target.digest}: not found")


def _suits(read: Read, manifest: Manifest, wanted: Platform) -> bool:
    return matches(wanted, ImageConfig.from_json(read(manifest.config)).platform)


def platforms(read: Read, target: Descriptor) -> tuple[str, ...]:
    """The platforms that an image is for, each once, in order. What is not here is passed over."""
    found = set()
    for descriptor in walk(read, target, skip_missing=True):
        platform = descriptor.platform
        if platform is not None:
            found.add(str(normalize(platform)))
        elif descriptor.media_type in oci.MANIFESTS:
            try:
                platform = ImageConfig.from_json(read(Manifest.from_json(read(descriptor)).config)).platform
            except errors.NotFound:
                continue
            found.add(str(normalize(platform)))
    return tuple(sorted(found))


def walk(read: Read, target: Descriptor, *, wanted: Platform | None = None, skip_missing: bool = False,
         fetch: Callable[[Descriptor], None] | None = None) -> Iterator[Descriptor]:
    """A descriptor and all below it, parents first; with `wanted` only what is for that platform.

    `fetch` is called for each before it is read. `skip_missing` passes over what is not here, otherwise NotFound is raised.
    """
    seen: set[str] = set()
    queue = [target]
    while queue:
        descriptor = queue.pop(0)
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        if fetch is not None:
            fetch(descriptor)
        yield descriptor
        try:
            below = children(read, descriptor)
        except errors.NotFound:
            if not skip_missing:
                raise
            continue
        queue += [one for one in below if wanted is None or one.platform is None or matches(wanted, one.platform)]


def is_distributable(one: Descriptor) -> bool:
    """Whether a registry may have it: layers of some vendors stay where their manifests say."""
    return not any(word in one.media_type for word in ("nondistributable", "foreign"))


def size(read: Read, target: Descriptor, platform: Platform | None = None) -> int:
    """The bytes of all that one platform's image needs, index and manifest with it."""
    wanted = platform or host_platform()
    chosen: tuple[Descriptor, ...]
    if target.media_type in oci.INDEXES and not _has_manifests(read, target):
        chosen = tuple(walk(read, target, wanted=wanted))  # no image, but something that is kept as one: a checkpoint
    else:
        found = find(read, target, wanted)
        chosen = (target, found.descriptor, found.manifest.config, *found.manifest.layers)
    return sum({one.digest: one.size for one in chosen}.values())


def _has_manifests(read: Read, target: Descriptor) -> bool:
    return any(one.media_type in oci.MANIFESTS | oci.INDEXES for one in Index.from_json(read(target)).manifests)


def config(read: Read, target: Descriptor, platform: Platform | None = None) -> ImageConfig:
    """The image's configuration for a platform."""
    return ImageConfig.from_json(read(find(read, target, platform).manifest.config))
