"""`/networks/…`."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.docker.http import Answer, Request, Response
from wherry.api.docker.router import Route
from wherry.engine.model import Model, NetworkConnectRequest, NetworkDisconnectRequest, StringMap
from wherry.errors import NotFound
from wherry.network.model import NetworkSpec, Pool

if TYPE_CHECKING:
    from wherry.api.docker.http import Version
    from wherry.engine.compose import Engine


class IPAMConfig(Model, frozen=True):
    """A subnet of a network."""

    subnet: str = ""
    ip_range: str = msgspec.field(default="", name="IPRange")
    gateway: str = ""
    auxiliary_addresses: StringMap = None


class IPAM(Model, frozen=True):
    """How a network's addresses are given out."""

    driver: str = ""
    options: StringMap = None
    config: tuple[IPAMConfig, ...] | None = None


class ConfigReference(Model, frozen=True):
    """Another network whose configuration is taken."""

    network: str = ""


class CreateRequest(Model, frozen=True):
    """The body of `POST /networks/create`."""

    name: str = ""
    check_duplicate: bool = False
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = msgspec.field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = msgspec.field(default=None, name="EnableIPv6")
    ipam: IPAM | None = msgspec.field(default=None, name="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: StringMap = None
    labels: StringMap = None

    def spec(self, version: Version) -> NetworkSpec:
        """As the network room takes it.

        Before 1.44 bits of a subnet that stand for hosts were passed over; before 1.48 all networks had IPv4.
        """
        ipam = self.ipam or IPAM()
        subnet = _without_host_bits if version < (1, 44) else str
        pools = tuple(Pool(subnet=subnet(one.subnet), ip_range=one.ip_range, gateway=one.gateway,
                           aux_addresses=tuple((one.auxiliary_addresses or {}).items())) for one in ipam.config or ())
        return NetworkSpec(
            name=self.name, driver=self.driver or "bridge", scope=self.scope, internal=self.internal,
            attachable=self.attachable, ingress=self.ingress, enable_ipv4=self.enable_ipv4 is not False or version < (1, 48),
            enable_ipv6=bool(self.enable_ipv6), ipam_driver=ipam.driver or "default",
            ipam_options=None if ipam.options is None else tuple(ipam.options.items()), pools=pools,
            options=tuple((self.options or {}).items()),
            labels=tuple((self.labels or {}).items()), config_only=self.config_only,
            config_from=self.config_from.network if self.config_from else "")


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    networks = Networks(engine)
    return [
        Route("GET", "/networks", networks.list),
        Route("GET", "/networks/", networks.list),
        Route("GET", "/networks/{id}", networks.inspect),
        Route("POST", "/networks/create", networks.create),
        Route("POST", "/networks/prune", networks.prune),
        Route("POST", "/networks/{id}/connect", networks.connect),
        Route("POST", "/networks/{id}/disconnect", networks.disconnect),
        Route("DELETE", "/networks/{id}", networks.remove),
    ]


class Networks:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: Request) -> Answer:
        """All networks; before 1.28 with the containers on them."""
        networks = self._engine.networks
        with_containers = request.version < (1, 28)
        return Response.json([resource_for(networks.as_json(one, with_containers=with_containers), request.version)
                              for one in networks.rows(request.query.filters())])

    async def inspect(self, request: Request) -> Answer:
        """One network, with the containers on it."""
        networks = self._engine.networks
        network = networks.get(request.parameters["id"])
        if (scope := request.query.text("scope")) and scope != network.scope:
            raise NotFound(f"network {request.parameters['id']} not found")
        return Response.json(resource_for(networks.as_json(network, with_containers=True), request.version))

    async def create(self, request: Request) -> Answer:
        """Makes one."""
        network = await self._engine.networks.create((await request.json(CreateRequest)).spec(request.version))
        return Response.json({"Id": network.id, "Warning": ""}, 201)

    async def remove(self, request: Request) -> Answer:
        """Removes one that nobody is on."""
        await self._engine.networks.remove(request.parameters["id"])
        return Response(204)

    async def connect(self, request: Request) -> Answer:
        """Puts a container on a network, while it runs or for its next start."""
        body = await request.json(NetworkConnectRequest)
        await self._engine.memberships.connect(body.container, request.parameters["id"], body.endpoint_config)
        return Response(200)

    async def disconnect(self, request: Request) -> Answer:
        """Takes a container off a network."""
        body = await request.json(NetworkDisconnectRequest)
        await self._engine.memberships.disconnect(body.container, request.parameters["id"], force=body.force)
        return Response(200)

    async def prune(self, request: Request) -> Answer:
        """Removes those that no container is on."""
        return Response.json({"NetworksDeleted": await self._engine.networks.prune(request.query.filters()) or None})


def _without_host_bits(subnet: str) -> str:
    _, slash, length = subnet.partition("/")
    try:
        return f"{ip_network(subnet, strict=False).network_address}{slash}{length}"
    except ValueError:
        return subnet  # the network room says what is wrong


def resource_for(shown: dict[str, Any], version: Version) -> dict[str, Any]:
    """A network as a version of the API has it, from the newest one's."""
    if version < (1, 48):
        shown = {name: value for name, value in shown.items() if name != "EnableIPv4"}
        shown["IPAM"] = {**shown["IPAM"], "Config": shown["IPAM"]["Config"] or []}
    return shown
