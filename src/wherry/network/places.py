"""Who is where: the endpoints of all networks, their addresses and ports, in memory. Thread-safe, one lock."""

from __future__ import annotations

import os
import secrets
from threading import Lock
from typing import TYPE_CHECKING

from wherry.errors import Forbidden, NotFound
from wherry.network.addresses import take
from wherry.network.model import Addresses, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.network import ruleset
    from wherry.network.ipam import AddressPool
    from wherry.network.model import EndpointRequest, Network, PublishedPort


class Places:
    """The table of endpoints. Nothing here touches the kernel or the disk."""

    def __init__(self) -> None:
        """Empty."""
        self._lock = Lock()
        self._pools: dict[str, dict[int, AddressPool]] = {}  # by network, then by IP version
        self._endpoints: dict[str, Endpoint] = {}
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}
        self._sockets: dict[str, tuple[int, ...]] = {}

    def open(self, network: Network, pools: dict[int, AddressPool]) -> None:
        """A network gives addresses from now on, by IP version."""
        with self._lock:
            self._pools[network.id] = pools

    def close(self, network_id: str) -> None:
        """A network gives no addresses any more. Raises Forbidden while it has endpoints."""
        with self._lock:
            active = [one for one in self._endpoints.values() if one.network_id == network_id]
            if active:
                names = ", ".join(f'name:"{one.container_name}" id:"{one.container_id[:12]}"' for one in active)
                raise Forbidden(f"error while removing network: network {active[0].network_name} has active endpoints ({names})")
            self._pools.pop(network_id, None)

    def allocate(self, network: Network, container_id: str, request: EndpointRequest) -> Endpoint:
        """A new endpoint. Raises what the pool raises, Forbidden for a second one of that name, NotFound after `close`."""
        names = _names(network, container_id, request)
        with self._lock:
            for other in self._endpoints.values():
                if (network.driver == "bridge" and other.network_id == network.id
                        and other.container_name == request.container_name):
                    raise Forbidden(f"endpoint with name {request.container_name} already exists in network {network.name}")
            got = Addresses()
            if network.driver == "bridge":
                pools = self._pools.get(network.id)
                if pools is None:
                    raise NotFound(f"network {network.name} not found")
                got = take(network, pools, container_id, request)
            endpoint = Endpoint(
                id=secrets.token_hex(32),
                network_id=network.id,
                network_name=network.name,
                container_id=container_id,
                container_name=request.container_name,
                link_local_ips=request.link_local_ips,
                **got.as_dict(),
                aliases=names[0],
                dns_names=names[1],
                links=request.links,
                driver_options=request.driver_options,
                gateway_priority=request.gateway_priority,
            )
            self._endpoints[endpoint.id] = endpoint
            return endpoint

    def put_back(self, endpoint: Endpoint) -> None:
        """An endpoint that was there before the daemon's restart. Its address is taken as far as its network still has it."""
        with self._lock:
            for pool, address in self._taken(endpoint):
                pool.put_back(address, endpoint.container_id)
            self._endpoints[endpoint.id] = endpoint

    def update(self, endpoint: Endpoint) -> None:
        """An endpoint was attached or detached; one that was released meanwhile stays gone."""
        with self._lock:
            if endpoint.id in self._endpoints:
                self._endpoints[endpoint.id] = endpoint

    def release(self, endpoint_id: str) -> None:
        """An endpoint is gone and its address free. Idempotent."""
        with self._lock:
            endpoint = self._endpoints.pop(endpoint_id, None)
            for pool, address in self._taken(endpoint) if endpoint else ():
                pool.give_back(address)

    def rename(self, container_id: str, container_name: str) -> tuple[Endpoint, ...]:
        """The container's endpoints under its new name."""
        with self._lock:
            renamed = []
            for one in self._of(container_id):
                names = (container_name, *(name for name in one.dns_names if name != one.container_name))
                changed = one.replace(container_name=container_name, dns_names=names if one.dns_names else ())
                self._endpoints[one.id] = changed
                renamed.append(changed)
            return tuple(renamed)

    def get(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint as it is now."""
        with self._lock:
            return self._endpoints.get(endpoint_id)

    def on_network(self, network_id: str) -> tuple[Endpoint, ...]:
        """The endpoints of a network."""
        with self._lock:
            return tuple(one for one in self._endpoints.values() if one.network_id == network_id)

    def attached(self, container_id: str) -> tuple[Endpoint, ...]:
        """The container's endpoints that have an interface, in the order in which they got it."""
        with self._lock:
            return tuple(one for one in self._of(container_id) if one.host_interface)

    def all_attached(self) -> tuple[Endpoint, ...]:
        """All endpoints with an interface."""
        with self._lock:
            return tuple(one for one in self._endpoints.values() if one.host_interface)

    # --- ports ---

    def add_ports(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        """Ports of an endpoint answer at the host."""
        with self._lock:
            self._ports[endpoint.id] = (*self._ports.get(endpoint.id, ()), *ports)

    def take_ports(self, endpoint_id: str) -> None:
        """They do no more."""
        with self._lock:
            self._ports.pop(endpoint_id, None)

    def published(self) -> tuple[tuple[Endpoint, tuple[PublishedPort, ...]], ...]:
        """All endpoints with published ports."""
        with self._lock:
            return tuple((self._endpoints[one], ports) for one, ports in self._ports.items() if one in self._endpoints)

    def port_rules(
        self, rule: Callable[[Endpoint, PublishedPort], ruleset.PortRule | None]
    ) -> tuple[ruleset.PortRule, ...]:
        """The firewall's rules for all published ports."""
        found = (rule(endpoint, port) for endpoint, ports in self.published() for port in ports)
        return tuple(one for one in found if one)

    def keep_sockets(self, endpoint_id: str, fds: Iterable[int]) -> None:
        """Holds ports, by descriptors of their sockets, where there is no proxy to hold them."""
        with self._lock:
            self._sockets[endpoint_id] = (*self._sockets.get(endpoint_id, ()), *fds)

    def close_sockets(self, endpoint_id: str) -> None:
        """Lets them go."""
        with self._lock:
            for fd in self._sockets.pop(endpoint_id, ()):
                os.close(fd)

    def _taken(self, endpoint: Endpoint) -> list[tuple[AddressPool, str]]:
        pools = self._pools.get(endpoint.network_id, {})
        addresses = {4: endpoint.ipv4_address, 6: endpoint.ipv6_address}
        return [(pool, addresses[version]) for version, pool in pools.items() if addresses[version]]

    def _of(self, container_id: str) -> list[Endpoint]:
        return [one for one in self._endpoints.values() if one.container_id == container_id]


def _names(network: Network, container_id: str, request: EndpointRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(aliases as asked for, all names for DNS). On the default networks there are neither."""
    if network.is_default:
        return (), ()
    names = (request.container_name, *request.aliases, container_id[:12], request.hostname)
    return request.aliases, tuple(dict.fromkeys(name for name in names if name))
