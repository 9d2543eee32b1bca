"""Whether a container can have what it asks of a network: addresses, names, options. Pure; said at create already."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from wherry.errors import InvalidArgument, Unsupported
from wherry.network.networks import check_mac

if TYPE_CHECKING:
    from wherry.network.model import EndpointRequest, Network


def check_request(network: Network, request: EndpointRequest) -> None:
    """Raises InvalidArgument or Unsupported, in Docker's words."""
    for name, value in request.driver_options:
        if name.startswith("com.docker.network."):
            raise Unsupported(f"the endpoint option {name}={value} is not supported yet")
    if network.is_default and request.aliases:
        raise InvalidArgument("network-scoped aliases are only supported for user-defined networks")
    if request.ipv4_address or request.ipv6_address:
        if network.is_default:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if ((request.ipv4_address and not network.has_configured_subnet)
                or (request.ipv6_address and not network.has_configured_ipv6_subnet)):
            raise InvalidArgument("user specified IP address is supported only when connecting to networks with user "
                                  "configured subnets")
    for address in request.link_local_ips:
        _check_link_local(address)
    if request.mac_address:
        check_mac(request.mac_address)


def _check_link_local(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid link-local IP address: {text}") from error
