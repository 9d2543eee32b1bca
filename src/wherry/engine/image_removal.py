"""Removing images: names first, then the image, then its layers, then parents that nobody needs; and pruning.

Docker's rules, in its words. Soft conflicts (a name in another repository, a stopped container) give way to `force`;
hard ones (a running container, an image built upon this one) never do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wherry.engine.records import NEVER, nanoseconds
from wherry.errors import Conflict, NotFound
from wherry.oci.reference import parse_reference

if TYPE_CHECKING:
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.filters import Filters
    from wherry.engine.images import Images
    from wherry.engine.pool import Pool
    from wherry.oci.reference import Reference
    from wherry.store.images import Image, ImageStore
    from wherry.store.layers import LayerStore
    from wherry.store.references import ReferenceStore

PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class Removed(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """One thing that is gone: a name, or an image or layer by its id."""

    untagged: str = ""
    deleted: str = ""


class _Obstacle(Exception):
    """Why an image stays. `used`: a container or a child needs it."""

    def __init__(self, image_id: str, message: str, *, hard: bool, used: bool) -> None:
        forcing = "cannot be forced" if hard else "must be forced"
        super().__init__(f"conflict: unable to delete {_short(image_id)} ({forcing}) - {message}")
        self.used = used


class ImageRemoval:
    """Removes images and names of one engine."""

    def __init__(self, *, pool: Pool, events: Events, containers: Containers, rooms: Images, images: ImageStore,
                 references: ReferenceStore, layers: LayerStore) -> None:
        self._pool = pool
        self._events = events
        self._containers = containers
        self._rooms = rooms
        self._images = images
        self._references = references
        self._layers = layers

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> list[Removed]:
        """Removes a name, or an image with its last name; what went, in order. `prune`: unneeded parents go too.

        Raises NotFound, and Conflict for an image in use.
        """
        async with self._rooms.name_lock:
            return await self._remove(name, force, prune)

    async def _remove(self, name: str, force: bool, prune: bool) -> list[Removed]:
        image = self._rooms.find(name)
        removed: list[Removed] = []
        names = self._references.of_image(image.id)
        by_name = not _is_id(image.id, name)
        try:
            if by_name:
                await self._remove_name(image, name, names, force, removed)
                if self._references.of_image(image.id):
                    return removed
            elif _is_single(names):
                self._check(image.id, soft=not force, names=False)
                for reference in names:
                    await self._untag(image.id, reference, removed)
            await self._remove_image(image.id, removed, force=force, prune=prune, quiet=by_name)
        except _Obstacle as obstacle:
            raise Conflict(str(obstacle)) from obstacle
        return removed

    async def _remove_name(self, image: Image, name: str, names: tuple[Reference, ...], force: bool,
                           removed: list[Removed]) -> None:
        """Forgets the name that was given, and the digests of a repository whose last tag it was."""
        if not force and _is_single(names):
            for container in self._containers.using_image(image.id):
                raise Conflict(f'conflict: unable to remove repository reference "{name}" (must force) - container '
                               f"{container.short_id} is using its referenced image {_short(image.id)}")
        given = parse_reference(name)
        await self._untag(image.id, given, removed)
        if given.digest:
            return
        rest = [one for one in self._references.of_image(image.id) if one.name == given.name]
        if all(one.digest for one in rest):
            for reference in rest:
                await self._untag(image.id, reference, removed)

    async def _untag(self, image_id: str, reference: Reference, removed: list[Removed]) -> None:
        await self._pool.run(self._references.untag, reference)
        removed.append(Removed(untagged=reference.familiar()))
        self._rooms.tell("untag", image_id, image_id)

    async def _remove_image(self, image_id: str, removed: list[Removed], *, force: bool, prune: bool, quiet: bool) -> None:
        while True:
            try:
                self._check(image_id, soft=not force, names=True)
            except _Obstacle as obstacle:
                # Who asked for a name to be removed got that; that the image stays is news only when it hangs around.
                if quiet and (self._references.of_image(image_id) or self._images.children(image_id) or obstacle.used):
                    return
                raise
            parent = self._images.get(image_id).parent
            for reference in self._references.of_image(image_id):
                await self._untag(image_id, reference, removed)
            layers = await self._pool.run_long(self._images.remove, image_id)
            self._events.publish("image", "delete", image_id, {"name": image_id})
            removed.append(Removed(deleted=image_id))
            removed += [Removed(deleted=layer.chain_id) for layer in layers]
            if not prune or not parent:
                return
            image_id, force, quiet = parent, False, True

    def _check(self, image_id: str, *, soft: bool, names: bool) -> None:
        if self._images.children(image_id):
            raise _Obstacle(image_id, "image has dependent child images", hard=True, used=False)
        users = self._containers.using_image(image_id)
        for container in users:
            if container.state.running:
                raise _Obstacle(image_id, f"image is being used by running container {container.short_id}",
                                hard=True, used=True)
        if not soft:
            return
        if names and self._references.of_image(image_id):
            raise _Obstacle(image_id, "image is referenced in multiple repositories", hard=False, used=False)
        for container in users:
            raise _Obstacle(image_id, f"image is being used by stopped container {container.short_id}",
                            hard=False, used=True)

    # -- pruning

    async def prune(self, filters: Filters) -> tuple[list[Removed], int]:
        """Removes images without a tag (`dangling=false`: without a container); what went, and the bytes won."""
        filters.check(PRUNE_FILTERS)
        dangling = filters.boolean("dangling", True)
        until = filters.until()
        sizes = {layer.chain_id: layer.size_bytes for layer in self._layers.list()}
        removed: list[Removed] = []
        for image in self._images.list():
            labels = (image.config.config or {}).get("Labels") or {}
            if ((until is not None and nanoseconds(image.config.created or NEVER) > until)
                    or not filters.labels_match(labels) or not filters.no_label_matches(labels)):
                continue
            names = self._references.of_image(image.id)
            if (dangling and any(not one.digest for one in names)) or (not names and self._images.children(image.id)):
                continue
            for name in [one.familiar() for one in names] or [image.id]:
                try:
                    removed += await self.remove(name)
                except (Conflict, NotFound):
                    continue  # in use, or gone with one that was removed before
        left = await self._pool.run_long(self._layers.collect_unclaimed)  # what pulls that failed keep for another attempt
        won = sum(sizes.get(one.deleted, 0) for one in removed) + sum(layer.size_bytes for layer in left)
        self._events.publish("image", "prune", "", {"reclaimed": str(won)})
        return removed, won


def _is_id(image_id: str, given: str) -> bool:
    """Whether what was given is an id or the beginning of one, not a name."""
    return image_id.startswith(given) or image_id.partition(":")[2].startswith(given)


def _is_single(names: tuple[Reference, ...]) -> bool:
    """Whether the names are at most one tag and digests of the same repository."""
    if len(names) <= 1:
        return True
    tags = [one for one in names if not one.digest]
    repositories = {one.name for one in names if one.digest}
    return len(tags) <= 1 and len(repositories) == 1 and (not tags or tags[0].name in repositories)


def _short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:12]


