"""Images in a tar file: `save`, `load` and `import`.

What is written can be read by Docker of any age (manifest.json), by old tools (repositories) and as an OCI layout:

    blobs/sha256/<hex>     configurations, manifests, and layers as plain tars: their digest is the diff id
    index.json             each image's manifest, once for each reference
    manifest.json          [{"Config": "blobs/…", "RepoTags": […], "Layers": ["blobs/…"]}]
    oci-layout             {"imageLayoutVersion": "1.0.0"}
    repositories           {"busybox": {"latest": "<hex>"}}

Reading one is the business of `imageload.py`.
"""

from __future__ import annotations

import json

from wherry.oci.digest import digest_of, hex_of
from wherry.oci.image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Descriptor, History, ImageConfig, Index, Manifest, descriptor
from wherry.store import tarheader
from wherry.store.imageload import Loader
from wherry.store.pack import END
from wherry.store.stream import ByteStream, gathered
from wherry.store.tarheader import Entry, write_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from typing import Any

    from wherry.oci.image import Platform
    from wherry.oci.reference import Reference
    from wherry.store.imageload import Loaded, Progress
    from wherry.store.images import Image, ImageStore
    from wherry.store.layers import LayerStore
    from wherry.store.references import ReferenceStore
    from wherry.store.stream import Readable


class ImageArchive:
    """Save, load and import over the stores of one data root."""

    def __init__(self, layers: LayerStore, images: ImageStore, references: ReferenceStore) -> None:
        self._layers = layers
        self._images = images
        self._references = references

    def save(self, images: Mapping[str, Sequence[Reference]]) -> ByteStream:
        """A tar of these images, that Docker of any age, podman and skopeo load; id → references to write with it, perhaps none.

        The layers are protected until the stream is closed. Raises NotFound for an unknown id, before the first byte.
        """
        chosen = [(self._images.get(image_id), tuple(references)) for image_id, references in images.items()]
        return ByteStream(self._save(chosen))

    def _save(self, chosen: list[tuple[Image, tuple[Reference, ...]]]) -> Generator[bytes, None, None]:
        small: dict[str, bytes] = {}
        tars: dict[str, str] = {}  # diff id → chain id
        entries: list[Descriptor] = []
        docker: list[dict[str, Any]] = []
        repositories: dict[str, dict[str, str]] = {}
        sizes: dict[str, int] = {}
        with self._layers.lease() as lease:
            for image, references in chosen:
                if image.config.chain_id:
                    lease.hold(image.config.chain_id)
                chain = self._layers.chain(image.config.chain_id)
                for layer in chain:
                    tars.setdefault(layer.diff_id, layer.chain_id)
                sizes |= {layer.diff_id: self._layers.tar_size(layer.chain_id) for layer in chain if layer.diff_id not in sizes}
                manifest = _manifest(image, [layer.diff_id for layer in chain], sizes)
                small |= {image.id: image.raw, digest_of(manifest): manifest}
                described = descriptor(manifest, OCI_MANIFEST, image.config.platform)
                entries += [described.replace(annotations=_annotations(one)) for one in references] or [described]
                tags = [one for one in references if one.tag]
                docker.append({
                    "Config": _blob(image.id), "RepoTags": [one.familiar() for one in tags] or None,
                    "Layers": [_blob(layer.diff_id) for layer in chain]})  # fmt: skip
                for one in tags:
                    if chain:
                        repositories.setdefault(one.familiar_name, {})[one.tag] = hex_of(chain[-1].diff_id)
            yield _folder("blobs/") + _folder("blobs/sha256/")
            for digest in sorted({*small, *tars}):
                if digest in small:
                    yield _member(_blob(digest), small[digest])
                else:
                    yield from self._layer(digest, tars[digest], sizes[digest])
            yield _member("index.json", Index(manifests=tuple(entries)).to_json())
            yield _member("manifest.json", _json(docker))
            yield _member("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
            yield _member("repositories", _json(repositories))
            yield END

    def _layer(self, diff_id: str, chain_id: str, size: int) -> Iterator[bytes]:
        yield write_header(Entry(name=_blob(diff_id), size=size))
        with self._layers.open_tar(chain_id) as tar:
            yield from gathered(tar)
        if end := tarheader.padding(size):
            yield bytes(end)

    def load(self, stream: Readable, progress: Callable[[Progress], None] | None = None) -> tuple[Loaded, ...]:
        """Takes in every image of a docker-archive or OCI layout (compressed or not); several threads tell `progress`.

        All of them are unpacked and checked before the first becomes an image. Raises InvalidArgument or DataLoss when the
        archive or something in it is not what it says, OSError when the disk is full; nothing is left then.
        """
        loader = Loader(self._layers.temporary, self._layers, self._images, self._references)
        return loader.load(stream, progress)

    def import_(
        self,
        stream: Readable,
        *,
        config: Mapping[str, Any] | None = None,
        platform: Platform,
        message: str = "",
        created: str,
    ) -> str:
        """Makes an image of one layer from a tar (compressed or not); its id.

        `config` is the image's section of defaults; `created` RFC 3339. Raises as Lease.register does.
        """
        with self._layers.lease() as lease:
            layer = lease.register(stream)
            image = ImageConfig(
                architecture=platform.architecture, os=platform.os, variant=platform.variant, created=created,
                config=config if config is not None else {}, diff_ids=(layer.diff_id,),
                history=(History(created=created, comment=message),), unknown={"comment": message} if message else {},
            )  # fmt: skip
            return self._images.create(image.to_json())


def _manifest(image: Image, diff_ids: list[str], sizes: Mapping[str, int]) -> bytes:
    layers = tuple(Descriptor(media_type=OCI_LAYER, digest=one, size=sizes[one]) for one in diff_ids)
    return Manifest(media_type=OCI_MANIFEST, config=descriptor(image.raw, OCI_CONFIG), layers=layers).to_json()


def _annotations(reference: Reference) -> dict[str, str]:
    name = {"io.containerd.image.name": reference.canonical()}
    return {**name, "org.opencontainers.image.ref.name": reference.tag} if reference.tag else name


def _blob(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _folder(name: str) -> bytes:
    return write_header(Entry(name=name, kind=tarheader.FOLDER, mode=0o755))


def _member(name: str, data: bytes) -> bytes:
    return write_header(Entry(name=name, size=len(data))) + data + bytes(tarheader.padding(len(data)))
