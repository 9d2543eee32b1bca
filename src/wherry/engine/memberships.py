"""Putting an existing container on a network, or taking it off: `docker network connect` and `disconnect`.

A container that does not run only has it written down, for its next start. A running one gets or loses an interface at
once; the record is written after the kernel was told, so that a crash between the two is mended by the next end or start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine.connections import (
    Connected,
    check_addresses,
    connected_record,
    endpoint_record,
    request,
    write_state,
)
from wherry.engine.model import EndpointSettings
from wherry.errors import Conflict, Forbidden, Internal, InvalidArgument, NotFound

if TYPE_CHECKING:
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.namefiles import NameFiles
    from wherry.engine.pool import Pool
    from wherry.engine.records import EndpointRecord, Record, Records
    from wherry.network.controller import Controller
    from wherry.network.model import Network

_HOST = "container cannot be disconnected from host network or connected to host network"
_SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
_NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"


class Memberships:
    """Changes which networks a container is on."""

    def __init__(self, *, pool: Pool, events: Events, containers: Containers, records: Records, connections: Connections,
                 controller: Controller, names: NameFiles) -> None:
        self._pool = pool
        self._events = events
        self._containers = containers
        self._records = records
        self._connections = connections
        self._controller = controller
        self._names = names

    async def connect(self, container_reference: str, network_reference: str, settings: EndpointSettings | None) -> None:
        """Raises NotFound, Conflict, Forbidden (it is on that network), InvalidArgument, Unsupported, Unavailable."""
        container = self._containers.find(container_reference)
        async with container.lock:
            if container.state.status in ("removing", "dead"):
                raise Conflict(f"Container {container.id} is marked for removal and cannot be connected or disconnected to the "
                               "network")
            network = self._network_for(container, network_reference)
            networks = container.record.network_settings.networks or {}
            wanted = endpoint_record(settings or EndpointSettings())
            if network is None:  # it may be there by the time of the start, which says so otherwise
                await self._write(container, {**networks, network_reference: wanted})
                return
            self._check(container, network)
            wanted = replace(wanted, network_id=network.id)
            await self._pool.run(self._controller.check, network.id, request(container.record, wanted))
            check_addresses(wanted.ipam_config)
            if container.shim is not None:
                if network.id in container.endpoints:
                    raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")
                await self._join(container, network, wanted)
            else:
                await self._write(container, {**networks, network.name: wanted})
        self._tell("connect", container, network)

    async def disconnect(self, container_reference: str, network_reference: str, *, force: bool = False) -> None:
        """Raises NotFound, Conflict, InvalidArgument, and Internal for a container that is not on the network.

        `force` also takes off what is only left in a record: a container or a network that is gone is no error then.
        """
        try:
            container = self._containers.find(container_reference)
        except NotFound:
            self._controller.network(network_reference)
            if force:
                return
            raise
        async with container.lock:
            network = self._network_for(container, network_reference, force=force)
            name = network_reference if network is None else network.name
            if name == "host" or container.host.network_mode.startswith("container:"):
                raise InvalidArgument(_HOST)
            networks = dict(container.record.network_settings.networks or {})
            if networks.pop(name, None) is None:
                known = "the network" if container.shim is None or network is None else "network"
                raise Internal(f"container {container.id} is not connected to {known} {name}")
            if network is None:
                await self._write(container, networks)
                return
            endpoint = container.endpoints.get(network.id)
            if endpoint is not None:
                leaving = Connected({network.id: endpoint}, {network.id: container.ports.get(network.id, ())})
                await self._pool.run(lambda: self._connections.release(leaving, ended=False))
                container.endpoints = {key: one for key, one in container.endpoints.items() if key != network.id}
                container.ports = {key: one for key, one in container.ports.items() if key != network.id}
            await self._publish_and_write(container, networks)
        self._tell("disconnect", container, network)

    def _network_for(self, container: Container, reference: str, *, force: bool = False) -> Network | None:
        """The network; None where it is unknown and the container does not run, or never mind (`force`). Raises NotFound."""
        try:
            return self._controller.network(reference)
        except NotFound:
            if container.shim is not None and not force:
                raise
            return None

    def _check(self, container: Container, network: Network) -> None:
        networks = container.record.network_settings.networks or {}
        if container.host.network_mode.startswith("container:"):
            raise InvalidArgument(_SHARED)
        if "host" in {network.name, *networks}:
            raise InvalidArgument(_HOST)
        if networks and "none" in {network.name, *networks}:
            raise InvalidArgument(_NONE)

    async def _join(self, container: Container, network: Network, wanted: EndpointRecord) -> None:
        shim = container.require_shim()
        endpoint = await self._pool.run(self._controller.allocate, network.id, container.id,
                                        request(container.record, wanted))
        try:
            endpoint = await self._pool.run(self._connections.join, container, endpoint, shim.pid, shim.rtnetlink_fd)
        except BaseException:
            await self._pool.run(self._controller.release, endpoint)
            raise
        container.endpoints = {**container.endpoints, network.id: endpoint}
        networks = {**(container.record.network_settings.networks or {}), network.name: wanted}
        await self._publish_and_write(container, networks)

    async def _publish_and_write(self, container: Container, networks: dict[str, EndpointRecord]) -> None:
        """Has the container's ports published where it is now, when they are nowhere. It is there, even if they cannot be."""
        try:
            if container.shim is not None and not any(container.ports.values()):
                container.ports = await self._pool.run(self._connections.publish, container, container.endpoints)
        finally:
            await self._write(container, networks)

    async def _write(self, container: Container, networks: dict[str, EndpointRecord]) -> None:
        settings = replace(container.record.network_settings, networks=networks)
        record = replace(container.record, network_settings=settings)
        connected = Connected(container.endpoints, container.ports)
        if container.shim is not None:
            record = replace(record, network_settings=connected_record(record, connected, container.run_folder))
        await self._pool.run(self._keep, container, record, connected)
        container.record = record

    def _keep(self, container: Container, record: Record, connected: Connected) -> None:
        if container.shim is not None:
            write_state(container.run_folder, connected)
            self._names.refresh(container)
        self._records.write_durably(record, container.host)

    def _tell(self, action: str, container: Container, network: Network) -> None:
        self._events.publish("network", action, network.id,
                             {"container": container.id, "name": network.name, "type": network.driver})
