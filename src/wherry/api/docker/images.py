"""`/images/…` and `/distribution/…`: what there is, names for it, and its comings and goings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.docker.auth import credentials_of
from wherry.api.docker.http import JSON, Answer, Request, Response, Stream
from wherry.api.docker.progress import Lines
from wherry.api.docker.router import Route
from wherry.engine.changes import apply_changes
from wherry.errors import InvalidArgument, Unsupported, WherryError
from wherry.oci.digest import is_digest
from wherry.oci.platform import parse_platform
from wherry.oci.reference import parse_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.api.docker.http import Version
    from wherry.engine.compose import Engine
    from wherry.engine.images import ImageRow
    from wherry.oci.image import Platform
    from wherry.oci.reference import Reference
    from wherry.registry.progress import Progress as TransferProgress
    from wherry.store.imageload import Progress as LoadProgress
    from wherry.store.stream import ByteStream

TAR = "application/x-tar"
# What is only a container's, and is no longer shown of an image from 1.50 on.
_CONTAINER_FIELDS = ("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce",
                     "Image", "NetworkDisabled", "MacAddress", "StopTimeout")


def routes(engine: Engine) -> list[Route]:
    """The routes of this resource."""
    images = Images(engine)
    return [
        Route("GET", "/images/json", images.list),
        Route("GET", "/images/search", images.search),
        Route("GET", "/images/get", images.save_many),
        Route("GET", "/images/{name:path}/get", images.save_one),
        Route("GET", "/images/{name:path}/history", images.history),
        Route("GET", "/images/{name:path}/json", images.inspect),
        Route("POST", "/images/load", images.load),
        Route("POST", "/images/create", images.create),
        Route("POST", "/images/prune", images.prune),
        Route("POST", "/images/{name:path}/push", images.push),
        Route("POST", "/images/{name:path}/tag", images.tag),
        Route("DELETE", "/images/{name:path}", images.remove),
        Route("GET", "/distribution/{name:path}/json", images.distribution, since=(1, 30)),
    ]


class Images:
    """The handlers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- looking

    async def list(self, request: Request) -> Answer:
        """All images with a name, or without one and nothing built upon it; with `all`, every one."""
        query = request.query
        filters = query.filters()
        if request.version < (1, 41) and (reference := query.text("filter")):
            filters = filters.adding("reference", reference)
        # `manifests` asks for what only dockerd's other image store has; with this one dockerd leaves it out, too.
        shared = query.flag("shared-size") and request.version >= (1, 42)
        rows = await self._engine.images.rows(filters, show_all=query.flag("all"), shared_size=shared)
        return Response(200, msgspec.json.encode([row_as_json(row, request.version) for row in rows]) + b"\n", JSON)

    async def inspect(self, request: Request) -> Answer:
        """Everything about one image."""
        image = self._engine.images.find(request.parameters["name"], _platform(request, since=(1, 49)))
        shown = self._engine.images.as_json(image, self._engine.options.data_root)
        return Response.json(inspect_for(shown, request.version))

    async def history(self, request: Request) -> Answer:
        """How an image was made."""
        name = request.parameters["name"]
        if platform := _platform(request, since=(1, 48)):
            self._engine.images.find(name, platform)
        return Response.json(msgspec.to_builtins(self._engine.images.history(name)))

    async def search(self, _request: Request) -> Answer:
        """Docker Hub's search is not spoken."""
        raise Unsupported("searching for images is not supported: only Docker Hub's own service answers searches")

    async def distribution(self, request: Request) -> Answer:
        """What a registry has under a name."""
        found = await self._engine.transfer.inspect_remote(request.parameters["name"], credentials_of(request))
        described = found.descriptor
        return Response.json({
            "Descriptor": {"mediaType": described.media_type, "digest": described.digest, "size": described.size},
            "Platforms": [_platform_as_json(one) for one in found.platforms],
        })

    # -- names

    async def tag(self, request: Request) -> Answer:
        """Gives an image a further name."""
        query = request.query
        await self._engine.images.tag(request.parameters["name"], query.text("repo"), query.text("tag"))
        return Response(201)

    async def remove(self, request: Request) -> Answer:
        """Removes a name, or an image with its last one."""
        query = request.query
        if query.texts("platforms"):
            raise Unsupported("the parameter \"platforms\" is not supported: an image here is for one platform")
        name = request.parameters["name"]
        if not name.strip():
            raise InvalidArgument("image name cannot be blank")
        removed = await self._engine.image_removal.remove(name, force=query.flag("force"), prune=not query.flag("noprune"))
        return Response.json(msgspec.to_builtins(removed))

    async def prune(self, request: Request) -> Answer:
        """Removes what nobody needs."""
        removed, won = await self._engine.image_removal.prune(request.query.filters())
        return Response.json({"ImagesDeleted": msgspec.to_builtins(removed) or None, "SpaceReclaimed": won})

    # -- archives

    async def save_one(self, request: Request) -> Answer:
        """An archive of one image."""
        return await self._save(request, (request.parameters["name"],))

    async def save_many(self, request: Request) -> Answer:
        """An archive of several images."""
        names = request.query.texts("names")
        if not names:
            raise InvalidArgument("no image name was given: use the parameter \"names\"")
        return await self._save(request, names)

    async def _save(self, request: Request, names: tuple[str, ...]) -> Answer:
        platform = _platform(request, since=(1, 48))
        if platform is not None:
            for name in names:
                self._engine.images.find(name, platform)
        return Stream(self._read(self._engine.transfer.save(names)), TAR)

    async def _read(self, archive: ByteStream) -> AsyncIterator[bytes]:
        """An archive's bytes, made in worker threads."""
        run = self._engine.pool.run_long
        chunks = iter(archive)
        try:
            while chunk := await run(next, chunks, b""):
                yield chunk
        finally:
            await asyncio.shield(run(archive.close))

    async def load(self, request: Request) -> Answer:
        """Takes in an archive. What goes wrong is told in the stream, as dockerd tells it."""
        quiet = request.query.flag("quiet", default=True)
        if _platform(request, since=(1, 48)) is not None:
            raise Unsupported("the parameter \"platform\" is not supported for load")
        lines = Lines()

        def report(progress: LoadProgress) -> None:
            if lines.cancelled.is_set():
                raise ConnectionResetError("the client went away")
            lines.status("Loading layer", progress.id, current=progress.current_bytes, total=progress.total_bytes,
                         measured=True)

        async def work() -> None:
            loaded = await self._engine.transfer.load(request.body.as_file(), None if quiet else report)
            for one in loaded:
                for reference in one.references:
                    lines.put({"stream": f"Loaded image: {reference.familiar()}\n"})
                if not one.references:
                    lines.put({"stream": f"Loaded image ID: {one.image_id}\n"})

        return Stream(lines.stream(work(), errors_in_stream=True))

    # -- registries

    async def create(self, request: Request) -> Answer:
        """Pulls an image, or imports one from a tar: the CLI's `pull` and `import`."""
        query = request.query
        platform = _platform(request, since=(1, 32))
        if name := query.text("fromImage"):
            reference = named(name, query.text("tag"))
            return self._pull(request, reference, platform)
        return await self._import(request, platform)

    def _pull(self, request: Request, reference: Reference, platform: Platform | None) -> Answer:
        credentials = credentials_of(request)
        lines = Lines()
        work = self._engine.transfer.pull(reference, platform, credentials, _reporter(lines), lines.cancelled)
        return Stream(lines.stream(work))

    async def push(self, request: Request) -> Answer:
        """Pushes one tag of a name, or all of them."""
        if _platform(request, since=(1, 46)) is not None:
            raise Unsupported("the parameter \"platform\" is not supported for push: an image here is for one platform")
        reference = parse_name(request.parameters["name"])
        if tag := request.query.text("tag"):
            reference = reference.with_tag(tag)
        lines = Lines()
        work = self._engine.transfer.push(reference, credentials_of(request), _reporter(lines), lines.cancelled)
        return Stream(lines.stream(work))

    async def _import(self, request: Request, platform: Platform | None) -> Answer:
        query = request.query
        source = query.text("fromSrc")
        if source != "-":
            if not source:
                raise InvalidArgument("neither \"fromImage\" nor \"fromSrc\" is given")
            raise Unsupported("importing from a URL is not supported: send the tar as the body, with fromSrc=-")
        reference = named(query.text("repo"), query.text("tag")).with_default_tag() if query.text("repo") else None
        if reference is not None and reference.digest:
            raise InvalidArgument("cannot import digest reference")
        if platform is not None and platform.os != "linux":
            raise InvalidArgument("operating system is not supported")
        config = import_config(query.texts("changes"))
        lines = Lines()

        async def work() -> None:
            image_id = await self._engine.transfer.import_(
                request.body.as_file(), reference, config=config, platform=platform,
                message=query.text("message") or "Imported from -")
            lines.put({"status": image_id})

        return Stream(lines.stream(work()))


def import_config(changes: tuple[str, ...]) -> dict[str, Any] | None:
    """The configuration that `--change` gives an imported image."""
    if not any(change.strip() for change in changes):
        return None
    return apply_changes({}, changes)


def named(name: str, tag: str) -> Reference:
    """A name and a tag or digest beside it, as `POST /images/create` has them. Raises InvalidArgument."""
    reference = parse_name(name.rstrip(":"))
    if not tag:
        return reference
    return reference.with_digest(tag) if is_digest(tag) else reference.with_tag(tag)


def row_as_json(row: ImageRow, version: Version) -> dict[str, Any]:
    """An image in a list, as a version of the API has it."""
    tags, digests = list(row.tags), list(row.digests)
    if version < (1, 43) and not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    shown: dict[str, Any] = {
        "Containers": row.containers,
        "Created": row.created,
        "Id": row.id,
        "Labels": row.labels,
        "ParentId": row.parent,
        "RepoDigests": digests if digests or version >= (1, 43) else None,
        "RepoTags": tags if tags or version >= (1, 43) else None,
        "SharedSize": row.shared_size,
        "Size": row.size,
    }
    if version < (1, 44):
        shown["VirtualSize"] = row.size
    return shown


def inspect_for(shown: dict[str, Any], version: Version) -> dict[str, Any]:
    """An image's details as a version of the API has them, from the newest one's."""
    shown = dict(shown)
    config = shown["Config"]
    if version >= (1, 50):
        shown["Config"] = {name: value for name, value in config.items() if name not in _CONTAINER_FIELDS}
    if version >= (1, 45):
        del shown["Container"], shown["ContainerConfig"]
    if version < (1, 44):
        shown["VirtualSize"] = shown["Size"]
    if version >= (1, 44) and shown["Created"].startswith("0001-"):
        del shown["Created"]
    return shown


def _reporter(lines: Lines) -> Any:
    def report(progress: TransferProgress) -> None:
        # Lines about the whole have no id, but for the first one of a pull, which has the tag for one.
        whole = (not progress.id and not progress.aux) or progress.status.startswith("Pulling from ")
        lines.status(progress.status, progress.id, current=progress.current, total=progress.total,
                     measured=progress.measured, about_whole=whole, aux=dict(progress.aux) or None)

    return report


def _platform(request: Request, *, since: Version) -> Platform | None:
    """The parameter `platform`: `linux/arm64` for create, a platform in JSON elsewhere."""
    text = request.query.text("platform")
    if not text or request.version < since:
        return None
    if not text.startswith("{"):
        return parse_platform(text)
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        return parse_platform("/".join(str(given[name]) for name in ("os", "architecture", "variant") if given.get(name)))
    except (msgspec.DecodeError, WherryError) as error:
        raise InvalidArgument(f"failed to parse platform: {error}") from error


def _platform_as_json(platform: Platform) -> dict[str, Any]:
    shown: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        shown["os.version"] = platform.os_version
    if platform.os_features:
        shown["os.features"] = list(platform.os_features)
    if platform.variant:
        shown["variant"] = platform.variant
    return shown


