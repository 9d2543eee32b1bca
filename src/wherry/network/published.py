"""Where a published port leads: which of a container's addresses, by NAT, and by what the proxy is told. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.network.ports import ANY_IPV4, ANY_IPV6
from wherry.network.proxy import protocol
from wherry.network.ruleset import PortRule

if TYPE_CHECKING:
    from wherry.network.model import Endpoint, PublishedPort


def target(endpoint: Endpoint, port: PublishedPort) -> str:
    """The container's address: who asks by IPv6 gets to that of IPv6, where it has one."""
    by_ipv6 = (":" in port.host_ip and endpoint.ipv6_address) or not endpoint.ipv4_address
    return endpoint.ipv6_address if by_ipv6 else endpoint.ipv4_address


def nat_rule(endpoint: Endpoint, port: PublishedPort, *, loopback: bool) -> PortRule | None:
    """A port's rule, or None where the proxy alone serves it: from one IP version to the other, and loopback addresses.

    loopback: those of IPv4 are done by NAT as well. IPv6 has no way to route them.
    """
    address = target(endpoint, port)
    is_loopback = port.host_ip == "::1" or (port.host_ip.startswith("127.") and not loopback)
    if (":" in port.host_ip) != (":" in address) or is_loopback:
        return None
    return PortRule(host_ip="" if port.host_ip in (ANY_IPV4, ANY_IPV6) else port.host_ip, protocol=port.protocol,
                    host_port=port.host_port, address=address, container_port=port.container_port)


def proxy_entry(endpoint: Endpoint, port: PublishedPort, *, serve: bool) -> protocol.Port:
    """What the proxy is told."""
    return protocol.Port(owner=endpoint.id, protocol=port.protocol, address=target(endpoint, port), port=port.container_port,
                         serve=serve)
