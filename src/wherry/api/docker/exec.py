"""`/exec/…` and `/containers/{id}/exec`: further processes in running containers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from wherry.api.docker.containers import required_integer
from wherry.api.docker.http import Answer, Hijack, Request, Response, stream_content_type
from wherry.api.docker.router import Route
from wherry.engine.model import ExecRequest, ExecStartRequest
from wherry.errors import InvalidArgument, WherryError

if TYPE_CHECKING:
    from wherry.api.docker.http import Upgraded
    from wherry.engine.compose import Engine

log = logging.getLogger(__name__)


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    one = Execs(engine)
    return [
        Route("POST", "/containers/{id:path}/exec", one.create),
        Route("POST", "/exec/{id}/start", one.start),
        Route("POST", "/exec/{id}/resize", one.resize),
        Route("GET", "/exec/{id}/json", one.inspect),
    ]


class Execs:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, request: Request) -> Answer:
        """Notes a command."""
        container = self._engine.containers.find(request.parameters["id"])
        body = await request.json(ExecRequest)
        return Response.json({"Id": self._engine.execs.create(container, body, request.parameters["id"]).id}, 201)

    async def start(self, request: Request) -> Answer:
        """Runs it, with its streams on this connection or in the background."""
        execs = self._engine.execs
        one = execs.find(request.parameters["id"])
        body = await request.optional_json(ExecStartRequest) or ExecStartRequest()
        execs.check_start(one)
        size = body.console_size or (0, 0)
        if any(size) and not body.tty:
            raise InvalidArgument("console size is only supported when TTY is enabled")
        if body.detach:
            await execs.start(one, console_size=size)
            return Response(200)

        async def take(connection: Upgraded) -> None:
            try:
                await execs.start(one, connection=(connection.fd, connection.early), multiplex=not body.tty, console_size=size)
            except WherryError as error:  # the client has been told in its stream
                log.info("exec %s does not start: %s", one.id, error)

        return Hijack(take, stream_content_type(request, tty=body.tty))

    async def resize(self, request: Request) -> Answer:
        """Sets the size of its terminal."""
        one = self._engine.execs.find(request.parameters["id"])
        await self._engine.execs.resize(one, required_integer(request, "h"), required_integer(request, "w"))
        return Response(200)

    async def inspect(self, request: Request) -> Answer:
        """Whether it runs, how it ended."""
        return Response.json(self._engine.execs.find(request.parameters["id"]).inspect())
