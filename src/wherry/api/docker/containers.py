"""`/containers/…`: everything one asks of a container, and what is created, waited for, removed."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.docker.http import JSON, RAW_STREAM, Answer, Hijack, Request, Response, Stream, stream_content_type
from wherry.api.docker.router import Route
from wherry.api.docker.status import status_of
from wherry.engine import inspect, logs, waits
from wherry.engine.attach import AttachOptions
from wherry.engine.container import Ended
from wherry.engine.lifecycle import updated
from wherry.engine.listing import ListRequest
from wherry.engine.model import ContainerConfig, CreateRequest, HostConfig, UpdateRequest
from wherry.engine.moments import parse_moment
from wherry.engine.spec.limits import check_limits, supported
from wherry.errors import Conflict, Internal, InvalidArgument, NotFound, Unsupported, WherryError, message_of
from wherry.oci.platform import parse_platform

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterable

    from wherry.api.docker.http import Upgraded
    from wherry.engine.archive import PathStat
    from wherry.engine.compose import Engine
    from wherry.engine.container import Container

TAR = "application/x-tar"
LONGEST_EMPTY_BODY = 7  # bytes that old clients may send for nothing at all, as dockerd counts


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    one = Containers(engine)
    return [
        Route("GET", "/containers/json", one.list),
        Route("POST", "/containers/create", one.create),
        Route("POST", "/containers/prune", one.prune, since=(1, 25)),
        Route("GET", "/containers/{id:path}/json", one.inspect),
        Route("GET", "/containers/{id:path}/top", one.top),
        Route("GET", "/containers/{id:path}/logs", one.logs),
        Route("GET", "/containers/{id:path}/changes", one.changes),
        Route("GET", "/containers/{id:path}/export", one.export),
        Route("GET", "/containers/{id:path}/stats", one.stats),
        Route("POST", "/containers/{id:path}/resize", one.resize),
        Route("POST", "/containers/{id:path}/start", one.start),
        Route("POST", "/containers/{id:path}/stop", one.stop),
        Route("POST", "/containers/{id:path}/restart", one.restart),
        Route("POST", "/containers/{id:path}/kill", one.kill),
        Route("POST", "/containers/{id:path}/update", one.update),
        Route("POST", "/containers/{id:path}/rename", one.rename),
        Route("POST", "/containers/{id:path}/pause", one.pause),
        Route("POST", "/containers/{id:path}/unpause", one.unpause),
        Route("POST", "/containers/{id:path}/attach", one.attach),
        Route("GET", "/containers/{id:path}/attach/ws", one.attach_websocket),
        Route("POST", "/containers/{id:path}/wait", one.wait),
        Route("DELETE", "/containers/{id:path}", one.remove),
        Route("HEAD", "/containers/{id:path}/archive", one.archive_stat),
        Route("GET", "/containers/{id:path}/archive", one.archive_get),
        Route("PUT", "/containers/{id:path}/archive", one.archive_put),
        Route("POST", "/commit", one.commit),
    ]


class Containers:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _find(self, request: Request) -> Container:
        return self._engine.containers.find(request.parameters["id"])

    # -- looking

    async def list(self, request: Request) -> Answer:
        """Those that run, or with `all`, `limit` or a filter by status others too."""
        query = request.query
        asked = ListRequest(all=query.flag("all"), limit=query.integer("limit"), size=query.flag("size"), filters=query.filters())
        chosen = self._engine.listing.select(asked)
        sizes = {}
        if asked.size:
            for container in chosen:
                sizes[container.id] = await self._engine.pool.run_long(self._engine.layers.size, container.id)
        return Response(200, self._engine.listing.encode(chosen, request.version, time.time_ns(), sizes), JSON)

    async def inspect(self, request: Request) -> Answer:
        """Everything about one."""
        container = self._find(request)
        pool, layers = self._engine.pool, self._engine.layers
        try:
            overlay = await pool.run(layers.overlay, container.id)
            sizes = await pool.run_long(layers.size, container.id) if request.query.flag("size") else None
        except NotFound:
            overlay, sizes = None, None  # a dead container, whose layer is gone
        shown = inspect.inspect(container, request.version, overlay, sizes, self._engine.links.shown(container))
        return Response(200, msgspec.json.encode(shown) + b"\n", JSON)

    async def top(self, request: Request) -> Answer:
        """Its processes, as the host's ps shows them."""
        return Response.json(await self._engine.top.top(self._find(request), request.query.text("ps_args")))

    async def logs(self, request: Request) -> Answer:
        """What it has printed, and with `follow` what it prints."""
        query = request.query
        stdout, stderr = query.flag("stdout"), query.flag("stderr")
        if not stdout and not stderr:  # dockerd says so before it looks for the container
            raise InvalidArgument("Bad parameters: you must choose at least one stream")
        container = self._find(request)
        asked = logs.LogsRequest(
            follow=query.flag("follow"), stdout=stdout, stderr=stderr,
            since_ns=_moment(query.text("since")), until_ns=_moment(query.text("until")), timestamps=query.flag("timestamps"),
            tail=logs.parse_tail(query.text("tail")), details=query.flag("details"))
        content_type = stream_content_type(request, tty=container.tty) if request.version >= (1, 42) else RAW_STREAM
        return Stream(logs.read(container, asked), content_type)

    async def changes(self, request: Request) -> Answer:
        """What it changed in its image's tree; null when nothing."""
        found = await self._engine.pool.run_long(self._engine.layers.changes, self._find(request).id)
        return Response.json([{"Path": one.path, "Kind": one.kind} for one in found] or None)

    async def export(self, request: Request) -> Answer:
        """Its whole tree as a tar."""
        container = self._find(request)
        self._engine.events.publish("container", "export", container.id, container.attributes())
        return Stream(self._engine.archive.export(container), TAR)

    async def stats(self, request: Request) -> Answer:
        """What it uses, once or every second."""
        container, query = self._find(request), request.query
        one_shot = query.flag("one-shot")
        if query.flag("stream", default=True):
            if one_shot:
                raise InvalidArgument("cannot have stream=true and one-shot=true")
            return Stream(_lines(self._engine.stats.stream(container)))
        return Response.json(await self._engine.stats.once(container, one_shot=one_shot))

    # -- making and removing

    async def create(self, request: Request) -> Answer:
        """A new one; it does not run yet."""
        body = await request.json(CreateRequest)
        config = body.container_config()
        if body == CreateRequest():
            raise InvalidArgument("Config cannot be empty in order to create a container")
        host = for_version(body.host_config or HostConfig(), request.version)
        platform = parse_platform(request.query.text("platform")) if request.query.text("platform") else None
        container, warnings = await self._engine.creator.create(
            request.query.text("name"), config, host, body.networking_config, version=request.version, platform=platform)
        return Response.json({"Id": container.id, "Warnings": list(warnings)}, 201)

    async def remove(self, request: Request) -> Answer:
        """With `force` also one that runs, with `v` its anonymous volumes too. With `link` only the link of that name."""
        query = request.query
        if query.flag("link"):
            await self._engine.links.remove(request.parameters["id"])
            return Response(204)
        container = self._find(request)
        await self._engine.removal.remove(container, self._engine.lifecycle, force=query.flag("force"), volumes=query.flag("v"))
        return Response(204)

    async def prune(self, request: Request) -> Answer:
        """Removes all that do not run."""
        removed, won = await self._engine.removal.prune(request.query.filters())
        return Response.json({"ContainersDeleted": removed or None, "SpaceReclaimed": won})

    async def commit(self, request: Request) -> Answer:
        """An image of what it changed."""
        query = request.query
        container = self._engine.containers.find(query.text("container"))
        config = await request.optional_json(ContainerConfig)
        image_id = await self._engine.commits.commit(
            container, repository=query.text("repo"), tag=query.text("tag"), author=query.text("author"),
            comment=query.text("comment"), pause=query.flag("pause", default=True), config=config,
            changes=query.texts("changes"))
        return Response.json({"Id": image_id}, 201)

    # -- its life

    async def start(self, request: Request) -> Answer:
        """Lets it run. A body is refused: HostConfig belongs to create."""
        if request.query.text("checkpoint"):
            raise Unsupported("checkpoints of containers are not supported")
        if len(await request.body.read()) > LONGEST_EMPTY_BODY:
            raise InvalidArgument(
                "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
        await self._engine.lifecycle.start(self._find(request))
        return Response(204)

    async def stop(self, request: Request) -> Answer:
        """Asks it to end, then ends it."""
        await self._engine.lifecycle.stop(self._find(request), signal=_signal(request), timeout_s=_seconds(request))
        return Response(204)

    async def restart(self, request: Request) -> Answer:
        """Ends it and lets it run again."""
        container, signal, timeout_s = self._find(request), _signal(request), _seconds(request)
        try:
            await self._engine.lifecycle.restart(container, signal=signal, timeout_s=timeout_s)
        except WherryError as error:
            raise Internal(f"Cannot restart container {request.parameters['id']}: {error.message}") from error
        return Response(204)

    async def kill(self, request: Request) -> Answer:
        """Sends a signal."""
        reference = request.parameters["id"]
        try:
            container = self._find(request)
        except NotFound as error:
            raise NotFound(f"Cannot kill container: {reference}: {error}") from error
        await self._engine.lifecycle.kill(container, request.query.text("signal"), reference=reference)
        return Response(204)

    async def pause(self, request: Request) -> Answer:
        """Freezes it."""
        await self._engine.lifecycle.pause(self._find(request))
        return Response(204)

    async def unpause(self, request: Request) -> Answer:
        """Lets it go on."""
        await self._engine.lifecycle.unpause(self._find(request))
        return Response(204)

    async def rename(self, request: Request) -> Answer:
        """Gives it another name."""
        await self._engine.lifecycle.rename(self._find(request), request.query.text("name"))
        return Response(204)

    async def update(self, request: Request) -> Answer:
        """Changes its limits and its restart policy."""
        container, body = self._find(request), await request.json(UpdateRequest)
        check_limits(body, self._engine.facts)  # what is asked for must make sense by itself first
        host = updated(container.host, body)
        warnings = check_limits(host, self._engine.facts)
        host, _ = supported(host, self._engine.facts)
        await self._engine.lifecycle.update(container, host)
        return Response.json({"Warnings": list(warnings) or None})

    async def resize(self, request: Request) -> Answer:
        """Sets the size of its terminal."""
        container = self._find(request)
        height, width = required_integer(request, "h"), required_integer(request, "w")
        if container.shim is None or not container.state.running:
            raise Conflict(f"Container {container.id} is not running")
        await container.shim.resize(height, width)
        self._engine.events.publish("container", "resize", container.id,
                                    container.attributes(height=str(height), width=str(width)))
        return Response(200)

    async def wait(self, request: Request) -> Answer:
        """Answers when it ends, or is removed. The head of the answer is sent at once, so that a client knows it is heard."""
        condition = request.query.text("condition") if request.version >= (1, 30) else ""
        waiting = waits.begin(self._find(request), condition)
        return Stream(_ended(waiting, always_error=request.version < (1, 42)))

    # -- its streams

    async def attach(self, request: Request) -> Answer:
        """Its input and output on this connection.

        What cannot be attached to is refused as dockerd does it: in plain words, on a connection that ends, where older clients
        look for a stream and show them.
        """
        query = request.query
        options = AttachOptions(stdin=query.flag("stdin"), stdout=query.flag("stdout"), stderr=query.flag("stderr"),
                                logs=query.flag("logs"), stream=query.flag("stream"), detach_keys=query.text("detachKeys"))
        try:
            return self._hijack(request, self._find(request), options, websocket=False)
        except WherryError as error:
            return Response(status_of(error), f"{message_of(error)}\r\n".encode(), RAW_STREAM, (("Connection", "close"),))

    async def attach_websocket(self, request: Request) -> Answer:
        """The same through a WebSocket; its streams are not framed."""
        container, query = self._find(request), request.query
        chosen = request.version >= (1, 42)
        options = AttachOptions(
            stdin=query.flag("stdin") if chosen else True, stdout=query.flag("stdout") if chosen else True,
            stderr=query.flag("stderr") if chosen else True, logs=query.flag("logs"), stream=query.flag("stream"),
            detach_keys=query.text("detachKeys"))
        return self._hijack(request, container, options, websocket=True)

    def _hijack(self, request: Request, container: Container, options: AttachOptions, *, websocket: bool) -> Hijack:
        self._engine.attach.check(container, options, request.parameters["id"])

        async def take(connection: Upgraded) -> None:
            await self._engine.attach.attach(container, options, connection.fd, connection.early, multiplex=not websocket)

        return Hijack(take, stream_content_type(request, tty=container.tty), websocket=websocket,
                      text=websocket and request.version < (1, 28))

    # -- its files

    async def archive_stat(self, request: Request) -> Answer:
        """What is at a path, in a header."""
        found = await self._engine.archive.stat(self._find(request), request.query.text("path"), called=request.parameters["id"])
        return Response(200, headers=_path_stat(found))

    async def archive_get(self, request: Request) -> Answer:
        """A tar of a path."""
        found, chunks = await self._engine.archive.get(self._find(request), request.query.text("path"),
                                                        called=request.parameters["id"])
        return Stream(chunks, TAR, headers=_path_stat(found))

    async def archive_put(self, request: Request) -> Answer:
        """A tar into a folder."""
        query = request.query
        await self._engine.archive.put(self._find(request), query.text("path"), request.body.as_file(),
                                       called=request.parameters["id"],
                                       no_overwrite_dir_non_dir=query.flag("noOverwriteDirNonDir"),
                                       copy_uid_gid=query.flag("copyUIDGID"))
        return Response(200)


def for_version(host: HostConfig, version: tuple[int, int]) -> HostConfig:
    """A host configuration as a version of the API means it: what the version does not know yet is not there."""
    changes: dict[str, Any] = {}
    if version < (1, 40):
        changes |= {"ipc_mode": host.ipc_mode or "shareable"}
    if version < (1, 41):
        changes |= {"cgroupns_mode": "host"}
    if version < (1, 42):
        changes |= {"mounts": tuple(msgspec.structs.replace(one, bind_options=msgspec.structs.replace(
            one.bind_options, create_mountpoint=False)) if one.bind_options else one for one in host.mounts or ()) or host.mounts}
    else:
        changes |= {"kernel_memory": 0, "kernel_memory_tcp": 0}
    if version < (1, 43):
        changes |= {"annotations": None}
    return msgspec.structs.replace(host, **changes)


def required_integer(request: Request, name: str) -> int:
    """A number that must be given, in Go's words."""
    text = request.query.text(name)
    if not text.isdecimal():
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def _moment(text: str) -> int:
    return parse_moment(text) if text else 0


def _signal(request: Request) -> str:
    return request.query.text("signal") if request.version >= (1, 42) else ""


def _seconds(request: Request) -> int | None:
    return request.query.integer("t") if request.query.text("t") else None


def _path_stat(found: PathStat) -> Iterable[tuple[str, str]]:
    return (("X-Docker-Container-Path-Stat", base64.b64encode(msgspec.json.encode(found)).decode()),)


async def _lines(values: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for value in values:
        yield msgspec.json.encode(value) + b"\n"


async def _ended(waiting: asyncio.Future[Ended] | Ended, *, always_error: bool) -> AsyncIterator[bytes]:
    """How it ended; `always_error`: with an error that is null where there is none, as older versions have it."""
    if not isinstance(waiting, Ended):
        yield b""  # the head of the answer
        waiting = await waiting
    shown: dict[str, Any] = {"StatusCode": waiting.exit_code}
    if waiting.error or always_error:
        shown["Error"] = {"Message": waiting.error} if waiting.error else None
    yield msgspec.json.encode(shown) + b"\n"


