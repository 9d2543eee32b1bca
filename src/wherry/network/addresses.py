"""The addresses of one endpoint, taken from its network's pools: those asked for, or free ones; of both families or of none."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from wherry.network.ipam import from_mac, mac_of
from wherry.network.model import Addresses

if TYPE_CHECKING:
    from wherry.network.ipam import AddressPool
    from wherry.network.model import EndpointRequest, Network


def take(network: Network, pools: dict[int, AddressPool], owner: str, request: EndpointRequest) -> Addresses:
    """Takes an address of each of the network's pools (by IP version). Raises what the pools raise, with nothing taken.

    The MAC is made from the address, so that who gets an address later has its MAC too. On the default bridge it is the
    other way round for IPv6, as in dockerd: the address ends with the MAC, where the subnet has room for that.
    """
    ipv4, ipv6 = network.ipv4, network.ipv6
    got = Addresses(mac_address=request.mac_address.lower().replace("-", ":"))
    with ExitStack() as undo:
        if ipv4:
            address = _take(pools[4], request.ipv4_address, owner)
            undo.callback(pools[4].give_back, address)
            got = got.replace(ipv4_address=address, ipv4_prefix_length=pools[4].subnet.prefixlen,
                              ipv4_gateway="" if network.internal else ipv4.default_gateway,
                              mac_address=got.mac_address or mac_of(address))
        if ipv6:
            subnet = pools[6].subnet
            wanted = from_mac(subnet, got.mac_address) if network.has_ipv6_by_mac else request.ipv6_address
            address = _take(pools[6], wanted, owner)
            got = got.replace(ipv6_address=address, ipv6_prefix_length=subnet.prefixlen,
                              ipv6_gateway="" if network.internal else ipv6.default_gateway,
                              mac_address=got.mac_address or mac_of(address))
        undo.pop_all()
    return got


def _take(pool: AddressPool, wanted: str, owner: str) -> str:
    return pool.take_exactly(wanted, owner) if wanted else pool.take(owner)
