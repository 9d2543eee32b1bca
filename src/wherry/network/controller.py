"""The networks of one daemon, from creation to the last packet: what libnetwork's controller is in the family.

    controller = Controller(state_folder, config, proxy)     # proxy: proxy.client.ProxyClient, or None: no proxy, no DNS
    controller.start(restored)                               # default bridge, firewall, what a crash left
    endpoint = controller.allocate(network_id, container_id, EndpointRequest(container_name="web"))
    endpoint = controller.attach(endpoint, sandbox)          # eth0 is up when this returns
    ports = controller.publish(endpoint, (PortRequest(container_port=80, host_port=8080),))
    …
    controller.unpublish(endpoint); controller.detach(endpoint); controller.release(endpoint)

Everything here is synchronous and may be called from several threads. No thread enters a container's namespace: work inside
goes through sockets that were opened there. Locks, in the order in which they may be taken: the one of creating and removing
networks, the one of the tables in memory; those of links, ports, firewall and proxy are theirs, held for one conversation.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from threading import Lock
from typing import TYPE_CHECKING

from wherry.errors import Conflict, Forbidden, InvalidArgument, Unavailable
from wherry.network import host, networks, pools, ruleset
from wherry.network.asked import check_request
from wherry.network.book import Book
from wherry.network.firewall import Firewall
from wherry.network.gateways import default_routes
from wherry.network.ipam import mac_of
from wherry.network.links import Links
from wherry.network.model import Endpoint, Network, PublishedPort
from wherry.network.names import Directory, View
from wherry.network.places import Places
from wherry.network.ports import ANY_IPV4, Ports, PortUnavailable
from wherry.network.proxy.single import listen
from wherry.network.published import nat_rule, proxy_entry
from wherry.network.tenure import Tenure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from wherry.network.model import EndpointRequest, NetworkConfig, NetworkSpec, PortRequest, Restored, Sandbox
    from wherry.network.ports import Claim
    from wherry.network.proxy.client import ProxyClient

    SandboxOpener = Callable[[str], AbstractContextManager[Sandbox | None]]

NO_BRIDGE = "none"
_FORWARDS = ("{} was off and has been switched on (--ip-forward): this host now forwards packets between all of its "
             "networks")
PORTS_AT_ONCE = 64  # how many requests' sockets are open here at one time


class Controller:
    """The networks and endpoints of one daemon. One per network namespace, unless bridge and table are others."""

    def __init__(self, state_folder: str, config: NetworkConfig, proxy: ProxyClient | None) -> None:
        """Reads the networks kept in `state_folder` (`<data root>/network/files`); touches nothing in the kernel yet."""
        self._config = config
        self._proxy = proxy
        self._owner = config.owner or state_folder
        self._book = Book(state_folder)
        self._creating = Lock()
        self._networks: tuple[Network, ...] = self._book.read()
        self._tenure = Tenure()
        self._places = Places()
        self._firewall = Firewall(config, self._owner)
        self._links: Links | None = None
        self._serves_loopback_by_nat = not config.userland_proxy
        self._ports = Ports(host.ephemeral_ports, serves_ipv6=config.userland_proxy and proxy is not None and host.has_ipv6())
        self._directory = Directory(proxy)
        self._notes: tuple[str, ...] = ()
        self.open_sandbox: SandboxOpener | None = None
        """How the engine opens a running container's sandbox again: needed for the default route when a container leaves a
        network, and for DNS when the proxy had to be started anew. None as its value: the container has ended."""
        if proxy:
            proxy.on_new = self._tell_new_proxy

    def start(self, restored: tuple[Restored, ...] = ()) -> None:
        """Makes bridges and firewall, takes the endpoints of running containers back, removes what a crash left.

        Raises Conflict when another wherryd owns the bridge or the table, Unsupported for options that are not done.
        """
        if self._config.iptables:
            self._tenure.claim("firewall table", self._config.table)
        if self.has_bridge:
            self._tenure.claim("bridge", self._config.bridge)
        self._links = Links(self._owner)
        self._firewall.open(self._links.is_used)
        if self._proxy:
            self._proxy.prepare()
        if self._config.ip_forward and host.turn_on_forwarding():
            self._note(_FORWARDS.format("net.ipv4.ip_forward"))
        with self._creating:
            self._set_defaults()
            for network in self._bridged():
                self._forward_ipv6(network)
                self._links.ensure_bridge(network, loopback=self._serves_loopback_by_nat)
                self._places.open(network, pools.address_pools(network, time.monotonic))
        self.restore(restored)

    def restore(self, restored: tuple[Restored, ...]) -> None:
        """Takes endpoints and ports of running containers back and removes what belongs to none. Part of `start`."""
        known = {network.id for network in self._networks}
        for entry in restored:
            if entry.endpoint.network_id not in known:
                self._note(f"the network {entry.endpoint.network_name} of the running container {entry.endpoint.container_name} "
                           "is not known any more")
        restored = tuple(entry for entry in restored if entry.endpoint.network_id in known)
        for entry in restored:
            self._places.put_back(entry.endpoint)
            for port in entry.ports:
                self._ports.mark(entry.endpoint.id, port)
                self._places.add_ports(entry.endpoint, (port,))
        self._host_links().remove_strays(
            (network.interface for network in self._bridged()),
            (entry.endpoint.host_interface for entry in restored))
        self._firewall.set(self._bridge_rules(), self._places.port_rules(self._rule))
        if self._proxy:
            self._sync_proxy(restored)

    def close(self, *, keep_running: bool) -> None:
        """Ends. `keep_running`: containers go on (live restore), so firewall and proxy stay; otherwise both are removed."""
        if not keep_running:
            self._firewall.remove()
            if self._proxy:
                self._proxy.stop()
        elif self._proxy:
            self._proxy.close()
        self._firewall.close()
        if self._links:
            self._links.close()
        self._tenure.close()

    def warnings(self) -> tuple[str, ...]:
        """What the owner of the machine should know: forwarding switched on, rules put into a foreign chain, a missing nft."""
        return self._notes + self._firewall.warnings()

    # --- networks ---

    def create_network(self, spec: NetworkSpec) -> Network:
        """Makes a network and writes it down. Raises Conflict (name, subnet), InvalidArgument, Unsupported, Forbidden."""
        links = self._host_links()
        with self._creating, contextlib.ExitStack() as undo:
            network = networks.plan_network(
                spec, secrets.token_hex(32), _now(), self._networks, links.host_subnets(), self._config)
            addresses = pools.address_pools(network, time.monotonic)
            self._forward_ipv6(network)
            if links.ensure_bridge(network, loopback=self._serves_loopback_by_nat):
                undo.callback(links.remove_bridge, network.interface)
            self._places.open(network, addresses)
            undo.callback(self._places.close, network.id)
            before = self._networks
            self._networks = (*before, network)
            undo.callback(self._take_back, before)
            self._firewall.set(self._bridge_rules())
            self._book.write(self._networks)
            undo.pop_all()
        return network

    def networks(self) -> tuple[Network, ...]:
        """All networks, the default ones first."""
        return self._networks

    @property
    def has_bridge(self) -> bool:
        """Whether there is a default bridge."""
        return self._config.bridge != NO_BRIDGE

    def network(self, name_or_id: str) -> Network:
        """By full id, name or unambiguous beginning of an id. Raises NotFound (`network x not found`), InvalidArgument."""
        return networks.find(self._networks, name_or_id)

    def remove_network(self, name_or_id: str) -> Network:
        """Raises NotFound, Forbidden for a default network or one with active endpoints."""
        with self._creating:
            network = self.network(name_or_id)
            if network.is_default:
                raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
            self._places.close(network.id)  # from here on nobody gets an address
            try:
                remaining = tuple(other for other in self._networks if other.id != network.id)
                self._book.write(remaining)
            except BaseException:
                self._places.open(network, pools.address_pools(network, time.monotonic))
                raise
            self._networks = remaining
            self._firewall.set(self._bridge_rules())
            self._host_links().remove_bridge(network.interface)
        return network

    def endpoints(self, network_id: str) -> tuple[Endpoint, ...]:
        """The endpoints on a network, for inspect's Containers map."""
        return self._places.on_network(network_id)

    # --- a container's life on a network ---

    def check(self, network_id: str, request: EndpointRequest) -> None:
        """Whether `allocate` could be asked for this, for `create`. Raises InvalidArgument or Unsupported in Docker's words."""
        check_request(self.network(network_id), request)

    def allocate(self, network_id: str, container_id: str, request: EndpointRequest) -> Endpoint:
        """Addresses, MAC and names; nothing in the kernel. On host and none an endpoint without addresses.

        Raises InvalidArgument, Forbidden (`Address already in use`, `endpoint with name … already exists in
        network …`), Unavailable (no address left), NotFound.
        """
        network = self.network(network_id)
        check_request(network, request)
        return self._places.allocate(network, container_id, request)

    def attach(self, endpoint: Endpoint, sandbox: Sandbox, interface: str = "") -> Endpoint:
        """Makes the interface inside the container, up with address and routes; the endpoint with its interfaces' names.

        Without a name the next free ethN is taken. The default route goes by the container's endpoint of highest
        priority, then the first by network name, for each IP version. On a user-defined network the container's DNS is
        set up too.
        Raises OSError, NotFound.
        """
        network = self.network(endpoint.network_id)
        if network.driver != "bridge":
            return endpoint
        others = self._places.attached(endpoint.container_id)
        gateways = [gateway for one, gateway in default_routes((*others, endpoint)) if one.id == endpoint.id]
        name = interface or _free_name(network.container_prefix, {other.interface for other in others})
        links = self._host_links()
        self._firewall.mend()
        attached = links.attach(network, endpoint, sandbox, name, is_first=not others, gateways=gateways)
        try:
            self._places.update(attached)
            if not network.is_default:
                self._directory.join(attached, sandbox, self._visible(endpoint.container_id))
        except BaseException:
            self._places.update(endpoint)
            links.delete(attached.host_interface)
            raise
        return attached

    def detach(self, endpoint: Endpoint, *, ended: bool = False) -> None:
        """Takes the interface away; what is gone already is no error.

        `ended`: the init has exited and the namespace dies by itself, so the port is only taken off the wire.
        """
        current = self._places.get(endpoint.id)
        if current is None or not current.host_interface:
            return
        self._places.update(current.replace(host_interface="", interface=""))
        links = self._host_links()
        network = self.network(current.network_id)
        rest = self._places.attached(current.container_id)
        if ended:
            links.down(current.host_interface)
        else:
            links.delete(current.host_interface)
            routes = [(one.interface, gateway) for one, gateway in default_routes(rest)]
            with self._sandbox(current.container_id) as sandbox:
                if routes and sandbox:
                    links.route(routes, sandbox)
        for address in filter(None, (current.ipv4_address, current.ipv6_address)):
            if current.mac_address != mac_of(address):  # the next one that has the address has another MAC
                links.forget_neighbour(network, address)
        if not network.is_default:
            self._directory.leave(current, self._visible(current.container_id), ended=ended)
        if not rest:
            self._directory.close(current.container_id)

    def release(self, endpoint: Endpoint) -> None:
        """Gives the addresses back (they rest before others get them). Idempotent."""
        self._places.release(endpoint.id)

    def rename(self, container_id: str, container_name: str) -> None:
        """A running container got another name: DNS and inspect follow."""
        for endpoint in self._places.rename(container_id, container_name):
            if endpoint.host_interface and not self.network(endpoint.network_id).is_default:
                self._directory.put(endpoint)

    # --- ports ---

    def publish(self, endpoint: Endpoint, requests: tuple[PortRequest, ...]) -> tuple[PublishedPort, ...]:
        """Makes ports answer at the host, all or none; once in an endpoint's life.

        Raises PortUnavailable (an Internal), InvalidArgument, Unsupported, Conflict for an endpoint that has ports already.
        """
        network = self.network(endpoint.network_id)
        if not requests or network.internal or network.driver != "bridge":
            return ()
        if self._ports.of(endpoint.id):
            raise Conflict(f"endpoint {endpoint.container_name} in network {network.name} has its ports published already")
        default = network.host_binding_ipv4 or self._config.default_bind_address
        default = "" if default == ANY_IPV4 else default
        published: list[PublishedPort] = []
        try:
            for start in range(0, len(requests), PORTS_AT_ONCE):
                published += self._hold(endpoint, requests[start : start + PORTS_AT_ONCE], default)
            self._firewall.add_ports(self._rules(endpoint, published))
            self._places.add_ports(endpoint, tuple(published))
        except BaseException as error:
            self._firewall.delete_ports(self._rules(endpoint, published))
            self._places.close_sockets(endpoint.id)
            if self._proxy:
                with contextlib.suppress(Unavailable):
                    self._proxy.close_ports((endpoint.id,))
            self._ports.release(endpoint.id)
            if isinstance(error, (PortUnavailable, OSError)):
                raise PortUnavailable("driver failed programming external connectivity on endpoint "
                                      f"{endpoint.container_name} ({endpoint.id}): {error}") from error
            raise
        return tuple(published)

    def unpublish(self, endpoint: Endpoint) -> None:
        """Takes all ports of an endpoint back. Idempotent."""
        gone = self._ports.of(endpoint.id)
        self._places.take_ports(endpoint.id)
        if not gone:
            return
        self._firewall.delete_ports(self._rules(endpoint, gone))
        if self._proxy:
            self._proxy.close_ports((endpoint.id,))
        self._places.close_sockets(endpoint.id)
        self._ports.release(endpoint.id)  # last: until here nobody else may try to bind them

    # --- inside ---

    def _host_links(self) -> Links:
        if self._links is None:
            raise InvalidArgument("the network controller has not been started")
        return self._links

    def _bridged(self) -> tuple[Network, ...]:
        return tuple(network for network in self._networks if network.driver == "bridge")

    def _bridge_rules(self) -> tuple[ruleset.BridgeRules, ...]:
        return tuple(
            ruleset.BridgeRules(interface=network.interface, subnet=pool.subnet, masquerade=network.masquerade,
                                internal=network.internal, icc=network.icc)
            for network in self._bridged() for pool in (network.ipv4, network.ipv6) if pool)

    def _forward_ipv6(self, network: Network) -> None:
        if network.ipv6 and self._config.ip_forward and host.turn_on_ipv6_forwarding():
            self._note(_FORWARDS.format("net.ipv6.conf.all.forwarding"))

    def _set_defaults(self) -> None:
        """The networks bridge, host and none: as kept, or new; the bridge's address is decided anew at each start."""
        kept = {network.name: network for network in self._networks if network.is_default}
        user = tuple(network for network in self._networks if not network.is_default)
        found = []
        if self.has_bridge:
            before = kept.get("bridge")
            links = self._host_links()
            taken = (*links.host_subnets(self._config.bridge), *pools.subnets(user))
            pool = before.ipv4 if before else None
            found.append(networks.default_bridge(
                self._config,
                before.id if before else secrets.token_hex(32),
                before.created_at if before else _now(),
                present=links.address_of(self._config.bridge),
                kept=pools.interface_address(pool) if pool else "",
                host_subnets=taken,
            ))
        for name, driver in (("host", "host"), ("none", "null")):
            found.append(kept.get(name) or Network(id=secrets.token_hex(32), name=name, driver=driver, created_at=_now(),
                                                   is_default=True))
        wanted = (*found, *user)
        if wanted != self._networks:
            self._book.write(wanted)
            self._networks = wanted

    def _take_back(self, before: tuple[Network, ...]) -> None:
        self._networks = before
        self._firewall.set(self._bridge_rules())

    def _rule(self, endpoint: Endpoint, port: PublishedPort) -> ruleset.PortRule | None:
        return nat_rule(endpoint, port, loopback=self._serves_loopback_by_nat)

    def _rules(self, endpoint: Endpoint, ports: Iterable[PublishedPort]) -> tuple[ruleset.PortRule, ...]:
        return tuple(rule for rule in (self._rule(endpoint, port) for port in ports) if rule)

    def _hold(self, endpoint: Endpoint, requests: tuple[PortRequest, ...], default: str) -> list[PublishedPort]:
        """Claims ports and gives their sockets to the proxy, or keeps them where there is none."""
        claims: list[Claim] = []
        try:
            for request in requests:
                claims += self._ports.claim(endpoint.id, request, default)
            held = [(claim.port, claim.socket.fileno()) for claim in claims if claim.socket]
            if self._proxy:
                self._proxy.ports((proxy_entry(endpoint, port, serve=self._config.userland_proxy) for port, _ in held),
                                  (fd for _, fd in held))
            else:
                self._places.keep_sockets(endpoint.id, tuple(os.dup(fd) for _, fd in held))
        finally:
            for claim in claims:
                if claim.socket:
                    claim.socket.close()  # the proxy, or the table of places, has a copy
        return [claim.port for claim in claims]

    def _visible(self, container_id: str) -> tuple[View, ...]:
        """The user-defined networks on which a container is attached: whose names it may ask for."""
        found = (View(network=self.network(one.network_id), links=one.links) for one in self._places.attached(container_id))
        return tuple(view for view in found if not view.network.is_default)

    def _sync_proxy(self, restored: tuple[Restored, ...]) -> None:
        """Makes a proxy that ran on over our restart forget what has gone, and learn what it lacks."""
        assert self._proxy
        if not restored and not self._proxy.is_there():
            return  # it is being started, and has nothing to forget
        known = self._proxy.list()
        endpoints = {entry.endpoint.id for entry in restored}
        containers = {entry.endpoint.container_id for entry in restored}
        self._proxy.close_ports(owner for owner in known["owners"] if owner not in endpoints)
        self._proxy.close_dns(container for container in known["containers"] if container not in containers)
        self._proxy.names(remove=((network, endpoint) for network, endpoint in known["names"] if endpoint not in endpoints))
        for container in known["containers"]:
            if container in containers and not self._visible(container):
                self._directory.known(container)
        for entry in restored:
            if entry.endpoint.host_interface and not self.network(entry.endpoint.network_id).is_default:
                self._directory.put(entry.endpoint)
            if entry.ports and entry.endpoint.id not in known["owners"]:
                self._bind_again(entry.endpoint, entry.ports)

    def _tell_new_proxy(self) -> None:
        """The proxy died and a new one knows nothing: bind all ports anew, give it all names, set up each container's DNS."""
        for endpoint, ports in self._places.published():
            self._bind_again(endpoint, ports)
        named = [one for one in self._places.all_attached() if not self.network(one.network_id).is_default]
        for endpoint in named:
            self._directory.put(endpoint)
        for container_id in {endpoint.container_id for endpoint in named}:
            with self._sandbox(container_id) as sandbox:
                if sandbox:
                    self._directory.serve(sandbox, self._visible(container_id))

    def _bind_again(self, endpoint: Endpoint, ports: tuple[PublishedPort, ...]) -> None:
        assert self._proxy
        for port in ports:
            if port.protocol == "sctp":
                continue
            try:
                sock = listen(port.protocol, port.host_ip, port.host_port)
            except OSError as error:
                self._note(f"port {port.host_port}/{port.protocol} of {endpoint.container_name} cannot be bound again at "
                           f"{port.host_ip}: {error.strerror}; it answers by NAT only")
                continue
            try:
                self._proxy.ports((proxy_entry(endpoint, port, serve=self._config.userland_proxy),), (sock.fileno(),))
            finally:
                sock.close()

    def _sandbox(self, container_id: str) -> AbstractContextManager[Sandbox | None]:
        return self.open_sandbox(container_id) if self.open_sandbox else contextlib.nullcontext()

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes = (*self._notes, text)


def _free_name(prefix: str, taken: set[str]) -> str:
    return next(f"{prefix}{number}" for number in range(len(taken) + 1) if f"{prefix}{number}" not in taken)


def _now() -> str:
    now_ns = time.time_ns()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_ns // 10**9))
    return f"{seconds}.{now_ns % 10**9:09d}".rstrip("0").rstrip(".") + "Z"

