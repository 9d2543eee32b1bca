"""The networks of one daemon, from creation to the last packet: what libnetwork's controller is in the family.

    controller = Controller(state_folder, config, proxy)     # proxy: proxy.client.ProxyClient, or None: no proxy, no DNS
    controller.start(restored)                                # default bridge, firewall, what a crash left
    endpoint = controller.allocate(network_id, container_id, EndpointRequest(container_name="web"))
    endpoint = controller.attach(endpoint, sandbox)           # eth0 is up when this returns
    ports = controller.publish(endpoint, (PortRequest(container_port=80, host_port=8080),))
    …
    controller.unpublish(endpoint); controller.detach(endpoint); controller.release(endpoint)

Everything here is synchronous and may be called from several threads: one lock per network. No thread enters a
container's namespace: work inside goes through sockets that were opened there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.network.model import (
        Endpoint,
        EndpointRequest,
        Network,
        NetworkConfig,
        NetworkSpec,
        PortRequest,
        PublishedPort,
        Restored,
        Sandbox,
    )
    from wherry.network.proxy.client import ProxyClient


class Controller:
    """The networks and endpoints of one daemon. One per network namespace, unless bridge and table are others."""

    def __init__(self, state_folder: str, config: NetworkConfig, proxy: ProxyClient | None) -> None:
        """Reads the networks kept in `state_folder` (`<data root>/network/files`); touches nothing in the kernel yet."""
        raise NotImplementedError

    def start(self, restored: tuple[Restored, ...] = ()) -> None:
        """Makes bridges and firewall, takes the endpoints of running containers back, removes what a crash left.

        Raises Conflict when another wherryd owns the bridge or the table, Unsupported for options that are not done.
        """
        raise NotImplementedError

    def restore(self, restored: tuple[Restored, ...]) -> None:
        """Takes endpoints and ports of running containers back and removes what belongs to none. Part of `start`."""
        raise NotImplementedError

    def close(self, *, keep_running: bool) -> None:
        """Ends. `keep_running`: containers go on (live restore), so firewall and proxy stay; otherwise both are removed."""
        raise NotImplementedError

    def warnings(self) -> tuple[str, ...]:
        """What the owner of the machine should know: forwarding switched on, rules put into a foreign chain, a missing nft."""
        raise NotImplementedError

    # --- networks ---

    def create_network(self, spec: NetworkSpec) -> Network:
        """Makes a network and writes it down. Raises Conflict (name, subnet), InvalidArgument, Unsupported, Forbidden."""
        raise NotImplementedError

    def networks(self) -> tuple[Network, ...]:
        """All networks, the default ones first."""
        raise NotImplementedError

    def network(self, name_or_id: str) -> Network:
        """By full id, name or unambiguous beginning of an id. Raises NotFound (`network x not found`), InvalidArgument."""
        raise NotImplementedError

    def remove_network(self, name_or_id: str) -> Network:
        """Raises NotFound, Forbidden for a default network or one with active endpoints."""
        raise NotImplementedError

    def endpoints(self, network_id: str) -> tuple[Endpoint, ...]:
        """The endpoints on a network, for inspect's Containers map."""
        raise NotImplementedError

    # --- a container's life on a network ---

    def check(self, network_id: str, request: EndpointRequest) -> None:
        """Whether `allocate` could be asked for this, for `create`. Raises InvalidArgument or Unsupported in Docker's words."""
        raise NotImplementedError

    def allocate(self, network_id: str, container_id: str, request: EndpointRequest) -> Endpoint:
        """Addresses, MAC and names; nothing in the kernel. On host and none an endpoint without addresses.

        Raises InvalidArgument, Conflict (`Address already in use`, already connected), Unavailable (no address left).
        """
        raise NotImplementedError

    def attach(self, endpoint: Endpoint, sandbox: Sandbox, interface: str = "") -> Endpoint:
        """Makes the interface inside the container, up with address and routes; the endpoint with its interfaces' names.

        Without a name the next free ethN is taken. The default route goes by the container's endpoint of highest
        priority, then the first by network name. On a user-defined network the container's DNS is set up too.
        """
        raise NotImplementedError

    def detach(self, endpoint: Endpoint, *, ended: bool = False) -> None:
        """Takes the interface away. `ended`: the init has exited and the namespace dies by itself. Never raises for what is gone."""
        raise NotImplementedError

    def release(self, endpoint: Endpoint) -> None:
        """Gives the addresses back (they rest before others get them). Idempotent."""
        raise NotImplementedError

    def rename(self, container_id: str, container_name: str) -> None:
        """A running container got another name: DNS and inspect follow."""
        raise NotImplementedError

    # --- ports ---

    def publish(self, endpoint: Endpoint, requests: tuple[PortRequest, ...]) -> tuple[PublishedPort, ...]:
        """Makes ports answer at the host, all or none. Raises Conflict (`… port is already allocated`), Unavailable, Unsupported."""
        raise NotImplementedError

    def unpublish(self, endpoint: Endpoint) -> None:
        """Takes all ports of an endpoint back. Idempotent."""
        raise NotImplementedError
