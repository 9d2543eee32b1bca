"""The whole API over one engine: every resource's routes, in the order in which they are tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.api.docker import absent, build, containers, events, images, networks, system, volumes
from wherry.api.docker import exec as execs
from wherry.api.docker.router import Router

if TYPE_CHECKING:
    from wherry.engine.compose import Engine


def router(engine: Engine) -> Router:
    """What answers requests."""
    return Router([
        *system.routes(engine),
        *absent.routes(),  # before the routes with names that may hold slashes
        *containers.routes(engine),
        *execs.routes(engine),
        *images.routes(engine),
        *volumes.routes(engine),
        *networks.routes(engine),
        *events.routes(engine),
        *build.routes(engine),
    ])
