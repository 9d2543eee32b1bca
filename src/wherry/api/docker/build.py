"""`/build` and `/build/prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.api.docker.http import Answer, Request, Response
from wherry.api.docker.router import Route
from wherry.errors import Unsupported

if TYPE_CHECKING:
    from wherry.engine.compose import Engine


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    del engine
    return [
        Route("POST", "/build", build),
        Route("POST", "/build/prune", prune),
    ]


async def build(_request: Request) -> Answer:
    """Building images is not done yet."""
    raise Unsupported("build is not supported yet")


async def prune(_request: Request) -> Answer:
    """There is no build cache beside the images themselves."""
    return Response.json({"CachesDeleted": None, "SpaceReclaimed": 0})
