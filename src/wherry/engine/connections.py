"""A container's places on networks: what it asks for, what it gets while it runs, and joining and leaving by hand.

    create   planned()     the record's networks by name, as asked for
    start    allocate()    addresses (thread)   →  attach()  interfaces and ports (thread)
    end      release()     everything given back (thread)

The network room does the work; here is what a container's configuration means for it, and what its record says
afterwards. What a running container holds is kept in `<run folder>/network.json`, so that the next daemon finds it.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from wherry.engine.links import endpoint_links
from wherry.engine.model import EndpointIPAMConfig, EndpointSettings, NetworkingConfig, PortBinding
from wherry.engine.records import EndpointRecord, NetworkRecord
from wherry.errors import InvalidArgument, NotFound
from wherry.linux.file import replace as replace_file
from wherry.network.model import (
    Endpoint,
    EndpointRequest,
    PortRequest,
    PublishedPort,
    Restored,
    Sandbox,
    endpoint_from_json,
    published_port_from_json,
    to_json,
)
from wherry.shim import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.model import HostConfig
    from wherry.engine.records import Record
    from wherry.network.controller import Controller
    from wherry.network.model import SocketRequest
    from wherry.shim.client import Zygote

STATE = "network.json"
WITHOUT_NETWORK = ("host", "none")
INSIDE_TIMEOUT_S = 10.0
LAST_PORT = 65535


class Connected(msgspec.Struct, frozen=True):
    """What a running container holds of networks, by network id."""

    endpoints: dict[str, Endpoint] = msgspec.field(default_factory=dict)
    ports: dict[str, tuple[PublishedPort, ...]] = msgspec.field(default_factory=dict)


class Connections:
    """Connects containers. The methods are synchronous and for worker threads, but for those that say otherwise."""

    def __init__(self, controller: Controller, zygote: Zygote, loop: asyncio.AbstractEventLoop,
                 dns: tuple[str, ...] = ()) -> None:
        self._controller = controller
        self._zygote = zygote
        self._loop = loop
        self._dns = dns

    def allocate(self, container: Container) -> Connected:
        """Gets addresses on all of a container's networks, or on none. Raises NotFound, Conflict, InvalidArgument."""
        record = container.record
        got: dict[str, Endpoint] = {}
        try:
            for name, wanted in (record.network_settings.networks or {}).items():
                if name == "bridge" and not self._controller.has_bridge:
                    continue  # `--bridge none`: the container has its loopback only, as in dockerd
                network = self._controller.network(name)
                got[network.id] = self._controller.allocate(network.id, record.id, request(record, wanted))
        except BaseException:
            self.release(Connected(got))
            raise
        return Connected(got)

    def attach(self, container: Container, connected: Connected, pid: int, rtnetlink_fd: int | None) -> Connected:
        """Makes the interfaces and publishes the ports; all is given back when it fails (but for the addresses)."""
        endpoints = dict(connected.endpoints)
        ports: dict[str, tuple[PublishedPort, ...]] = {}
        if not endpoints:
            return connected
        netns_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            sandbox = self.sandbox(container, pid, netns_fd, rtnetlink_fd)
            for network_id, endpoint in connected.endpoints.items():
                endpoints[network_id] = self._controller.attach(endpoint, sandbox)
            ports = self.publish(container, endpoints)
            result = Connected(endpoints, ports)
            write_state(container.run_folder, result)
        except BaseException:
            self._take_away(Connected(endpoints, ports), ended=True)
            raise
        finally:
            os.close(netns_fd)
        return result

    def publish(self, container: Container, endpoints: dict[str, Endpoint]) -> dict[str, tuple[PublishedPort, ...]]:
        """Publishes a container's ports on the network that is its way out; by network id. Raises Conflict for one taken."""
        wanted = port_requests(container.record, container.host)
        carrier = _gateway_endpoint(endpoints.values())
        return {carrier.network_id: self._controller.publish(carrier, wanted)} if wanted and carrier is not None else {}

    def has_dns(self, network_id: str) -> bool:
        """Whether a network has names of its own, and so a resolver at 127.0.0.11: all but the default ones."""
        return not self._controller.network(network_id).is_default

    def driver_of(self, network_id: str) -> str:
        """A network's driver, for events; empty when it is gone."""
        try:
            return self._controller.network(network_id).driver
        except NotFound:
            return ""

    def default_gateway(self) -> str:
        """The default bridge's own address, empty where there is none."""
        try:
            pool = self._controller.network("bridge").ipv4
        except NotFound:
            return ""
        return pool.gateway if pool else ""

    def check(self, record: Record) -> None:
        """Whether a new container's wishes can be had on the networks that exist. Raises InvalidArgument, Unsupported."""
        for name, wanted in (record.network_settings.networks or {}).items():
            try:
                network = self._controller.network(name)
            except NotFound:
                continue  # it may exist by the time of the start, which says so otherwise
            self._controller.check(network.id, request(record, wanted))

    def rename(self, container: Container, name: str) -> None:
        """A container got another name: names on networks follow."""
        if container.endpoints:
            self._controller.rename(container.id, name)

    def release(self, connected: Connected, *, ended: bool = True) -> None:
        """Gives back ports, interfaces and addresses. `ended`: the namespace dies by itself."""
        self._take_away(connected, ended=ended)
        for endpoint in connected.endpoints.values():
            self._controller.release(endpoint)

    def join(self, container: Container, endpoint: Endpoint, pid: int, rtnetlink_fd: int | None) -> Endpoint:
        """Attaches a running container to one more network."""
        netns_fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self._controller.attach(endpoint, self.sandbox(container, pid, netns_fd, rtnetlink_fd))
        finally:
            os.close(netns_fd)

    def sandbox(self, container: Container, pid: int, netns_fd: int, rtnetlink_fd: int | None) -> Sandbox:
        """The container's network namespace as the network room sees it."""
        def inside(sockets: tuple[SocketRequest, ...], nft: str) -> list[int]:
            order = protocol.NetnsRequest(nft=nft, sockets=tuple(protocol.SocketRequest(**one.as_dict()) for one in sockets))
            work = self._zygote.in_network_namespace(order, netns_fd)
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(INSIDE_TIMEOUT_S)

        return Sandbox(container_id=container.id, pid=pid, netns_fd=netns_fd, rtnetlink_fd=rtnetlink_fd, inside=inside,
                       dns_servers=container.host.dns or self._dns)

    def opener(self, containers: Containers) -> Callable[[str], AbstractContextManager[Sandbox | None]]:
        """How the network room opens a running container's sandbox again, from any thread; None for one that has ended."""
        @contextmanager
        def opened(container_id: str) -> Iterator[Sandbox | None]:
            container = containers.get(container_id)
            shim = container.shim if container else None
            try:
                netns_fd = os.open(f"/proc/{shim.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC) if shim else -1
            except FileNotFoundError:
                netns_fd = -1
            if container is None or shim is None or netns_fd < 0:
                yield None
                return
            try:
                yield self.sandbox(container, shim.pid, netns_fd, shim.rtnetlink_fd)
            finally:
                os.close(netns_fd)

        return opened

    def _take_away(self, connected: Connected, *, ended: bool) -> None:
        for network_id, endpoint in connected.endpoints.items():
            if connected.ports.get(network_id):
                self._controller.unpublish(endpoint)
            self._controller.detach(endpoint, ended=ended)


def planned(record: Record, host: HostConfig, networking: NetworkingConfig | None, version: tuple[int, int]) -> NetworkRecord:
    """The networks that a new container is to be in, by name; nothing is looked up. Raises InvalidArgument.

    Published ports that are none are refused too. Before 1.44 a container is created in one network at most.
    """
    port_requests(record, host)
    mode = host.network_mode
    given = (networking.endpoints_config if networking else None) or {}
    asked = {name: settings or EndpointSettings() for name, settings in given.items()}
    for settings in asked.values():
        check_addresses(settings.ipam_config)
    if mode.startswith("container:") or record.config.network_disabled:
        if mode.startswith("container:"):
            _refuse_with_container_network(record, host, asked)
        return NetworkRecord(networks={})
    if len(asked) > 1 and version < (1, 44):
        raise InvalidArgument(f"Container cannot be connected to network endpoints: {', '.join(sorted(asked))}")
    main = "bridge" if mode in ("", "default") else mode
    names = [main, *(name for name in asked if name not in (main, "default"))]
    if main in WITHOUT_NETWORK and len(names) > 1:
        raise InvalidArgument("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    found = {name: endpoint_record(asked.get(name) or (asked.get("default") if name == "bridge" else None) or EndpointSettings())
             for name in names}
    if host.links and main not in ("bridge", *WITHOUT_NETWORK):  # a link of the container is one on its main network
        found[main] = replace(found[main], links=tuple(dict.fromkeys((*(found[main].links or ()), *host.links))))
    return NetworkRecord(networks=found)


def check_addresses(asked: EndpointIPAMConfig | None) -> None:
    """Raises InvalidArgument for an address that is none."""
    for version, kind, address in ((4, IPv4Address, asked.ipv4_address), (6, IPv6Address, asked.ipv6_address)) if asked else ():
        try:
            if address:
                kind(address)
        except ValueError as error:
            raise InvalidArgument(f"invalid IPv{version} address: {address}") from error


def endpoint_record(settings: EndpointSettings) -> EndpointRecord:
    """The asked-for half of a place in a network."""
    return EndpointRecord(ipam_config=settings.ipam_config, links=settings.links, aliases=settings.aliases,
                          driver_opts=settings.driver_opts, gw_priority=settings.gw_priority,
                          desired_mac_address=settings.mac_address, network_id=settings.network_id)


def request(record: Record, wanted: EndpointRecord) -> EndpointRequest:
    """What a container asks of the network room."""
    addresses = wanted.ipam_config or EndpointIPAMConfig()
    return EndpointRequest(
        container_name=record.name.removeprefix("/"),
        hostname=record.config.hostname,
        ipv4_address=addresses.ipv4_address,
        ipv6_address=addresses.ipv6_address,
        link_local_ips=addresses.link_local_ips or (),
        mac_address=wanted.desired_mac_address or record.config.mac_address,
        aliases=wanted.aliases or (),
        links=endpoint_links(wanted.links or ()),
        driver_options=tuple((wanted.driver_opts or {}).items()),
        gateway_priority=wanted.gw_priority,
    )


def port_requests(record: Record, host: HostConfig) -> tuple[PortRequest, ...]:
    """What `-p` and `-P` ask for. Raises InvalidArgument for a port that is none."""
    asked = []
    bindings = host.port_bindings or {}
    for key, wanted in bindings.items():
        number, protocol_name = _port(key)
        for one in wanted or (PortBinding(),):
            first, last = _range(one.host_port)
            asked.append(PortRequest(container_port=number, protocol=protocol_name, host_ip=one.host_ip,
                                     host_port=first, host_port_end=last))
    if host.publish_all_ports:
        for key in record.config.exposed_ports or {}:
            if key not in bindings:
                number, protocol_name = _port(key)
                asked.append(PortRequest(container_port=number, protocol=protocol_name))
    return tuple(asked)


def connected_record(record: Record, connected: Connected, run_folder: str) -> NetworkRecord:
    """What the record says of networks while the container runs."""
    before = record.network_settings
    networks = dict(before.networks or {})
    for endpoint in connected.endpoints.values():
        name = endpoint.network_name if endpoint.network_name in networks else next(
            (key for key in networks if key == endpoint.network_id), endpoint.network_name)
        asked = networks.pop(name, EndpointRecord())
        networks[endpoint.network_name] = filled(asked, endpoint)
    ports: dict[str, tuple[PortBinding, ...] | None] = dict.fromkeys(record.config.exposed_ports or {})
    for published in connected.ports.values():
        for one in published:
            key = f"{one.container_port}/{one.protocol}"
            ports[key] = (*(ports.get(key) or ()), PortBinding(host_ip=one.host_ip, host_port=str(one.host_port)))
    if set(networks) & set(WITHOUT_NETWORK):
        ports = {}
    return replace(before, networks=networks, ports=ports, sandbox_id=record.id, sandbox_key=f"{run_folder}/netns")


def disconnected_record(before: NetworkRecord) -> NetworkRecord:
    """What the record says of networks once the container has ended: what was asked for stays."""
    networks = {name: replace(one, endpoint_id="", gateway="", ip_address="", ip_prefix_len=0, ipv6_gateway="",
                              global_ipv6_address="", global_ipv6_prefix_len=0, mac_address="")
                for name, one in (before.networks or {}).items()}
    return replace(before, networks=networks, ports={}, sandbox_id="", sandbox_key="")


def filled(asked: EndpointRecord, endpoint: Endpoint) -> EndpointRecord:
    """A place in a network with what came of it."""
    return replace(asked, network_id=endpoint.network_id, endpoint_id=endpoint.id, gateway=endpoint.ipv4_gateway,
                   ip_address=endpoint.ipv4_address, ip_prefix_len=endpoint.ipv4_prefix_length,
                   ipv6_gateway=endpoint.ipv6_gateway, global_ipv6_address=endpoint.ipv6_address,
                   global_ipv6_prefix_len=endpoint.ipv6_prefix_length,
                   mac_address=endpoint.mac_address, dns_names=endpoint.dns_names or None,
                   aliases=endpoint.aliases or asked.aliases)


def write_state(run_folder: str, connected: Connected) -> None:
    """Keeps what a running container holds."""
    data = {"endpoints": [to_json(one) for one in connected.endpoints.values()],
            "ports": {key: [to_json(one) for one in ports] for key, ports in connected.ports.items()}}
    replace_file(f"{run_folder}/{STATE}", msgspec.json.encode(data))


def read_state(run_folder: str) -> Connected:
    """What a running container holds; nothing where nothing is kept."""
    try:
        with open(f"{run_folder}/{STATE}", "rb") as file:
            data = msgspec.json.decode(file.read())
    except FileNotFoundError:
        return Connected()
    endpoints = [endpoint_from_json(one) for one in data["endpoints"]]
    return Connected({one.network_id: one for one in endpoints},
                     {key: tuple(published_port_from_json(one) for one in ports) for key, ports in data["ports"].items()})


def restored(containers: Iterable[Container]) -> tuple[Restored, ...]:
    """What the network room takes back after a restart of the daemon."""
    return tuple(Restored(endpoint=endpoint, ports=container.ports.get(network_id, ()))
                 for container in containers for network_id, endpoint in container.endpoints.items())


def _refuse_with_container_network(record: Record, host: HostConfig, asked: Mapping[str, EndpointSettings]) -> None:
    conflicts = (
        (bool(host.port_bindings) or host.publish_all_ports,
         "conflicting options: port publishing and the container type network mode"),
        (bool(record.config.exposed_ports), "conflicting options: port exposing and the container type network mode"),
        (bool(host.links),
         "conflicting options: container type network can't be used with links. This would result in undefined behavior"),
        (bool(host.dns), "conflicting options: dns and the network mode"),
        (bool(host.extra_hosts), "conflicting options: custom host-to-IP mapping and the network mode"),
        (bool(asked), "conflicting options: cannot attach both user-defined and non-user-defined network-modes"),
    )
    for wrong, message in conflicts:
        if wrong:
            raise InvalidArgument(message)


def _gateway_endpoint(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """The endpoint whose network carries the default route, and so the published ports. One with an interface has a MAC."""
    carrying = [one for one in endpoints if one.mac_address]
    return min(carrying, default=None,
               key=lambda one: (not (one.ipv4_gateway or one.ipv6_gateway), -one.gateway_priority, one.network_name))


def _port(text: str) -> tuple[int, str]:
    number, _, protocol_name = text.partition("/")
    if not number.isdecimal() or not 0 < int(number) <= LAST_PORT:
        raise InvalidArgument(f'invalid port specification: "{number}"')
    return int(number), (protocol_name or "tcp").lower()


def _range(text: str) -> tuple[int, int]:
    """`8000`, `8000-8010` or nothing: the first and the last port, 0 for one that is not said."""
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first] if first else []
    if not all(one.isdecimal() and int(one) <= LAST_PORT for one in numbers) or (dash and int(last) < int(first)):
        raise InvalidArgument(f'invalid port specification: "{text}"')
    return int(first or 0), int(last or 0)
