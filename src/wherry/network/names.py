"""Whose names a container may ask for: what the proxy's DNS is told when containers join and leave networks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.network import files, ruleset
from wherry.network.model import SocketRequest
from wherry.network.proxy import protocol
from wherry.record import Record

if TYPE_CHECKING:
    from wherry.network.model import Endpoint, Network, Pairs, Sandbox
    from wherry.network.proxy.client import ProxyClient

_AF_INET = 2
_SOCK_STREAM = 1
_SOCK_DGRAM = 2
_BACKLOG = 64


class View(Record):
    """A network as a container sees it: the names there, and its own names for some of them."""

    network: Network
    links: Pairs
    """(alias, name)"""


class Directory:
    """Tells the proxy. Without a proxy there is no DNS on networks, and nothing happens."""

    def __init__(self, proxy: ProxyClient | None) -> None:
        """`proxy` None: no DNS."""
        self._proxy = proxy
        self._leftover: set[str] = set()  # containers that still ask us, by their resolv.conf, but are on default networks only

    def join(self, endpoint: Endpoint, sandbox: Sandbox, visible: tuple[View, ...]) -> None:
        """A container got an interface on a user-defined network: others find it, and it finds them."""
        if not self._proxy:
            return
        self._leftover.discard(endpoint.container_id)
        self.put(endpoint)
        if len(visible) > 1 and endpoint.container_id in self._proxy.list()["containers"]:
            self._proxy.dns(_dns(sandbox.container_id, visible, _servers(sandbox, visible)))
        else:
            self.serve(sandbox, visible)

    def leave(self, endpoint: Endpoint, visible: tuple[View, ...], *, ended: bool) -> None:
        """It lost that interface. `visible`: what is left to it. One that is left on no network at all is to be closed then."""
        if not self._proxy:
            return
        self._proxy.names(remove=((endpoint.network_id, endpoint.id),))
        if ended:
            if not visible:
                self._proxy.close_dns((endpoint.container_id,))
        elif endpoint.container_id in self._proxy.list()["containers"]:
            is_enclosed = bool(visible) and all(view.network.internal for view in visible)
            self._proxy.dns(_dns(endpoint.container_id, visible, () if is_enclosed else None))
            if not visible:
                self._leftover.add(endpoint.container_id)

    def known(self, container_id: str) -> None:
        """DNS is served to a container that is on default networks only: a daemon before us left it so."""
        self._leftover.add(container_id)

    def close(self, container_id: str) -> None:
        """The container has left its last network of any kind: sockets inside would keep its namespace, and interfaces, alive."""
        if self._proxy and container_id in self._leftover:
            self._leftover.remove(container_id)
            self._proxy.close_dns((container_id,))

    def put(self, endpoint: Endpoint) -> None:
        """Makes an endpoint's names known on its network."""
        if self._proxy:
            self._proxy.names(put=(protocol.Known(
                network=endpoint.network_id, network_name=endpoint.network_name, endpoint=endpoint.id,
                name=endpoint.container_name, names=endpoint.dns_names, address=endpoint.ipv4_address,
                ipv6_address=endpoint.ipv6_address),))

    def serve(self, sandbox: Sandbox, visible: tuple[View, ...]) -> None:
        """Opens the sockets inside, leads port 53 to them, gives them to the proxy."""
        assert self._proxy
        address = (files.EMBEDDED_DNS, 0)
        fds = sandbox.inside((
            SocketRequest(family=_AF_INET, kind=_SOCK_DGRAM, address=address),
            SocketRequest(family=_AF_INET, kind=_SOCK_STREAM, address=address, backlog=_BACKLOG),
        ), ruleset.dns_text(files.EMBEDDED_DNS))
        try:
            self._proxy.dns(_dns(sandbox.container_id, visible, _servers(sandbox, visible)), fds)
        finally:
            for fd in fds:
                os.close(fd)


def _dns(container_id: str, visible: tuple[View, ...], servers: tuple[str, ...] | None) -> protocol.Dns:
    return protocol.Dns(container=container_id, networks=tuple(view.network.id for view in visible), servers=servers,
                        links=tuple((view.network.id, alias, name) for view in visible for alias, name in view.links))


def _servers(sandbox: Sandbox, visible: tuple[View, ...]) -> tuple[str, ...]:
    if all(view.network.internal for view in visible):
        return ()  # an internal network has no way out, also not by asking us
    return sandbox.dns_servers or files.upstream_servers(files.parse_resolv_conf(files.read_host()))
