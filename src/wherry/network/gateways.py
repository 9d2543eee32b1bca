"""By which of its networks a container goes out: one for each IP version. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.network.model import Endpoint


def default_routes(endpoints: Iterable[Endpoint]) -> tuple[tuple[Endpoint, str], ...]:
    """The endpoints that give the default routes, each with the gateway: of highest priority, then first by network name."""
    ranked = sorted(endpoints, key=lambda one: (-one.gateway_priority, one.network_name))
    by_ipv4 = ((one, one.ipv4_gateway) for one in ranked if one.ipv4_gateway)
    by_ipv6 = ((one, one.ipv6_gateway) for one in ranked if one.ipv6_gateway)
    return tuple(found for found in (next(by_ipv4, None), next(by_ipv6, None)) if found)
