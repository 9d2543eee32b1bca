"""`GET /containers/json`: which containers a list shows, in which order, and how each looks there.

What does not change with the clock is made once per record and kept beside the container, because lists are asked for
far more often than containers change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wherry.engine import inspect
from wherry.engine.filters import Filters
from wherry.engine.links import link_names
from wherry.engine.states import STATUSES
from wherry.engine.status import describe
from wherry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.records import Record

FILTERS = ("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network",
           "publish", "since", "status", "volume")
HEALTH = ("none", "starting", "healthy", "unhealthy")


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a list. `limit` counts from the newest; above zero it includes those that do not run."""

    all: bool = False
    limit: int = 0
    size: bool = False
    filters: Filters = Filters()


class Listing:
    """Makes lists of containers."""

    def __init__(self, containers: Containers, descendants: Callable[[str], frozenset[str]]) -> None:
        """`descendants(name)` are the ids of an image and of those built upon it, none for an unknown one."""
        self._containers = containers
        self._descendants = descendants
        self._kept: dict[str, tuple[Record, tuple[int, int], bytes]] = {}

    def select(self, request: ListRequest) -> list[Container]:
        """The containers that a list shows, newest first. Raises InvalidArgument for filters that make no sense."""
        filters = request.filters
        filters.check(FILTERS)
        for status in filters.values("status"):
            if status not in STATUSES:
                raise InvalidArgument(f"invalid filter 'status={status}'")
        for health in filters.values("health"):
            if health not in HEALTH:
                raise InvalidArgument(f"Unrecognised filter value for health: {health}")
        exit_codes = frozenset(_number(text) for text in filters.values("exited"))
        show_all = request.all or request.limit > 0 or "status" in filters
        images = self._ancestors(filters)
        before, since = self._bound(filters, "before"), self._bound(filters, "since")
        ports = frozenset(port for name in ("publish", "expose") for text in filters.values(name) for port in _ports(name, text))
        chosen = []
        for container in sorted(self._containers, key=lambda one: one.created_ns, reverse=True):
            if not show_all and not container.state.running:
                continue
            if filters and not (
                _passes(container, filters, exit_codes, ports)
                and (images is None or container.record.image in images)
                and (before is None or container.created_ns < before)
                and (since is None or container.created_ns > since)
            ):
                continue
            chosen.append(container)
            if 0 < request.limit <= len(chosen):
                break
        return chosen

    def encode(self, chosen: list[Container], version: tuple[int, int], now_ns: int,
               sizes: dict[str, tuple[int, int]] | None = None) -> bytes:
        """The list as JSON. `sizes`: by id, the layer's and the whole tree's bytes, where they were asked for."""
        linked, sizes = link_names(self._containers), sizes or {}
        return b"[" + b",".join(self._entry(one, version, now_ns, sizes.get(one.id), linked.get(one.id, []))
                                for one in chosen) + b"]\n"

    def forget(self, container_id: str) -> None:
        """Drops what is kept of a container that is gone."""
        self._kept.pop(container_id, None)

    def _entry(self, container: Container, version: tuple[int, int], now_ns: int, sizes: tuple[int, int] | None,
               linked: list[str]) -> bytes:
        kept = self._kept.get(container.id)
        if kept is None or kept[0] is not container.record or kept[1] != version:
            fixed = msgspec.json.encode(_fixed(container, version))[:-1]
            kept = self._kept[container.id] = (container.record, version, fixed)
        moving: dict[str, Any] = {"Status": describe(container.state, now_ns), "Names": [container.record.name, *sorted(linked)]}
        if sizes:
            moving |= {key: size for key, size in zip(("SizeRw", "SizeRootFs"), sizes, strict=True) if size}
        return kept[2] + b"," + msgspec.json.encode(moving)[1:]

    def _ancestors(self, filters: Filters) -> frozenset[str] | None:
        if "ancestor" not in filters:
            return None
        return frozenset().union(*(self._descendants(name) for name in filters.values("ancestor")))

    def _bound(self, filters: Filters, name: str) -> int | None:
        reference = filters.only(name)
        if reference is None:
            return None
        try:
            return self._containers.find(reference).created_ns
        except NotFound as error:
            raise InvalidArgument(error.message) from error


def _fixed(container: Container, version: tuple[int, int]) -> dict[str, Any]:
    record = container.record
    networks = record.network_settings.networks or {}
    host: dict[str, Any] = {"NetworkMode": container.host.network_mode}
    if version >= (1, 46) and container.host.annotations:
        host["Annotations"] = container.host.annotations
    return {
        "Id": record.id,
        "Image": record.config.image or record.image,
        "ImageID": record.image,
        "Command": command(record),
        "Created": container.created_ns // 1_000_000_000,
        "Ports": [entry for ports in _port_entries(record) for entry in ports],
        "Labels": record.config.labels or {},
        "State": record.state.status,
        "HostConfig": host,
        "NetworkSettings": {"Networks": {name: inspect.endpoint(one, version) for name, one in networks.items()}},
        "Mounts": [inspect.mount_point(one) for one in inspect.mounts_in_order(record)],
    }


def command(record: Record) -> str:
    """The COMMAND column: arguments with spaces are quoted."""
    return " ".join([record.path, *(f"'{arg}'" if " " in arg else arg for arg in record.args)]).strip()


def _port_entries(record: Record) -> list[list[dict[str, Any]]]:
    entries = []
    for key, bindings in (record.network_settings.ports or {}).items():
        number, _, protocol = key.partition("/")
        private = {"PrivatePort": int(number), "Type": protocol}
        if not bindings:
            entries.append([private])
        else:
            entries.append([{"IP": one.host_ip, "PrivatePort": int(number), "PublicPort": int(one.host_port or 0),
                             "Type": protocol} for one in bindings])
    return entries


def _passes(container: Container, filters: Filters, exit_codes: frozenset[int], ports: frozenset[str]) -> bool:
    record, state = container.record, container.state
    if exit_codes and (state.running or state.status == "created" or state.exit_code not in exit_codes):
        return False
    if filters.values("is-task") and filters.boolean("is-task", default=False):
        return False
    return (
        (filters.matches("name", container.name) or filters.matches("name", record.name))  # `^/web$` and `^web$` both name it
        and (not filters.values("id") or any(record.id.startswith(one) for one in filters.values("id"))
             or filters.matches("id", record.id))
        and filters.labels_match(record.config.labels or {})
        and filters.is_exact_or_absent("status", state.status)
        and filters.is_exact_or_absent("health", state.health.status if state.health else "none")
        and _on_network(record, filters)
        and _has_volume(record, filters)
        and (not ports or _has_port(container, filters, ports))
    )


def _on_network(record: Record, filters: Filters) -> bool:
    wanted = filters.values("network")
    networks = record.network_settings.networks or {}
    return not wanted or any(one == name or (place.network_id and place.network_id.startswith(one))
                             for one in wanted for name, place in networks.items())


def _has_volume(record: Record, filters: Filters) -> bool:
    wanted = filters.values("volume")
    return not wanted or any(one in (mount.name, mount.destination)
                             for one in wanted for mount in (record.mount_points or {}).values())


def _has_port(container: Container, filters: Filters, ports: frozenset[str]) -> bool:
    exposed = frozenset(container.record.config.exposed_ports or {})
    published = container.record.network_settings.ports or {}
    if filters.values("publish"):
        public = {f"{one.host_port}/{key.partition('/')[2]}" for key, bindings in published.items()
                  for one in bindings or ()}
        return bool(ports & public)
    return bool(ports & exposed)


def _ports(name: str, text: str) -> list[str]:
    """`80`, `80/udp` or `8000-8010/tcp`, as given for a filter, as single ports with their protocol."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    for number in filter(None, (first, last)):
        if not number.isdecimal() or int(number) > 65535:
            why = "value out of range" if number.isdecimal() else "invalid syntax"
            raise InvalidArgument(f'error while looking up for {name} {text}: strconv.ParseUint: parsing "{number}": {why}')
    low, high = int(first or "0"), int(last or first or "0")
    if low > high:
        raise InvalidArgument(f"error while looking up for {name} {text}: invalid range specified for port: {numbers}")
    return [f"{number}/{protocol or 'tcp'}" for number in range(low, high + 1)]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax') from None
