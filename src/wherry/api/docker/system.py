"""`/_ping`, `/version`, `/info`, `/auth`, `/system/df`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.docker.auth import AuthConfig
from wherry.api.docker.http import JSON, Answer, Request, Response
from wherry.api.docker.images import row_as_json
from wherry.api.docker.router import NEWEST, OLDEST, Route, spell
from wherry.api.docker.volumes import as_json as volume_as_json
from wherry.engine.filters import Filters
from wherry.engine.listing import ListRequest
from wherry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from wherry.engine.compose import Engine

DF_TYPES = ("container", "image", "volume", "build-cache")


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    system = System(engine)
    return [
        Route("GET", "/_ping", system.ping, at_once=system.pong),
        Route("HEAD", "/_ping", system.ping, at_once=system.pong),
        Route("GET", "/version", system.version),
        Route("GET", "/info", system.info),
        Route("POST", "/auth", system.auth),
        Route("GET", "/system/df", system.disk_usage),
        Route("OPTIONS", "/{anything:path}", system.options),
    ]


class System:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        headers = (("Builder-Version", "1"), ("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"),
                   ("Swarm", "inactive"))
        self.pong = Response(200, b"OK", "text/plain; charset=utf-8", headers)

    async def ping(self, request: Request) -> Answer:
        """That the daemon is there; how to speak with it is in the headers."""
        del request
        return self.pong

    async def options(self, request: Request) -> Answer:
        """Nothing, for whoever asks in advance, as dockerd answers."""
        del request
        return Response(200)

    async def version(self, request: Request) -> Answer:
        """What the daemon is."""
        del request
        shown = self._engine.info.version()
        shown["ApiVersion"], shown["MinAPIVersion"] = spell(NEWEST), spell(OLDEST)
        shown["Components"][0]["Details"] |= {"ApiVersion": spell(NEWEST), "MinAPIVersion": spell(OLDEST)}
        return Response.json(shown)

    async def info(self, request: Request) -> Answer:
        """What the daemon has, and what its machine is like."""
        shown = await self._engine.pool.run(self._engine.info.info)
        return Response.json(info_for(shown, request.version))

    async def auth(self, request: Request) -> Answer:
        """Whether a registry takes these credentials."""
        body = await request.json(AuthConfig)
        token = await self._engine.transfer.check_login(body.credentials())
        return Response.json({"Status": "Login Succeeded", "IdentityToken": token})

    async def disk_usage(self, request: Request) -> Answer:
        """What lies on the disk; `type` (from 1.42) asks for a part."""
        wanted = request.query.texts("type") if request.version >= (1, 42) else ()
        for one in wanted:
            if one not in DF_TYPES:
                raise InvalidArgument(f"unknown object type: {one}")
        engine = self._engine
        shown: dict[str, Any] = {}
        if not wanted or "image" in wanted:
            rows = await engine.images.rows(Filters(), show_all=False, shared_size=True, count_containers=True)
            shown["LayersSize"] = await engine.pool.run(engine.images.layers_size)
            shown["Images"] = [row_as_json(row, request.version) for row in rows]
        if not wanted or "container" in wanted:
            shown["Containers"] = await self._containers(request)
        if not wanted or "volume" in wanted:
            shown["Volumes"] = [
                {**volume_as_json(one), "UsageData": {"Size": await engine.volumes.size(one),
                                                      "RefCount": len(engine.volumes.users(one.name))}}
                for one in engine.volumes.rows(Filters())]
        if not wanted or "build-cache" in wanted:
            shown["BuildCache"] = None
            shown["BuilderSize"] = 0
        return Response(200, msgspec.json.encode(shown) + b"\n", JSON)

    async def _containers(self, request: Request) -> msgspec.Raw:
        """All containers with their sizes, as their own list has them."""
        engine = self._engine
        chosen = engine.listing.select(ListRequest(all=True))
        sizes = {}
        for container in chosen:
            try:
                sizes[container.id] = await engine.pool.run_long(engine.layers.size, container.id)
            except NotFound:
                continue  # removed meanwhile, or dead
        return msgspec.Raw(engine.listing.encode(chosen, request.version, time.time_ns(), sizes))


def info_for(shown: dict[str, Any], version: tuple[int, int]) -> dict[str, Any]:
    """`GET /info` as a version of the API has it, from the newest one's."""
    shown = dict(shown)
    nothing: dict[str, list[str]] = {"AllowNondistributableArtifactsCIDRs": [], "AllowNondistributableArtifactsHostnames": []}
    if version < (1, 25):
        shown["SecurityOptions"] = [one.partition(",")[0].removeprefix("name=") for one in shown["SecurityOptions"]]
        shown["ExecutionDriver"] = "<not supported>"
    if version < (1, 42):
        shown |= dict.fromkeys(("KernelMemory", "KernelMemoryTCP"), shown["CgroupVersion"] == "1")
    if version < (1, 44):
        del shown["CDISpecDirs"]
    if version < (1, 47):
        shown["RegistryConfig"] = {**nothing, **shown["RegistryConfig"]}
    if version < (1, 49):
        del shown["FirewallBackend"]
    if version >= (1, 50):
        del shown["BridgeNfIptables"], shown["BridgeNfIp6tables"]
    return shown
