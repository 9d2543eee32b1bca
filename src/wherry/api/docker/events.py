"""`GET /events`: what happened, and what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.docker.http import Answer, Request, Stream
from wherry.api.docker.router import Route
from wherry.engine.moments import parse_moment
from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.engine.compose import Engine
    from wherry.engine.events import Event


def routes(engine: Engine) -> list[Route]:
    """The route."""
    async def events(request: Request) -> Answer:
        query = request.query
        filters = query.filters()
        since, until = query.text("since"), query.text("until")
        since_ns = parse_moment(since) if since else None
        until_ns = parse_moment(until) if until else None
        if since_ns is not None and until_ns is not None and since_ns > until_ns:
            raise InvalidArgument(f"`since` time ({since}) cannot be after `until` time ({until})")
        return Stream(_lines(engine.events.stream(filters, since_ns, until_ns)))

    return [Route("GET", "/events", events)]


async def _lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    yield b""  # the head of the answer: from now on nothing is missed
    async for event in events:
        yield encode(event)


def encode(event: Event) -> bytes:
    """One line. Containers and images also have the flat fields of long ago."""
    shown: dict[str, Any] = {}
    if event.type in ("container", "image"):
        shown = {"status": event.action, "id": event.actor.id}
        if image := event.actor.attributes.get("image"):
            shown["from"] = image
    return msgspec.json.encode({**shown, **msgspec.to_builtins(event)}) + b"\n"
