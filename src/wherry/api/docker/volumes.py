"""`/volumes/…`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.api.docker.http import Answer, Request, Response
from wherry.api.docker.router import Route
from wherry.engine.model import Model, StringMap
from wherry.errors import Unavailable, Unsupported

if TYPE_CHECKING:
    from wherry.engine.compose import Engine
    from wherry.engine.volumes import Volume


class CreateRequest(Model, frozen=True):
    """The body of `POST /volumes/create`."""

    name: str = ""
    driver: str = ""
    driver_opts: StringMap = None
    labels: StringMap = None
    cluster_volume_spec: dict[str, str] | None = None


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    volumes = Volumes(engine)
    return [
        Route("GET", "/volumes", volumes.list),
        Route("GET", "/volumes/{name}", volumes.inspect),
        Route("POST", "/volumes/create", volumes.create),
        Route("POST", "/volumes/prune", volumes.prune),
        Route("PUT", "/volumes/{name}", volumes.update, since=(1, 42)),
        Route("DELETE", "/volumes/{name}", volumes.remove),
    ]


class Volumes:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, request: Request) -> Answer:
        """All volumes."""
        found = self._engine.volumes.rows(request.query.filters())
        return Response.json({"Volumes": [as_json(one) for one in found], "Warnings": None})

    async def inspect(self, request: Request) -> Answer:
        """One volume."""
        return Response.json(as_json(self._engine.volumes.get(request.parameters["name"])))

    async def create(self, request: Request) -> Answer:
        """Makes one, or answers with the one of that name."""
        body = await request.json(CreateRequest)
        if body.cluster_volume_spec:
            raise Unsupported("the field \"ClusterVolumeSpec\" is not supported: there are no cluster volumes")
        made = await self._engine.volumes.create(body.name, driver=body.driver, options=body.driver_opts, labels=body.labels)
        return Response.json(as_json(made), 201)

    async def update(self, _request: Request) -> Answer:
        """Only cluster volumes can be changed."""
        raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")

    async def remove(self, request: Request) -> Answer:
        """Removes one."""
        await self._engine.volumes.remove(request.parameters["name"], force=request.query.flag("force"))
        return Response(204)

    async def prune(self, request: Request) -> Answer:
        """Removes what no container names; from 1.42 on those with a name only with the filter `all`."""
        removed, won = await self._engine.volumes.prune(request.query.filters(), anonymous_only=request.version >= (1, 42))
        return Response.json({"VolumesDeleted": removed, "SpaceReclaimed": won})


def as_json(volume: Volume) -> dict[str, Any]:
    """A volume as the API shows it."""
    return {
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    }
