"""What this engine does not have, refused by name: Swarm and its kin, plugins, sessions.

Where dockerd itself has an answer for a node outside a swarm or without plugins, it is that answer; else 501.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.api.docker.http import Answer, Request, Response
from wherry.api.docker.router import Route
from wherry.errors import NotFound, Unavailable, Unsupported

if TYPE_CHECKING:
    from wherry.api.docker.http import Handler

NO_MANAGER = ('This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
              "and try again.")

# Everything that a manager of a swarm would do; on any other node dockerd answers 503.
MANAGER_ROUTES = (
    "GET /swarm", "POST /swarm/update", "GET /swarm/unlockkey",
    "GET /nodes", "GET /nodes/{id}", "DELETE /nodes/{id}", "POST /nodes/{id}/update",
    "GET /services", "POST /services/create", "GET /services/{id}", "DELETE /services/{id}", "POST /services/{id}/update",
    "GET /services/{id}/logs",
    "GET /tasks", "GET /tasks/{id}", "GET /tasks/{id}/logs",
    "GET /secrets", "POST /secrets/create", "GET /secrets/{id}", "DELETE /secrets/{id}", "POST /secrets/{id}/update",
    "GET /configs", "POST /configs/create", "GET /configs/{id}", "DELETE /configs/{id}", "POST /configs/{id}/update",
)
PLUGIN_ROUTES = ("DELETE /plugins/{name:path}", "POST /plugins/{name:path}/enable", "POST /plugins/{name:path}/disable",
                 "POST /plugins/{name:path}/push", "POST /plugins/{name:path}/set", "POST /plugins/{name:path}/upgrade")


def routes() -> list[Route]:
    """The routes of everything that is absent."""
    return [
        *(_route(one, _no_manager) for one in MANAGER_ROUTES),
        Route("POST", "/swarm/init", _unsupported("swarm mode")),
        Route("POST", "/swarm/join", _unsupported("swarm mode")),
        Route("POST", "/swarm/leave", _not_in_a_swarm),
        Route("POST", "/swarm/unlock", _no_manager),
        Route("GET", "/plugins", _no_plugins),
        Route("GET", "/plugins/privileges", _unsupported("managed plugins")),
        Route("POST", "/plugins/pull", _unsupported("managed plugins")),
        Route("POST", "/plugins/create", _unsupported("managed plugins")),
        Route("GET", "/plugins/{name:path}/json", _no_such_plugin),
        *(_route(one, _no_such_plugin) for one in PLUGIN_ROUTES),
        Route("POST", "/session", _unsupported("BuildKit sessions (POST /session)")),
        Route("POST", "/grpc", _unsupported("BuildKit's gRPC (POST /grpc)")),
        Route("POST", "/build/cancel", _unsupported("BuildKit (POST /build/cancel)")),
        Route("GET", "/images/{name:path}/attestations", _unsupported("attestations of images")),
        Route("GET", "/containers/{id:path}/checkpoints", _unsupported("checkpoints of containers")),
        Route("POST", "/containers/{id:path}/checkpoints", _unsupported("checkpoints of containers")),
        Route("DELETE", "/containers/{id:path}/checkpoints/{checkpoint}", _unsupported("checkpoints of containers")),
    ]


def _route(text: str, handler: Handler) -> Route:
    method, pattern = text.split(" ")
    return Route(method, pattern, handler)


async def _no_manager(_request: Request) -> Answer:
    raise Unavailable(NO_MANAGER)


async def _not_in_a_swarm(_request: Request) -> Answer:
    raise Unavailable("This node is not part of a swarm")


async def _no_plugins(request: Request) -> Answer:
    request.query.filters().check(("capability", "enabled"))
    return Response.json([])


async def _no_such_plugin(request: Request) -> Answer:
    raise NotFound(f"plugin \"{request.parameters['name']}\" not found")


def _unsupported(what: str) -> Handler:
    async def handler(request: Request) -> Answer:
        raise Unsupported(f"{what} not supported: {request.method} {request.path}" if "POST" not in what
                          else f"{what} not supported")

    return handler
