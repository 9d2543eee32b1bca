"""The values of the network room: networks, endpoints, sandboxes and ports, as callers and files see them.

Addresses are text in their usual spelling; an address with a prefix length says so in its name. Everything that the
engine keeps with a container (`Endpoint`, `PublishedPort`) goes to JSON and back with `to_json` and `from_json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_GATEWAY_IPV4, DEFAULT_GATEWAY_IPV6 = "DefaultGatewayIPv4", "DefaultGatewayIPv6"
MAC_FITS_PREFIX_LENGTH = 80  # 48 bits are left for hosts
Pairs = tuple[tuple[str, str], ...]
"""A frozen mapping of text to text, in the order given."""


class Pool(Record):
    """One entry of a network's IPAM configuration; empty fields are chosen when the network is created."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: Pairs = ()

    @property
    def default_gateway(self) -> str:
        """By which address containers go out: the auxiliary one that libnetwork knows by its name, or else the bridge's."""
        return dict(self.aux_addresses).get(DEFAULT_GATEWAY_IPV6 if ":" in self.subnet else DEFAULT_GATEWAY_IPV4) or self.gateway


class NetworkSpec(Record):
    """What `POST /networks/create` asks for. `options` are the driver's (`com.docker.network.bridge.name` …)."""

    name: str
    driver: str = "bridge"
    scope: str = ""
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam_driver: str = "default"
    ipam_options: Pairs | None = None  # what was not given is shown as null
    pools: tuple[Pool, ...] = ()
    options: Pairs = ()
    labels: Pairs = ()
    config_only: bool = False
    config_from: str = ""


class Network(Record):
    """A network that exists. `pools` are complete (subnet and gateway chosen); `interface` is the bridge's name."""

    id: str
    name: str
    driver: str
    created_at: str
    """RFC 3339 with nanoseconds, UTC."""
    scope: str = "local"
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    ipam_driver: str = "default"
    ipam_options: Pairs | None = None  # what was not given is shown as null
    pools: tuple[Pool, ...] = ()
    options: Pairs = ()
    labels: Pairs = ()
    interface: str = ""
    icc: bool = True
    masquerade: bool = True
    mtu: int = 1500
    host_binding_ipv4: str = ""
    """Where ports are published when the request names no host address; empty: all addresses."""
    container_prefix: str = "eth"
    has_configured_subnet: bool = False
    """Whether the creator named the IPv4 subnet; only then may containers ask for addresses in it."""
    has_configured_ipv6_subnet: bool = False
    is_default: bool = False
    """One of bridge, host, none: cannot be removed, has no DNS, takes no aliases and no static addresses."""

    @property
    def ipv4(self) -> Pool | None:
        """Where containers get their IPv4 addresses; None on host and none, and where IPv4 is off."""
        return next((pool for pool in self.pools if self.enable_ipv4 and ":" not in pool.subnet), None)

    @property
    def ipv6(self) -> Pool | None:
        """Where containers get their IPv6 addresses. A pool that was named is shown even where IPv6 is off, but not used."""
        return next((pool for pool in self.pools if self.enable_ipv6 and ":" in pool.subnet), None)

    @property
    def has_ipv6_by_mac(self) -> bool:
        """Whether an IPv6 address ends with the container's MAC, as dockerd does it on the default bridge where there is room."""
        return self.is_default and self.ipv6 is not None and int(self.ipv6.subnet.split("/")[1]) <= MAC_FITS_PREFIX_LENGTH


class EndpointRequest(Record):
    """What a container asks of a network: its names there, and addresses when it wants certain ones."""

    container_name: str
    """Without the leading slash."""
    hostname: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    aliases: tuple[str, ...] = ()
    links: Pairs = ()
    """(alias, name): names of others that this container alone uses. Without effect on the default networks."""
    driver_options: Pairs = ()
    gateway_priority: int = 0


class Addresses(Record):
    """What an endpoint gets of its network's pools: of both IP versions, or of one."""

    ipv4_address: str = ""
    ipv4_prefix_length: int = 0
    ipv4_gateway: str = ""
    """Empty on an internal network, as the other gateway."""
    ipv6_address: str = ""
    ipv6_prefix_length: int = 0
    ipv6_gateway: str = ""
    mac_address: str = ""


class Endpoint(Addresses):
    """A container's place on a network. `allocate` makes it; `attach` returns it with its interfaces named."""

    id: str
    network_id: str
    network_name: str
    container_id: str
    container_name: str
    link_local_ips: tuple[str, ...] = ()
    """More addresses for the interface, of either family, that no network knows."""
    aliases: tuple[str, ...] = ()
    """As asked for; none on the default networks."""
    dns_names: tuple[str, ...] = ()
    links: Pairs = ()
    driver_options: Pairs = ()
    gateway_priority: int = 0
    host_interface: str = ""
    """The veth on the host, empty until attached."""
    interface: str = ""
    """The interface inside the container, empty until attached."""


class SocketRequest(Record):
    """A socket to be opened inside a network namespace; the fields are those of the shim's request of the same name."""

    family: int
    kind: int
    protocol: int = 0
    address: tuple[str, int] | None = None
    """An IP address and a port (0: any free one); None leaves it unbound."""
    backlog: int = 0
    """Above 0: listen."""


class Sandbox(Record):
    """A container's network namespace, seen from outside. All of it is used during a call only and stays the caller's.

    `inside(sockets, nft)` is the engine's way of working inside a namespace (a child of the zygote; the shim's
    `NetnsRequest`): it opens the sockets, then applies the nft text, in which `$port0`, `$port1` … stand for the
    ports that the sockets got, and returns the descriptors, which are this room's from then on. Any thread may call it.
    """

    container_id: str
    pid: int
    netns_fd: int
    rtnetlink_fd: int | None = None
    """A NETLINK_ROUTE socket opened inside; None: one is got by `inside`."""
    inside: Callable[[tuple[SocketRequest, ...], str], list[int]]
    dns_servers: tuple[str, ...] = ()
    """Where names go that no network knows: `--dns`; empty: the host's resolvers."""


class PortRequest(Record):
    """`-p host_ip:host_port-host_port_end:container_port/protocol`. Host port 0: one of the ephemeral ports."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    """Empty: the network's own binding address, or else all addresses of both families."""
    host_port: int = 0
    host_port_end: int = 0
    """The end of a range out of which the first free port is taken; 0: `host_port` alone."""


class PublishedPort(Record):
    """A port of a container that answers at the host. One request for all addresses gives two: 0.0.0.0 and ::."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class Restored(Record):
    """A running container's endpoint and ports, as the engine kept them over a restart of the daemon."""

    endpoint: Endpoint
    ports: tuple[PublishedPort, ...] = ()


class NetworkConfig(Record):
    """The daemon's options for networks, by dockerd's names. `bridge` "none" makes no default bridge."""

    bridge: str = "wherry0"
    bip: str = ""
    """Address with prefix length of the default bridge; empty: the first free pool."""
    fixed_cidr: str = ""
    default_gateway: str = ""
    ipv6: bool = False
    """Whether the default bridge has IPv6, with addresses out of `fixed_cidr_v6`."""
    fixed_cidr_v6: str = ""
    default_gateway_v6: str = ""
    mtu: int = 1500
    icc: bool = True
    ip_masq: bool = True
    iptables: bool = True
    """Whether the firewall is written at all."""
    ip6tables: bool = False
    """Whether it is written for IPv6 too."""
    ip_forward: bool = True
    userland_proxy: bool = True
    default_bind_address: str = ""
    """dockerd's `--ip`."""
    default_address_pools: tuple[tuple[str, int], ...] = ()
    """(base network, prefix length of each pool); empty: Docker's."""
    table: str = "wherry"
    """The firewall tables' name; a second daemon in one network namespace needs its own."""
    owner: str = ""
    """Whom the marks on bridge and tables name: the data root. Empty: the controller's state folder."""


def to_json(value: Endpoint | PublishedPort) -> dict[str, Any]:
    """A value as plain data for a JSON file."""
    return {name: _plain(field) for name, field in value.as_dict().items()}


def endpoint_from_json(data: dict[str, Any]) -> Endpoint:
    """The inverse of `to_json`; fields that a newer version wrote are dropped. Raises TypeError for a missing one."""
    return Endpoint(**_known(Endpoint, data))


def published_port_from_json(data: dict[str, Any]) -> PublishedPort:
    """The inverse of `to_json`."""
    return PublishedPort(**_known(PublishedPort, data))


def _plain(field: Any) -> Any:
    if isinstance(field, tuple):
        return [_plain(inner) for inner in field]
    return field


def _known(kind: type[Record], data: dict[str, Any]) -> dict[str, Any]:
    return {name: _frozen(value) for name, value in data.items() if name in kind._fields}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(inner) for inner in value) if isinstance(value, list) else value
