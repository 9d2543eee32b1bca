"""Removing containers: their layer, their folder, their volumes without a name; `rm`, `--rm`, `container prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import mounts, states
from wherry.engine.container import Ended
from wherry.errors import Conflict, Internal, NotFound, WherryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine.afterwards import Afterwards
    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.filters import Filters
    from wherry.engine.lifecycle import Lifecycle
    from wherry.engine.pool import Pool
    from wherry.engine.records import Records
    from wherry.engine.volumes import Volumes
    from wherry.store.mounts import ContainerLayers

PRUNE_FILTERS = ("label", "label!", "until")


class Removal:
    """Removes containers."""

    def __init__(self, *, pool: Pool, records: Records, layers: ContainerLayers, volumes: Volumes, containers: Containers,
                 events: Events, afterwards: Afterwards, forget: Callable[[str], None]) -> None:
        """`forget(id)` is called for each container that is gone."""
        self._pool = pool
        self._records = records
        self._layers = layers
        self._volumes = volumes
        self._containers = containers
        self._events = events
        self._afterwards = afterwards
        self._forget = forget

    async def remove(self, container: Container, lifecycle: Lifecycle, *, force: bool = False, volumes: bool = False) -> None:
        """Removes a container; one that runs only by `force`. `volumes`: its anonymous ones go too.

        Raises Conflict when it runs or is being removed already, NotFound when it is gone meanwhile.
        """
        if container.state.status == "removing":
            raise states.refusal(container.id, "removing", "remove")
        while True:
            if force and container.state.running:
                await _end(container, lifecycle)
            else:
                states.check(container.id, container.state, "remove")
            async with container.lock:
                if self._containers.get(container.id) is not container:
                    if force:
                        return  # it went by itself (--rm)
                    raise NotFound(f"No such container: {container.id}")
                if not (force and container.state.running):
                    await self.remove_locked(container, volumes=volumes)
                    return
                # Its policy has started it again between the end and the lock.

    async def remove_locked(self, container: Container, *, volumes: bool = True) -> None:
        """Removes a container that does not run, whose lock is held."""
        state = states.move(container.id, container.state, "remove")
        before, container.record = container.record, replace(container.record, state=state)
        try:
            await self._pool.run(self._erase, container.id)
        except (OSError, WherryError) as error:
            dead = states.move(container.id, container.state, "remove_failed", error=str(error))
            container.record = replace(before, state=dead)
            raise Internal(f"unable to remove filesystem for {container.id}: {error}") from error
        self._afterwards.later(lambda: self._sweep(container.id))
        self._containers.remove(container)
        self._forget(container.id)
        await self._remove_volumes(container, anonymous=volumes)
        self._events.publish("container", "destroy", container.id, container.attributes())
        container.release_held()
        container.tell_exited(Ended(container.state.exit_code))
        container.tell_removed(Ended(container.state.exit_code))

    async def prune(self, filters: Filters) -> tuple[list[str], int]:
        """Removes all that do not run; their ids and the bytes won. Raises InvalidArgument for filters it does not know."""
        filters.check(PRUNE_FILTERS)
        until = filters.until()
        removed, won = [], 0
        for container in self._containers:
            labels = container.record.config.labels or {}
            if (container.state.running or not filters.labels_match(labels) or not filters.no_label_matches(labels)
                    or (until is not None and container.created_ns > until)):
                continue
            try:
                size, _ = await self._pool.run(self._layers.size, container.id)
                async with container.lock:
                    if self._containers.get(container.id) is not container:
                        continue
                    states.check(container.id, container.state, "remove")
                    await self.remove_locked(container, volumes=False)
            except WherryError:
                continue  # it was started or removed meanwhile, or cannot be: the others still can
            removed.append(container.id)
            won += size
        self._events.publish("container", "prune", "", {"reclaimed": str(won)})
        return removed, won

    def _erase(self, container_id: str) -> None:
        """The layer first: what is left of a container without a layer can still be removed, by its record.

        Both only lose their place; the disk is emptied later, or by the next start of the engine.
        """
        try:
            self._layers.remove(container_id, later=True)
        except NotFound:
            pass  # an earlier attempt came this far
        self._records.unlink(container_id)

    async def _sweep(self, container_id: str) -> None:
        await self._pool.run(self._records.remove, container_id)
        await self._pool.run_long(self._layers.sweep)

    async def _remove_volumes(self, container: Container, *, anonymous: bool) -> None:
        for mount in (container.record.mount_points or {}).values():
            if anonymous and mounts.is_anonymous(mount):
                try:
                    await self._volumes.remove(mount.name, force=True)
                except Conflict:
                    continue  # another container has it by --volumes-from


async def _end(container: Container, lifecycle: Lifecycle) -> None:
    try:
        await lifecycle.kill(container)
    except (Conflict, NotFound):
        pass  # it ended by itself
