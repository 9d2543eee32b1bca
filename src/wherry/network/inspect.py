"""Networks and endpoints as the Docker API shows them: plain data, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.network.model import Endpoint, Network


def network_resource(network: Network, endpoints: Iterable[Endpoint] = ()) -> dict[str, Any]:
    """A network as `GET /networks/{id}` answers it (the list leaves Containers empty)."""
    containers = {
        endpoint.container_id: {
            "Name": endpoint.container_name,
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac_address,
            "IPv4Address": f"{endpoint.ipv4_address}/{endpoint.ipv4_prefix_length}" if endpoint.ipv4_address else "",
            "IPv6Address": f"{endpoint.ipv6_address}/{endpoint.ipv6_prefix_length}" if endpoint.ipv6_address else "",
        }
        for endpoint in endpoints
    }
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created_at,
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv4": network.enable_ipv4,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": None if network.ipam_options is None else dict(network.ipam_options),
            "Config": [_pool(pool) for pool in network.pools] if network.pools or not network.is_default else None,
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": containers,
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _pool(pool: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"Subnet": pool.subnet}
    if pool.ip_range:
        shown["IPRange"] = pool.ip_range
    if pool.gateway:
        shown["Gateway"] = pool.gateway
    if pool.aux_addresses:
        shown["AuxiliaryAddresses"] = dict(pool.aux_addresses)
    return shown
