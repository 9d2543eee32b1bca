"""An image of another form: OCI's media types instead of Docker's, layers without compression; the content is the same.

Only what changes is written anew; an image that comes out as it went in keeps its digest.
"""

from __future__ import annotations

import zlib

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.image import Descriptor, Index, Manifest
from wherry.oci.platform import matches
from wherry.record import Record
from wherry.transfer.holding import labels_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wherry.ctr.blobs import Blobs
    from wherry.oci.image import Platform

UNCOMPRESSED_LABEL = "containerd.io/uncompressed"
_OCI: Mapping[str, str] = {
    oci.DOCKER_INDEX: oci.OCI_INDEX, oci.DOCKER_MANIFEST: oci.OCI_MANIFEST, oci.DOCKER_CONFIG: oci.OCI_CONFIG,
    oci.DOCKER_LAYER: oci.OCI_LAYER, oci.DOCKER_LAYER_GZIP: oci.OCI_LAYER_GZIP, oci.DOCKER_LAYER_ZSTD: oci.OCI_LAYER_ZSTD,
}
_PLAIN: Mapping[str, str] = {oci.DOCKER_LAYER_GZIP: oci.DOCKER_LAYER, oci.OCI_LAYER_GZIP: oci.OCI_LAYER}


class Form(Record):
    """What the new image is to be like; no platform stands for all."""

    oci_types: bool = False
    uncompress: bool = False
    platform: Platform | None = None


def convert(blobs: Blobs, one: Descriptor, form: Form) -> Descriptor:
    """The descriptor of the converted content, which is in the store by then. Raises NotFound where content is missing."""
    if one.media_type in oci.INDEXES:
        return _index(blobs, one, form)
    if one.media_type in oci.MANIFESTS:
        return _manifest(blobs, one, form)
    kind = one.media_type
    if form.uncompress and kind in _PLAIN:
        one = _inflated(blobs, one).replace(media_type=_PLAIN[kind])
    return one.replace(media_type=_OCI.get(one.media_type, one.media_type)) if form.oci_types else one


def _index(blobs: Blobs, one: Descriptor, form: Form) -> Descriptor:
    index = Index.from_json(blobs.document(one))
    chosen = [entry for entry in index.manifests
              if form.platform is None or entry.platform is None or matches(form.platform, entry.platform)]
    if not chosen:
        raise errors.NotFound(f"no manifest of {one.digest} is for {form.platform}: not found")
    if form.platform is not None and len(chosen) == 1:
        return convert(blobs, chosen[0], form).replace(platform=None)
    entries = tuple(convert(blobs, entry, form) for entry in chosen)
    kind = _OCI.get(one.media_type, one.media_type) if form.oci_types else one.media_type
    changed = index.replace(manifests=entries, media_type=kind)
    return _stored(blobs, one, changed.to_json() if changed != index else b"", kind, entries)


def _manifest(blobs: Blobs, one: Descriptor, form: Form) -> Descriptor:
    manifest = Manifest.from_json(blobs.document(one))
    layers = tuple(convert(blobs, layer, form) for layer in manifest.layers)
    config = convert(blobs, manifest.config, form)
    kind = _OCI.get(one.media_type, one.media_type) if form.oci_types else one.media_type
    changed = manifest.replace(config=config, layers=layers, media_type=kind)
    return _stored(blobs, one, changed.to_json() if changed != manifest else b"", kind, (config, *layers))


def _stored(blobs: Blobs, one: Descriptor, data: bytes, kind: str, below: tuple[Descriptor, ...]) -> Descriptor:
    """Writes a changed document with the labels that hold what is below it; b"" stands for one that did not change."""
    if not data:
        return one
    made = oci.descriptor(data, kind, one.platform).replace(annotations=one.annotations)
    blobs.write(f"convert-{one.digest}-{made.digest}", (data,), size=made.size, digest=made.digest, labels=labels_of(made, below))
    return made


def _inflated(blobs: Blobs, layer: Descriptor) -> Descriptor:
    """The layer without compression; one that was made before is found by its label."""
    known = blobs.info(layer.digest).labels.get(UNCOMPRESSED_LABEL, "")
    if not known or not blobs.has(known):
        known = blobs.write(f"convert-uncompress-from-{layer.digest}", _inflate(blobs.chunks(layer.digest)),
                            labels={UNCOMPRESSED_LABEL: known} if known else None)
        blobs.set_labels(layer.digest, {UNCOMPRESSED_LABEL: known})
    return layer.replace(digest=known, size=int(blobs.info(known).size))


def _inflate(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """gzip, of one member or several."""
    inflater = zlib.decompressobj(wbits=31)
    for data in chunks:
        while data:
            if made := inflater.decompress(data):
                yield made
            data = inflater.unused_data
            if inflater.eof:
                inflater = zlib.decompressobj(wbits=31)
