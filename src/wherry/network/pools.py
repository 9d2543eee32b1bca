"""Subnets and gateways of networks: what is asked for is checked, in Docker's words, and what is left open is chosen. Pure.

A network has one pool of IPv4 and one of IPv6 at most. A pool of IPv6 that somebody named is kept and shown even where the
network has no IPv6, as in dockerd; nobody gets an address of it then.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from wherry.errors import Forbidden, InvalidArgument
from wherry.network.ipam import DOCKER_POOLS, AddressPool, check_overlap, first_free_subnet, is_inside
from wherry.network.model import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.network.ipam import Subnet
    from wherry.network.model import Network, NetworkConfig, NetworkSpec


def plan_pools(
    spec: NetworkSpec, networks: Iterable[Network], host_subnets: Iterable[Subnet], config: NetworkConfig
) -> tuple[Pool, ...]:
    """The pools of a new network, IPv4's first. Raises InvalidArgument, Forbidden, Unavailable, NotFound."""
    networks, host_subnets = tuple(networks), tuple(host_subnets)
    asked: dict[int, Pool] = {}
    for pool in spec.pools:
        if not pool.subnet and (pool.ip_range or pool.gateway or pool.aux_addresses):
            raise InvalidArgument("invalid network config: every ip-range or gateway must have a corresponding subnet")
        version = _exact_subnet(pool.subnet, "subnet").version if pool.subnet else 4
        if version in asked:
            raise Forbidden("bridge driver doesn't support multiple subnets")
        asked[version] = pool
    wanted = {4: spec.enable_ipv4, 6: spec.enable_ipv6}
    return tuple(_plan_pool(asked.get(version, Pool()), version, networks, host_subnets, config)
                 for version in (4, 6) if wanted[version] or version in asked)


def subnets(networks: Iterable[Network]) -> tuple[Subnet, ...]:
    """The subnets of networks."""
    return tuple(ip_network(pool.subnet) for network in networks for pool in network.pools)


def address_pools(network: Network, clock: Callable[[], float]) -> dict[int, AddressPool]:
    """The network's addresses by IP version, with the gateways and the auxiliary ones taken."""
    return {6 if ":" in pool.subnet else 4: _address_pool(pool, f"{network.name} ({network.id})", clock)
            for pool in (network.ipv4, network.ipv6) if pool}


def interface_address(pool: Pool) -> str:
    """The bridge's own address with its prefix length."""
    return f"{pool.gateway}/{ip_network(pool.subnet).prefixlen}"


def check_inside(address: str, subnet: Subnet, what: str) -> None:
    """Raises InvalidArgument for what is no address, or one of another subnet; `what` it was to be."""
    try:
        inside = ip_address(address) in subnet
    except ValueError as error:
        raise InvalidArgument(f"invalid network config: invalid {what} {address}: invalid address") from error
    if not inside:
        raise InvalidArgument(f"invalid network config: no matching subnet for {what} {address}")


def first_free(pool: Pool) -> str:
    """The address that a gateway gets where nobody named one."""
    return _address_pool(pool, pool.subnet, lambda: 0.0).take("")


def _plan_pool(
    asked: Pool, version: int, networks: tuple[Network, ...], host_subnets: tuple[Subnet, ...], config: NetworkConfig
) -> Pool:
    ours = subnets(networks)
    if asked.subnet:
        subnet = _exact_subnet(asked.subnet, "subnet")
        check_overlap(subnet, ours)
    else:
        subnet = first_free_subnet(config.default_address_pools or DOCKER_POOLS, (*ours, *host_subnets), version)
    if asked.ip_range and not is_inside(_exact_subnet(asked.ip_range, "ip-range"), subnet):
        raise InvalidArgument(f"invalid network config: no matching subnet for range {asked.ip_range}")
    for _, address in asked.aux_addresses:
        check_inside(address, subnet, "aux-address")
    if asked.gateway:
        check_inside(asked.gateway, subnet, "gateway")
    pool = asked.replace(subnet=str(subnet))
    return pool.replace(gateway=str(ip_address(pool.gateway)) if pool.gateway else first_free(pool))


def _address_pool(pool: Pool, label: str, clock: Callable[[], float]) -> AddressPool:
    addresses = AddressPool(ip_network(pool.subnet), ip_network(pool.ip_range) if pool.ip_range else None, clock, label)
    for address in dict.fromkeys((pool.gateway, *(address for _, address in pool.aux_addresses))):
        if address:
            addresses.take_exactly(address, "")
    return addresses


def _exact_subnet(text: str, what: str) -> Subnet:
    address, _, length = text.partition("/")
    try:
        if not length.isdecimal():
            raise ValueError("no prefix length")
        subnet = ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"invalid network config: invalid {what} {text}: invalid CIDR block notation") from error
    if subnet.network_address != ip_address(address):
        raise InvalidArgument(f"invalid network config: invalid {what} {text}: it should be {subnet}")
    return subnet
