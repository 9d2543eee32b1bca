"""`docker commit`: an image of what a container changed, with its configuration and changes to that."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from wherry.engine import gojson
from wherry.engine.merge import merged
from wherry.engine.records import timestamp
from wherry.errors import Conflict
from wherry.oci.digest import EMPTY_LAYER
from wherry.oci.image import History, ImageConfig
from wherry.oci.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wherry.engine.container import Container
    from wherry.engine.events import Events
    from wherry.engine.images import Images
    from wherry.engine.lifecycle import Lifecycle
    from wherry.engine.model import ContainerConfig
    from wherry.engine.pool import Pool
    from wherry.store.images import ImageStore
    from wherry.store.layers import LayerStore
    from wherry.store.mounts import ContainerLayers



class Committer:
    """Makes images of containers."""

    def __init__(self, *, pool: Pool, images: Images, image_store: ImageStore, layers: LayerStore, containers: ContainerLayers,
                 events: Events, lifecycle: Lifecycle, change: Callable[[dict[str, Any], tuple[str, ...]], dict[str, Any]],
                 clock_ns: Callable[[], int]) -> None:
        """`change(config, lines)` applies Dockerfile instructions to an image's section of defaults."""
        self._pool = pool
        self._images = images
        self._image_store = image_store
        self._layers = layers
        self._containers = containers
        self._events = events
        self._lifecycle = lifecycle
        self._change = change
        self._clock_ns = clock_ns

    async def commit(self, container: Container, *, repository: str = "", tag: str = "", author: str = "", comment: str = "",
                     pause: bool = True, config: ContainerConfig | None = None, changes: tuple[str, ...] = ()) -> str:
        """The new image's id. A running container stands still meanwhile if `pause`.

        Raises Conflict for a container that is being removed, InvalidArgument for a name or an instruction.
        """
        if container.state.status in ("removing", "dead"):
            raise Conflict(f"You cannot commit container {container.id} which is Dead" if container.state.dead
                           else f"You cannot commit container {container.id} which is being removed")
        reference = parse_reference(f"{repository}:{tag}" if tag else repository) if repository else None
        base = container.record.config
        section = gojson.plain(merged(config, base) if config is not None else base)
        section = self._change(section, changes)
        async with self._still(container, pause):
            image_id = await self._pool.run_long(self._commit, container, section, author, comment)
        if reference is not None:
            async with self._images.name_lock:
                await self._pool.run(self._images.set_name, reference, image_id)
        self._events.publish("container", "commit", container.id, container.attributes(
            comment=comment, imageID=image_id, imageRef=reference.familiar() if reference else ""))
        return image_id

    @asynccontextmanager
    async def _still(self, container: Container, pause: bool) -> AsyncIterator[None]:
        if not pause or container.state.status != "running":
            yield
            return
        try:
            await self._lifecycle.pause(container, lasting=False)
        except Conflict:
            pass  # it has ended meanwhile: it stands still
        try:
            yield
        finally:
            if container.state.paused:
                await self._lifecycle.unpause(container)

    def _commit(self, container: Container, section: dict[str, Any], author: str, comment: str) -> str:
        parent = self._image_store.get(container.record.image) if container.record.image else None
        before = parent.config if parent else None
        created = timestamp(self._clock_ns())
        with self._layers.lease() as lease, self._containers.open_diff(container.id) as stream:
            layer = lease.register(stream, before.chain_id if before else "")
            changed = layer.diff_id != EMPTY_LAYER  # as Docker: an image has no layer that changes nothing
            step = History(created=created, created_by=" ".join([container.record.path, *container.record.args]), author=author,
                           comment=comment, empty_layer=not changed)
            made = ImageConfig(
                architecture=before.architecture if before else _machine(), os="linux", variant=before.variant if before else "",
                diff_ids=(*(before.diff_ids if before else ()), *((layer.diff_id,) if changed else ())), created=created,
                author=author, config=section,
                history=(*(before.history if before else ()), step),
                unknown={"container": container.id, "container_config": gojson.plain(container.record.config),
                         "docker_version": ""})
            return self._image_store.create(made.to_json(), parent=container.record.image)


def _machine() -> str:
    from wherry.oci.platform import host_platform

    return host_platform().architecture


