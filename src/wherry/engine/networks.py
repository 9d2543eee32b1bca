"""Networks as users manage them: created, listed, inspected, removed, pruned. The network room does the work.

Joining and leaving a network concern a container, and are done by `connections.py` under its lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.engine.records import nanoseconds
from wherry.errors import Forbidden, InvalidArgument, WherryError
from wherry.network.inspect import network_resource

if TYPE_CHECKING:
    from wherry.engine.events import Events
    from wherry.engine.filters import Filters
    from wherry.engine.pool import Pool
    from wherry.network.controller import Controller
    from wherry.network.model import Network, NetworkSpec

LIST_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
PRUNE_FILTERS = ("label", "label!", "until")
DEFAULT_NAMES = ("bridge", "host", "none")


class Networks:
    """The networks of one engine."""

    def __init__(self, *, pool: Pool, events: Events, controller: Controller) -> None:
        self._pool = pool
        self._events = events
        self._controller = controller

    def get(self, name_or_id: str) -> Network:
        """Raises NotFound `network x not found`, InvalidArgument for an ambiguous id."""
        return self._controller.network(name_or_id)

    def rows(self, filters: Filters) -> list[Network]:
        """What `docker network ls` shows. Raises InvalidArgument for filters that make no sense."""
        filters.check(LIST_FILTERS)
        for kind in filters.values("type"):
            if kind not in ("builtin", "custom"):
                raise InvalidArgument(f"invalid filter: 'type'='{kind}'")
        dangling = filters.boolean("dangling", False) if "dangling" in filters else None
        found = []
        for network in self._controller.networks():
            kind = "builtin" if network.name in DEFAULT_NAMES else "custom"
            if (filters.is_exact_or_absent("driver", network.driver) and filters.is_exact_or_absent("scope", network.scope)
                    and _begins(filters, network.id) and filters.matches("name", network.name)
                    and filters.labels_match(dict(network.labels)) and filters.is_exact_or_absent("type", kind)
                    and (dangling is None or dangling == (kind == "custom" and not self._controller.endpoints(network.id)))):
                found.append(network)
        return found

    def as_json(self, network: Network, *, with_containers: bool) -> dict[str, Any]:
        """A network as the newest API answers it."""
        return network_resource(network, self._controller.endpoints(network.id) if with_containers else ())

    async def create(self, spec: NetworkSpec) -> Network:
        """Raises Conflict, InvalidArgument, Unsupported, Forbidden, as the network room says."""
        network = await self._pool.run(self._controller.create_network, spec)
        self._tell("create", network)
        return network

    async def remove(self, name_or_id: str) -> None:
        """Raises NotFound, Forbidden for a default network and for one with active endpoints."""
        network = self.get(name_or_id)
        if network.is_default:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        await self._pool.run(self._controller.remove_network, network.id)
        self._tell("destroy", network)

    async def prune(self, filters: Filters) -> list[str]:
        """Removes the networks that no running container is on; their names."""
        filters.check(PRUNE_FILTERS)
        until = filters.until()
        removed = []
        for network in self._controller.networks():
            labels = dict(network.labels)
            if (network.is_default or self._controller.endpoints(network.id) or not filters.labels_match(labels)
                    or not filters.no_label_matches(labels)
                    or (until is not None and nanoseconds(network.created_at) > until)):
                continue
            try:
                await self.remove(network.id)
            except WherryError:
                continue  # somebody came first, or has just joined it
            removed.append(network.name)
        self._events.publish("network", "prune", "", {"reclaimed": "0"})
        return removed

    def _tell(self, action: str, network: Network) -> None:
        self._events.publish("network", action, network.id, {"name": network.name, "type": network.driver})


def _begins(filters: Filters, network_id: str) -> bool:
    wanted = filters.values("id")
    return not wanted or any(network_id.startswith(one) for one in wanted)
