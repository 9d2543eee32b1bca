"""From what `network create` asks for to a complete network: checks and choices, without touching anything.

The checks speak Docker's words; what lies beyond today is refused by its name.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any

from wherry.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unsupported
from wherry.linux.rtnetlink import mac_bytes
from wherry.network.ipam import DOCKER_POOLS, first_free_subnet, is_inside
from wherry.network.model import DEFAULT_GATEWAY_IPV4, DEFAULT_GATEWAY_IPV6, Network, Pool
from wherry.network.pools import check_inside, first_free, plan_pools

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.network.ipam import Subnet
    from wherry.network.model import NetworkConfig, NetworkSpec, Pairs

PREDEFINED = ("bridge", "host", "none")
BRIDGE_OPTION = "com.docker.network.bridge."
MTU_OPTION = "com.docker.network.driver.mtu"
PREFIX_OPTION = "com.docker.network.container_iface_prefix"

_IPV6_MIN_MTU = 1280  # RFC 8200, 5: below it the kernel has no IPv6 on a link
_NOT_YET_DRIVERS = ("macvlan", "ipvlan", "overlay")
_NO_EFFECT = {  # options whose default spelled out changes nothing
    BRIDGE_OPTION + "gateway_mode_ipv4": "nat",
    BRIDGE_OPTION + "inhibit_ipv4": "false",
    BRIDGE_OPTION + "default_bridge": "false",
}


def plan_network(
    spec: NetworkSpec,
    identifier: str,
    created_at: str,
    networks: Iterable[Network],
    host_subnets: Iterable[Subnet],
    config: NetworkConfig,
) -> Network:
    """The network that a creation makes. Raises what the API answers: InvalidArgument, Conflict, Forbidden, Unsupported.

    networks: those that exist. host_subnets: where the host's routes lead; chosen subnets keep clear of them.
    """
    networks = tuple(networks)
    _check_name(spec.name, networks)
    _check_unsupported(spec)
    _check_driver(spec)
    options = dict(spec.options)
    _check_options(options)
    interface = options.get(BRIDGE_OPTION + "name", "") or own_interface(identifier)
    _check_interface(interface, networks)
    pools = plan_pools(spec, networks, host_subnets, config)
    settings = bridge_settings(options, config)
    if spec.enable_ipv6 and settings["mtu"] < _IPV6_MIN_MTU:
        raise InvalidArgument(f"invalid value for {MTU_OPTION}: {settings['mtu']}: IPv6 needs {_IPV6_MIN_MTU} at least")
    return Network(
        id=identifier,
        name=spec.name,
        driver="bridge",
        created_at=created_at,
        internal=spec.internal,
        attachable=spec.attachable,
        enable_ipv4=spec.enable_ipv4,
        enable_ipv6=spec.enable_ipv6,
        ipam_options=spec.ipam_options,
        pools=pools,
        options=spec.options,
        labels=spec.labels,
        interface=interface,
        has_configured_subnet=any("." in entry.subnet for entry in spec.pools),
        has_configured_ipv6_subnet=any(":" in entry.subnet for entry in spec.pools),
        **settings,
    )


def own_interface(identifier: str) -> str:
    """The bridge's name where nobody gave one."""
    return f"br-{identifier[:12]}"


def bridge_settings(options: dict[str, str], config: NetworkConfig) -> dict[str, Any]:
    """The fields of `Network` that the driver's options decide."""
    return {
        "icc": _bool(options, BRIDGE_OPTION + "enable_icc", default=True),
        "masquerade": _bool(options, BRIDGE_OPTION + "enable_ip_masquerade", default=config.ip_masq),
        "mtu": _mtu(options, config.mtu),
        "host_binding_ipv4": _binding(options),
        "container_prefix": options.get(PREFIX_OPTION, "") or "eth",
    }


def default_bridge(
    config: NetworkConfig, identifier: str, created_at: str, *, present: str, kept: str, host_subnets: Iterable[Subnet]
) -> Network:
    """The network `bridge`.

    Its address is, in this order: `--bip`, what the bridge has (`present`, with prefix length), what it had last time
    (`kept`) if that is still free, the first address of the first free pool.
    """
    host_subnets = tuple(host_subnets)
    address_text = config.bip or present
    if not address_text and kept and not any(_interface_subnet(kept).overlaps(other) for other in host_subnets):
        address_text = kept
    if not address_text:
        subnet = first_free_subnet(config.default_address_pools or DOCKER_POOLS, host_subnets)
        address_text = f"{subnet.network_address + 1}/{subnet.prefixlen}"
    subnet = _interface_subnet(address_text)
    ip_range = ""
    if config.fixed_cidr:
        fixed = _interface_subnet(config.fixed_cidr)
        if not is_inside(fixed, subnet):
            raise InvalidArgument(f"--fixed-cidr {config.fixed_cidr} does not lie in the bridge's subnet {subnet}")
        ip_range = str(fixed)
    ipv4 = Pool(subnet=str(subnet), ip_range=ip_range, gateway=address_text.split("/")[0],
                aux_addresses=_default_gateway(DEFAULT_GATEWAY_IPV4, config.default_gateway, subnet))
    options = (
        (BRIDGE_OPTION + "default_bridge", "true"),
        (BRIDGE_OPTION + "enable_icc", str(config.icc).lower()),
        (BRIDGE_OPTION + "enable_ip_masquerade", str(config.ip_masq).lower()),
        (BRIDGE_OPTION + "host_binding_ipv4", config.default_bind_address or "0.0.0.0"),
        (BRIDGE_OPTION + "name", config.bridge),
        (MTU_OPTION, str(config.mtu)),
    )
    return Network(
        id=identifier,
        name="bridge",
        driver="bridge",
        created_at=created_at,
        enable_ipv6=config.ipv6,
        pools=(ipv4, *_default_ipv6(config)),
        options=options,
        interface=config.bridge,
        is_default=True,
        **bridge_settings(dict(options), config),
    )


def _default_ipv6(config: NetworkConfig) -> tuple[Pool, ...]:
    if not config.fixed_cidr_v6:
        if config.ipv6:
            raise InvalidArgument("IPv6 is enabled for the default bridge, but no subnet is configured. Specify an IPv6 subnet "
                                  "using --fixed-cidr-v6")
        return ()
    try:
        subnet = IPv6Network(config.fixed_cidr_v6, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"invalid CIDR address: {config.fixed_cidr_v6}") from error
    pool = Pool(subnet=str(subnet), aux_addresses=_default_gateway(DEFAULT_GATEWAY_IPV6, config.default_gateway_v6, subnet))
    return (pool.replace(gateway=first_free(pool)),)


def _default_gateway(name: str, address: str, subnet: Subnet) -> Pairs:
    if address:
        check_inside(address, subnet, "default gateway")
    return ((name, address),) if address else ()


def check_mac(text: str) -> None:
    """Raises InvalidArgument for what is no MAC address, or one of a group."""
    try:
        if mac_bytes(text)[0] & 1:
            raise InvalidArgument(f"invalid MAC address: {text}: it is a multicast address")
    except ValueError as error:
        raise InvalidArgument(f"{text} is not a valid mac address") from error


def find(networks: Iterable[Network], name_or_id: str) -> Network:
    """By full id, then by name, then by an unambiguous beginning of an id. Raises NotFound, InvalidArgument."""
    networks = tuple(networks)
    for network in networks:
        if network.id == name_or_id:
            return network
    named = [network for network in networks if network.name == name_or_id]
    if named:
        return named[0]
    by_prefix = [network for network in networks if name_or_id and network.id.startswith(name_or_id)]
    if len(by_prefix) > 1:
        raise InvalidArgument(f"network {name_or_id} is ambiguous ({len(by_prefix)} matches found based on ID prefix)")
    if not by_prefix:
        raise NotFound(f"network {name_or_id} not found")
    return by_prefix[0]


def _check_name(name: str, networks: tuple[Network, ...]) -> None:
    if not name.strip():
        raise InvalidArgument("invalid name: name is empty")
    if name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if any(network.name == name for network in networks):
        raise Conflict(f"network with name {name} already exists")


def _check_driver(spec: NetworkSpec) -> None:
    driver = spec.driver or "bridge"
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver in _NOT_YET_DRIVERS:
        raise Unsupported(f"the network driver {driver!r} is not supported yet")
    if driver != "bridge":
        raise NotFound(f'could not find plugin {driver} in v1 plugin registry: plugin "{driver}" not found')


def _check_unsupported(spec: NetworkSpec) -> None:
    if spec.scope == "swarm":
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if not (spec.enable_ipv4 or spec.enable_ipv6):
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    refused = {
        "ConfigOnly": spec.config_only,
        "ConfigFrom": bool(spec.config_from),
        "Ingress": spec.ingress,
        f"Scope {spec.scope}": spec.scope not in ("", "local"),
        f"IPAM driver {spec.ipam_driver}": spec.ipam_driver not in ("", "default"),
        "IPAM options": bool(spec.ipam_options),
    }
    for name, is_asked in refused.items():
        if is_asked:
            raise Unsupported(f"networks with {name} are not supported yet")


def _check_options(options: dict[str, str]) -> None:
    known = {BRIDGE_OPTION + name for name in ("name", "enable_icc", "enable_ip_masquerade", "host_binding_ipv4")}
    known |= {MTU_OPTION, PREFIX_OPTION}
    for name, value in options.items():
        if name in known or not name.startswith("com.docker.network."):
            continue  # the bridge driver does not look at labels of others
        if _NO_EFFECT.get(name) != value.lower():
            raise Unsupported(f"the network option {name}={value} is not supported yet")


def _check_interface(interface: str, networks: tuple[Network, ...]) -> None:
    if not 0 < len(interface.encode()) <= 15 or "/" in interface or interface in (".", "..") or any(map(str.isspace, interface)):
        raise InvalidArgument(f"invalid bridge name {interface!r}: 1 to 15 characters without space and slash")
    for network in networks:
        if network.interface == interface:
            raise Forbidden(f"cannot create network with bridge {interface}: conflicts with network {network.id} "
                            f"({network.name}): networks have same bridge name")


def _interface_subnet(text: str) -> Subnet:
    try:
        return IPv4Network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"invalid CIDR address: {text}") from error


def _bool(options: Pairs | dict[str, str], name: str, *, default: bool) -> bool:
    text = dict(options).get(name, "")
    if text == "":
        return default
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise InvalidArgument(f'invalid value for {name}: strconv.ParseBool: parsing "{text}": invalid syntax')


def _mtu(options: dict[str, str], default: int) -> int:
    text = options.get(MTU_OPTION, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 68 <= int(text) <= 65535:
        raise InvalidArgument(f"invalid value for {MTU_OPTION}: {text}")
    return int(text)


def _binding(options: dict[str, str]) -> str:
    text = options.get(BRIDGE_OPTION + "host_binding_ipv4", "")
    if text:
        try:
            IPv4Address(text)
        except ValueError as error:
            raise InvalidArgument(f"failed to parse host binding: {text}") from error
    return _any_is_empty(text)


def _any_is_empty(address: str) -> str:
    return "" if address == "0.0.0.0" else address
