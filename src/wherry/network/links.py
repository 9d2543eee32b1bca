"""Bridges and veths: what the kernel is told so that a network exists, and so that a container is on it.

Plans are tuples of netlink requests, made by pure functions; `Links` runs them on the host's socket and on the one inside
the container. A veth's peer is born inside the container's namespace, links are never moved, and on a container's end none
is deleted: they die with the namespace.
"""

from __future__ import annotations

import errno
import os
import secrets
from ipaddress import ip_network
from threading import Lock
from typing import TYPE_CHECKING

from wherry.errors import Conflict, InvalidArgument
from wherry.linux import rtnetlink
from wherry.linux.netlink import Request, Socket
from wherry.network import host
from wherry.network.ipam import link_local_of, mac_of
from wherry.network.model import SocketRequest
from wherry.network.networks import own_interface

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.linux.rtnetlink import Address
    from wherry.network.ipam import Subnet
    from wherry.network.model import Endpoint, Network, Sandbox

UP_TIMEOUT_S = 3.0
ALIAS_PREFIX = "wherryd "
_AF_NETLINK = 16
_SOCK_RAW = 3
_MAIN_TABLE_KINDS = (rtnetlink.RTN_UNICAST,)
_BRIDGE_LINK_LOCAL = ("fe80::1", 64)  # every bridge with IPv6 has it beside its own, as in dockerd
_LINK_LOCAL_PREFIX_LENGTHS = {4: 16, 6: 64}


def plan_bridge(network: Network, alias: str) -> tuple[Request, ...]:
    """A bridge that does not exist yet: made, marked as ours, up. Its address comes once its index is known."""
    name = network.interface
    return (
        rtnetlink.bridge_add(name, mac_of(network.pools[0].gateway)),  # a bridge has a pool of one family at least
        rtnetlink.link_set(name, alias=alias, mtu=network.mtu if network.mtu != 1500 else 0, up=True),
    )


def plan_addresses(network: Network, index: int, present: Iterable[Address], *, is_ours: bool) -> tuple[Request, ...]:
    """The addresses of a bridge: the gateways that it lacks; of a bridge of ours, away with what a gateway was before."""
    present = tuple(present)
    wanted = [(pool.gateway, ip_network(pool.subnet).prefixlen) for pool in (network.ipv4, network.ipv6) if pool]
    if network.ipv6:
        wanted.append(_BRIDGE_LINK_LOCAL)
    gone = [] if not is_ours else [
        rtnetlink.address_delete(index, one.address, one.prefix_length) for one in present
        if one.scope == rtnetlink.RT_SCOPE_UNIVERSE and one.address not in {address for address, _ in wanted}]
    return (*(rtnetlink.address_add(index, address, length) for address, length in wanted
              if address not in {one.address for one in present}), *gone)


def plan_inside(index: int, endpoint: Endpoint, *, is_first: bool, gateways: Iterable[str]) -> tuple[Request, ...]:
    """Inside the container: loopback up, addresses, interface up, the default routes. One datagram.

    The kernel makes no link-local address by itself, which would ask the others on the bridge first whether it is taken.
    Where there is IPv6 it is given, else there is none.
    """
    addresses = [(endpoint.ipv4_address, endpoint.ipv4_prefix_length), (endpoint.ipv6_address, endpoint.ipv6_prefix_length)]
    if endpoint.ipv6_address:
        addresses.append((link_local_of(endpoint.mac_address), _LINK_LOCAL_PREFIX_LENGTHS[6]))
    addresses += [(address, _LINK_LOCAL_PREFIX_LENGTHS[6 if ":" in address else 4]) for address in endpoint.link_local_ips]
    return (
        *((rtnetlink.link_set("lo", up=True),) if is_first else ()),
        rtnetlink.link_set(index, link_local=False),
        *(rtnetlink.address_add(index, address, length) for address, length in addresses if address),
        rtnetlink.link_set(index, up=True),
        *(rtnetlink.route_add(gateway, index, replace=True) for gateway in gateways),
    )


class Links:
    """The host's links. Thread-safe: one socket, one lock, held for single conversations with the kernel."""

    def __init__(self, owner: str) -> None:
        """Opens the host's socket. `owner` goes into the mark (the alias) of bridges."""
        self.alias = (ALIAS_PREFIX + owner)[:255]
        self._socket = Socket.open()
        self._lock = Lock()
        self._bridges: dict[str, int] = {}

    def close(self) -> None:
        """Closes the socket."""
        with self._lock:
            self._socket.close()

    def host_subnets(self, without: str = "") -> tuple[Subnet, ...]:
        """Where the host's routes lead, the default route and those of the interface `without` left out."""
        with self._lock:
            routes = rtnetlink.routes(self._socket)
            own = rtnetlink.link(self._socket, without) if without else None
        return tuple(
            ip_network(f"{route.destination}/{route.prefix_length}", strict=False)
            for route in routes
            if route.prefix_length and route.kind in _MAIN_TABLE_KINDS
            and not (own and route.index == own.index)
        )

    def address_of(self, interface: str) -> str:
        """The first IPv4 address of an interface with its prefix length, or empty."""
        with self._lock:
            found = rtnetlink.link(self._socket, interface)
            addresses = rtnetlink.addresses(self._socket) if found else []
        for address in addresses:
            if found and address.index == found.index and address.family == rtnetlink.AF_INET:
                return f"{address.address}/{address.prefix_length}"
        return ""

    def is_used(self, interface: str) -> bool:
        """Whether a bridge is there and has ports."""
        with self._lock:
            found = rtnetlink.link(self._socket, interface)
            return found is not None and self._has_ports(found)

    def ensure_bridge(self, network: Network, *, loopback: bool) -> bool:
        """Makes a network's bridge be there, up, with the gateways' addresses; whether it had to be made.

        A bridge that somebody else made (no mark) is used as it is, as Docker does; one that a wherryd of another data root
        left behind, or dockerd for this very network, is taken over. Raises Conflict when that wherryd's containers are still
        on it, InvalidArgument for a link that is no bridge.
        """
        name = network.interface
        with self._lock:
            found = rtnetlink.link(self._socket, name)
            if found is None:
                self._make_bridge(network)
                found = rtnetlink.link(self._socket, name)
                assert found
                is_new = True
            else:
                found = self._check_bridge(found, is_ours=name == own_interface(network.id))
                is_new = False
            if network.ipv6:
                host.turn_on_ipv6(name)
            present = (address for address in rtnetlink.addresses(self._socket) if address.index == found.index)
            requests = plan_addresses(network, found.index, present, is_ours=found.alias == self.alias)
            self._socket.run(*requests, *(() if found.is_up else (rtnetlink.link_set(found.index, up=True),)))
        if loopback:
            host.route_loopback(name)
        return is_new

    def remove_bridge(self, interface: str) -> None:
        """Removes a bridge that is marked as ours; one that is not ours, or gone, is left."""
        with self._lock:
            found = rtnetlink.link(self._socket, interface)
            if found and found.alias == self.alias:
                self._socket.run(rtnetlink.link_delete(found.index))

    def remove_strays(self, bridges: Iterable[str], veths: Iterable[str]) -> None:
        """Removes what a crash left: bridges with our mark and ports of our bridges that are not among those named."""
        kept_bridges, kept_veths = set(bridges), set(veths)
        with self._lock:
            links = rtnetlink.links(self._socket)
            ours = {link.index for link in links if link.kind == "bridge" and link.alias == self.alias}
            gone = [link for link in links if link.kind == "veth" and link.master in ours and link.name not in kept_veths]
            gone += [link for link in links if link.index in ours and link.name not in kept_bridges]
            for link in gone:
                try:
                    self._socket.run(rtnetlink.link_delete(link.index))
                except OSError as error:
                    if error.errno != errno.ENODEV:  # its namespace has died meanwhile
                        raise

    def attach(
        self, network: Network, endpoint: Endpoint, sandbox: Sandbox, interface: str, *, is_first: bool, gateways: Iterable[str]
    ) -> Endpoint:
        """Makes the veth, sets up its inner end, waits until both ends and the bridge carry packets.

        `is_first`: of the container's interfaces; loopback is set up too. On failure the veth is gone. Raises OSError.
        """
        name = "veth" + secrets.token_hex(4)[:7]
        with Inside(sandbox) as inside, rtnetlink.LinkWatch() as watch:
            try:
                self._make_veth(network, endpoint, sandbox, name, interface)
                made = rtnetlink.link(inside, interface)
                if made is None:
                    raise OSError(errno.ENODEV, f"the interface {interface} is gone as soon as it was made")
                inside.run(*plan_inside(made.index, endpoint, is_first=is_first, gateways=gateways))
                watch.wait_operational((name, network.interface), UP_TIMEOUT_S)
            except BaseException:
                self.delete(name)
                raise
        return endpoint.replace(host_interface=name, interface=interface)

    def route(self, gateways: Iterable[tuple[str, str]], sandbox: Sandbox) -> None:
        """Lets a running container's default routes go by others of its interfaces: (interface, gateway) each."""
        with Inside(sandbox) as inside:
            for interface, gateway in gateways:
                found = rtnetlink.link(inside, interface)
                if found:
                    inside.run(rtnetlink.route_add(gateway, found.index, replace=True))

    def down(self, veth: str) -> None:
        """Takes a dying container's port off the wire. Not an error when it is gone."""
        self._run_unless_gone(rtnetlink.link_set(veth, up=False))

    def delete(self, veth: str) -> None:
        """Removes a veth, both ends. Not an error when it is gone."""
        self._run_unless_gone(rtnetlink.link_delete(veth))

    def forget_neighbour(self, network: Network, address: str) -> None:
        """The host forgets which MAC an address had."""
        with self._lock:
            found = rtnetlink.link(self._socket, network.interface)
            if found:
                try:
                    self._socket.run(rtnetlink.neighbour_delete(found.index, address))
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise

    def _make_veth(self, network: Network, endpoint: Endpoint, sandbox: Sandbox, name: str, interface: str) -> None:
        def requests(bridge: int) -> tuple[Request, ...]:
            return (
                rtnetlink.veth_add(name, master=bridge, mtu=network.mtu, peer_name=interface,
                                   peer_mac=endpoint.mac_address, peer_netns_fd=sandbox.netns_fd),
                # Hairpin: with bridge netfilter on, a container's way to its own published port goes back out of its port.
                # Without it, frames between ports never meet the firewall: there the bridge itself keeps them apart. With
                # it the firewall does, which lets the way to a neighbour's published port through.
                rtnetlink.bridge_port_set(name, hairpin=True, isolated=not network.icc and not host.filters_bridges()),
            )

        with self._lock:
            known = self._bridges.get(network.interface)
            if known is not None:
                try:
                    self._socket.run(*requests(known))
                    return
                except OSError as error:
                    # Numbers of links are not used twice, so a bridge that somebody made anew is noticed.
                    bridge = rtnetlink.link(self._socket, network.interface)
                    if bridge and bridge.index == known:
                        raise
                    refusal = error
            else:
                bridge, refusal = rtnetlink.link(self._socket, network.interface), None
            if bridge is None:
                raise OSError(errno.ENODEV, f"network {network.name}: the bridge {network.interface} is gone") from refusal
            self._bridges[network.interface] = bridge.index
            self._socket.run(*requests(bridge.index))

    def _make_bridge(self, network: Network) -> None:
        try:
            self._socket.run(*plan_bridge(network, self.alias))
        except OSError:
            found = rtnetlink.link(self._socket, network.interface)
            if found and found.kind == "bridge" and found.alias in ("", self.alias):
                self._socket.run(rtnetlink.link_delete(found.index))
            raise

    def _check_bridge(self, link: rtnetlink.Link, *, is_ours: bool) -> rtnetlink.Link:
        if link.kind != "bridge":
            raise InvalidArgument(f"the interface {link.name} exists and is no bridge")
        is_marked = link.alias.startswith(ALIAS_PREFIX)
        if link.alias == self.alias or not (is_marked or is_ours):
            return link
        if is_marked and self._has_ports(link):
            other = link.alias.removeprefix(ALIAS_PREFIX)
            raise Conflict(f"containers of another wherryd ({other}) run on the bridge {link.name}",
                           hint="stop them, or give this wherryd its own --bridge and table name")
        self._socket.run(rtnetlink.link_set(link.index, alias=self.alias))
        return link.replace(alias=self.alias)

    def _has_ports(self, bridge: rtnetlink.Link) -> bool:
        return any(link.master == bridge.index for link in rtnetlink.links(self._socket))

    def _run_unless_gone(self, request: Request) -> None:
        with self._lock:
            try:
                self._socket.run(request)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise


class Inside:
    """A NETLINK_ROUTE socket inside a container's namespace: the runtime's, or one opened for the purpose."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Opens it or borrows it."""
        if sandbox.rtnetlink_fd is not None:
            self._socket = Socket.adopt(sandbox.rtnetlink_fd)
            return
        request = SocketRequest(family=_AF_NETLINK, kind=_SOCK_RAW, protocol=0)
        (fd,) = sandbox.inside((request,), "")
        try:
            self._socket = Socket.adopt(fd)
        finally:
            os.close(fd)

    def __enter__(self) -> Socket:
        return self._socket

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()
