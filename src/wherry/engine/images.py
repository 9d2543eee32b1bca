"""The images as users see them: found by any of their names, listed, inspected, with their history; given names.

Removing is `image_removal.py`, coming and going (pull, push, load, save, import) `image_transfer.py`. Looking up is cheap (the
stores keep what they need in memory) and done in the event loop; what writes goes through the pool.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.engine import gojson
from wherry.engine.match import path_match
from wherry.engine.model import ContainerConfig
from wherry.engine.moments import parse_moment
from wherry.engine.records import NEVER, nanoseconds, timestamp
from wherry.errors import InvalidArgument, NotFound
from wherry.oci.digest import is_hex_id, parse_digest
from wherry.oci.platform import matches as platform_matches
from wherry.oci.reference import parse_name, parse_reference

if TYPE_CHECKING:
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.filters import Filters
    from wherry.engine.pool import Pool
    from wherry.oci.image import Platform
    from wherry.oci.reference import Reference
    from wherry.store.images import Image, ImageStore
    from wherry.store.layers import Layer, LayerStore
    from wherry.store.references import ReferenceStore

LIST_FILTERS = ("before", "dangling", "label", "reference", "since", "until")


class ImageRow(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a list. Sizes in bytes, -1: not counted; `created` in seconds."""

    id: str
    parent: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    created: int
    size: int
    shared_size: int
    containers: int
    labels: dict[str, str] | None


class HistoryRow(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """A step in an image's making. `id` is `<missing>` where the image of that step is not here."""

    id: str
    created: int
    created_by: str
    tags: list[str] | None
    size: int
    comment: str


class Images:
    """The images of one engine."""

    def __init__(self, *, pool: Pool, events: Events, containers: Containers, images: ImageStore,
                 references: ReferenceStore, layers: LayerStore) -> None:
        self._pool = pool
        self._events = events
        self._containers = containers
        self._images = images
        self._references = references
        self._layers = layers
        self.name_lock = asyncio.Lock()
        """Held while names change, so that a removal sees the names that it decided upon."""

    # -- looking up

    def find(self, name: str, platform: Platform | None = None) -> Image:
        """An image by reference, digest, id or short id. Raises NotFound `No such image: x:latest`, InvalidArgument.

        With a platform, an image for another one is not found.
        """
        image = self._images.get(self._find_id(name))
        if platform is not None and not platform_matches(platform, image.config.platform):
            raise NotFound(f"image with reference {name} was found but does not match the specified platform: "
                           f"wanted {platform}, actual: {image.config.platform}")
        return image

    def _find_id(self, name: str) -> str:
        if is_hex_id(name) or name.startswith("sha256:"):
            digest = parse_digest(name) if ":" in name and len(name) == 71 else f"sha256:{name.removeprefix('sha256:')}"
            return self._by_prefix(digest, digest if len(digest) == 71 else name)
        reference = parse_reference(name)
        try:
            return self._references.lookup(reference)
        except NotFound:
            return self._by_prefix(name, reference.familiar())

    def _by_prefix(self, prefix: str, shown: str) -> str:
        try:
            return self._images.search(prefix)
        except (NotFound, InvalidArgument) as error:
            raise NotFound(f"No such image: {shown}") from error

    def container_config(self, image: Image) -> ContainerConfig:
        """The image's defaults for containers."""
        return gojson.convert(dict(image.config.config or {}), ContainerConfig)

    def descendants(self, name: str) -> frozenset[str]:
        """The ids of an image and of all those built upon it (by parent or by layers), none for an unknown one."""
        try:
            ancestor = self.find(name)
        except (NotFound, InvalidArgument):
            return frozenset()
        layers = ancestor.config.diff_ids
        return frozenset(image.id for image in self._images.list()
                         if image.id == ancestor.id or (layers and image.config.diff_ids[:len(layers)] == layers
                                                        and len(image.config.diff_ids) > len(layers)))

    def tags(self, image_id: str) -> tuple[str, ...]:
        """The tagged names of an image, as people write them."""
        return tuple(one.familiar() for one in self._references.of_image(image_id) if not one.digest)

    def digests(self, image_id: str) -> tuple[str, ...]:
        """The digested names of an image."""
        return tuple(one.familiar() for one in self._references.of_image(image_id) if one.digest)

    # -- lists

    async def rows(self, filters: Filters, *, show_all: bool = False, shared_size: bool = False,
                   count_containers: bool = False) -> list[ImageRow]:
        """What `docker images` shows, newest first. Raises InvalidArgument and NotFound for filters that make no sense."""
        filters.check(LIST_FILTERS)
        dangling = filters.boolean("dangling", False) if "dangling" in filters else None
        before, since = self._moment(filters, "before"), self._moment(filters, "since")
        until = min((parse_moment(text) for text in filters.values("until")), default=None)
        rows = []
        for image in self._images.list():
            created = nanoseconds(image.config.created or NEVER)
            if ((before is not None and created >= before) or (since is not None and created <= since)
                    or (until is not None and created > until)):
                continue
            config = self._labels(image)
            if not filters.labels_match(config or {}):
                continue
            names = [one for one in self._references.of_image(image.id) if _name_matches(one, filters)]
            tagged = any(not one.digest for one in names)
            if not names and ("reference" in filters or not (show_all or not self._images.children(image.id))):
                continue
            if dangling is not None and dangling == tagged:
                continue
            rows.append(ImageRow(
                id=image.id, parent=image.parent, created=created // 1_000_000_000, labels=config,
                tags=tuple(one.familiar() for one in names if not one.digest),
                digests=tuple(one.familiar() for one in names if one.digest),
                size=self._images.size(image.id), shared_size=-1,
                containers=len(self._containers.using_image(image.id)) if count_containers else -1))
        if shared_size:
            shared = await self._pool.run(self._shared_sizes)
            rows = [msgspec.structs.replace(row, shared_size=shared.get(row.id, 0)) for row in rows]
        return rows

    def _labels(self, image: Image) -> dict[str, str] | None:
        return (image.config.config or {}).get("Labels")

    def _moment(self, filters: Filters, name: str) -> int | None:
        given = [nanoseconds(self.find(value).config.created or NEVER) for value in filters.values(name)]
        return (max(given) if name == "since" else min(given)) if given else None

    def _shared_sizes(self) -> dict[str, int]:
        """For each image, the bytes of those of its layers that another image has too."""
        users: dict[str, int] = {}
        chains = {image.id: self._layers.chain(image.config.chain_id) for image in self._images.list()}
        for chain in chains.values():
            for layer in chain:
                users[layer.chain_id] = users.get(layer.chain_id, 0) + 1
        return {image_id: sum(layer.size_bytes for layer in chain if users[layer.chain_id] > 1)
                for image_id, chain in chains.items()}

    def layers_size(self) -> int:
        """Bytes of all layers of images, each counted once."""
        return sum(layer.size_bytes for layer in self._layers.list())

    # -- one image

    def layers(self, image: Image) -> tuple[Layer, ...]:
        """Its layers, lowest first."""
        return self._layers.chain(image.config.chain_id)

    def size(self, image: Image) -> int:
        """Bytes in the files of all its layers."""
        return self._images.size(image.id)

    def history(self, name: str) -> list[HistoryRow]:
        """The steps of an image's making, newest first."""
        image = self.find(name)
        layers = iter(self.layers(image))
        rows = []
        for step in image.config.history:
            size = 0
            if not step.empty_layer:
                layer = next(layers, None)
                if layer is None:
                    raise InvalidArgument("too many non-empty layers in History section")
                size = layer.size_bytes
            rows.append(HistoryRow(id="<missing>", created=nanoseconds(step.created or NEVER) // 1_000_000_000,
                                   created_by=step.created_by, tags=None, size=size, comment=step.comment))
        rows.reverse()
        ancestor: Image | None = image
        for position, row in enumerate(rows):
            if ancestor is None:
                break
            rows[position] = msgspec.structs.replace(row, id=ancestor.id, tags=list(self.tags(ancestor.id)) or None)
            ancestor = self._images.get(ancestor.parent) if ancestor.parent else None
        return rows

    async def tag(self, name: str, repository: str, tag: str) -> Reference:
        """Gives an image a further name. Raises NotFound, InvalidArgument."""
        image = self.find(name)
        reference = parse_name(repository)
        if reference.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        reference = reference.with_tag(tag) if tag else reference.with_default_tag()
        async with self.name_lock:
            await self._pool.run(self.set_name, reference, image.id)
        self.tell("tag", image.id, reference.familiar())
        return reference

    def set_name(self, reference: Reference, image_id: str) -> None:
        """Writes a name and the time of it; in a worker thread."""
        self._references.tag(reference, image_id)
        self._images.set_last_tagged(image_id, time.time_ns())

    def tell(self, action: str, image_id: str, name: str) -> None:
        """Publishes an event of an image, with its labels while it exists."""
        try:
            labels = self._labels(self._images.get(image_id)) or {}
        except NotFound:
            labels = {}
        self._events.publish("image", action, image_id, {**labels, "name": name})

    def as_json(self, image: Image, root: str) -> dict[str, Any]:
        """An image as `GET /images/{name}/json` answers in the newest version; `root` is the data root's path."""
        config = image.config
        comment = str(config.unknown.get("comment") or "")
        if not comment and config.history:
            comment = config.history[-1].comment
        made_by = config.unknown.get("container_config")
        shown: dict[str, Any] = {
            "Id": image.id,
            "RepoTags": list(self.tags(image.id)),
            "RepoDigests": list(self.digests(image.id)),
            "Parent": image.parent,
            "Comment": comment,
            "Created": config.created or NEVER,
            "DockerVersion": config.unknown.get("docker_version") or "",
            "Author": config.author,
            "Config": gojson.plain(self.container_config(image)),
            "Container": config.unknown.get("container") or "",
            "ContainerConfig": gojson.plain(gojson.convert(made_by if isinstance(made_by, dict) else {}, ContainerConfig)),
            "Architecture": config.architecture,
            "Os": config.os or "linux",
            "Size": self.size(image),
            "GraphDriver": {"Data": _graph_data(self.layers(image), root), "Name": "overlay2"},
            "RootFS": {"Type": "layers", **({"Layers": list(config.diff_ids)} if config.diff_ids else {})},
            "Metadata": {"LastTagTime": timestamp(image.last_tagged_ns) if image.last_tagged_ns else NEVER},
        }
        if config.variant:
            shown["Variant"] = config.variant
        if config.os_version:
            shown["OsVersion"] = config.os_version
        return shown


def _name_matches(reference: Reference, filters: Filters) -> bool:
    patterns = filters.values("reference")
    return not patterns or any(path_match(pattern, reference.familiar()) or path_match(pattern, reference.familiar_name)
                               for pattern in patterns)


def _graph_data(layers: tuple[Layer, ...], root: str) -> dict[str, str] | None:
    if not layers:
        return None
    folders = [f"{root}/overlay2/{layer.cache_id}" for layer in reversed(layers)]
    data = {"LowerDir": ":".join(f"{folder}/diff" for folder in folders[1:])} if len(folders) > 1 else {}
    return {**data, "MergedDir": f"{folders[0]}/merged", "UpperDir": f"{folders[0]}/diff", "WorkDir": f"{folders[0]}/work"}
