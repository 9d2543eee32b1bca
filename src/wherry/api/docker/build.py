"""`POST /build`, the classic builder's: a context comes in as a tar, text goes out as JSON lines.

{"stream":"Step 1/3 : FROM busybox"}   {"aux":{"ID":"sha256:…"}}   {"errorDetail":{"code":1,"message":"…"},"error":"…"}
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.docker.auth import AuthConfig
from wherry.api.docker.http import Answer, Request, Response, Stream
from wherry.api.docker.progress import Lines
from wherry.api.docker.router import Route
from wherry.build.errors import StepFailed
from wherry.build.host import BuildOptions
from wherry.engine import gojson
from wherry.errors import InvalidArgument, Unsupported
from wherry.oci.platform import parse_platform
from wherry.oci.reference import DEFAULT_DOMAIN, parse_name

if TYPE_CHECKING:
    from wherry.engine.compose import Engine
    from wherry.registry.endpoint import Credentials
    from wherry.registry.progress import Progress

# Query parameters with a HostConfig field of the same meaning: (parameter, field, is a number).
_LIMITS = (("memory", "Memory", True), ("memswap", "MemorySwap", True), ("cpushares", "CpuShares", True),
           ("cpuperiod", "CpuPeriod", True), ("cpuquota", "CpuQuota", True), ("cpusetcpus", "CpusetCpus", False),
           ("cpusetmems", "CpusetMems", False), ("shmsize", "ShmSize", True), ("networkmode", "NetworkMode", False),
           ("cgroupparent", "CgroupParent", False))
_ABSENT = ("squash", "outputs", "session")


def routes(engine: Engine) -> list[Route]:
    """The routes of the builder."""
    build = _Build(engine)
    return [Route("POST", "/build", build.build), Route("POST", "/build/prune", build.prune, since=(1, 31))]


class _Build:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def build(self, request: Request) -> Answer:
        """Builds what the body holds."""
        options = options_of(request)
        credentials = credentials_by_domain(request.headers.get("x-registry-config"))
        lines = Lines()

        def pulled(progress: Progress) -> None:
            lines.status(progress.status, progress.id, current=progress.current, total=progress.total, measured=progress.measured)

        async def work() -> None:
            try:
                image_id = await self._engine.builds.build(
                    request.body.as_file(), options, credentials, say=lambda text: lines.put({"stream": text}), pulled=pulled,
                    cancelled=lines.cancelled)
            except StepFailed as error:
                lines.put({"errorDetail": {"code": error.code, "message": error.message}, "error": error.message})
                return
            if options.quiet:
                lines.put({"stream": f"{image_id}\n"})
            else:
                lines.put({"aux": {"ID": image_id}})

        return Stream(lines.stream(work()))

    async def prune(self, request: Request) -> Answer:
        """The classic builder's cache is its images, which `image prune` removes; there is no other."""
        try:
            request.query.integer("keep-storage")
        except InvalidArgument as error:
            kept = request.query.text("keep-storage")
            raise InvalidArgument(f"keep-storage is in bytes and expects an integer, got {kept}: {error.message}") from error
        return Response.json({"CachesDeleted": None, "SpaceReclaimed": 0})


def options_of(request: Request) -> BuildOptions:
    """The options in a request's query. Raises InvalidArgument, Unsupported by name."""
    query = request.query
    for name in _ABSENT:
        if query.text(name) not in ("", "0", "false"):
            raise Unsupported(f"build: {name!r} is not supported: it needs BuildKit or an experimental daemon")
    if query.text("version", "1") not in ("", "1"):
        raise Unsupported("build: version 2 (BuildKit) is not supported; set DOCKER_BUILDKIT=0")
    if remote := query.text("remote"):
        raise Unsupported(f"build: a remote context is not supported: {remote}")
    if _json(query.text("cachefrom"), "cachefrom", list):
        raise Unsupported("build: 'cachefrom' is not supported: images of earlier steps on this daemon are the cache")
    tags = tuple(tag for tag in query.texts("t") if tag)
    for tag in tags:
        if parse_name(tag).digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
    platform = query.text("platform")
    return BuildOptions(
        dockerfile=query.text("dockerfile") or "Dockerfile", tags=tags, target=query.text("target"),
        arguments=_arguments(query.text("buildargs")), labels=_labels(query.text("labels")), host=_host(request),
        platform=parse_platform(platform) if platform else None, no_cache=query.flag("nocache"), pull=query.flag("pull"),
        remove=query.flag("rm", default=True) or query.flag("forcerm"), force_remove=query.flag("forcerm"), quiet=query.flag("q"))


def _host(request: Request) -> dict[str, Any]:
    query = request.query
    host: dict[str, Any] = {}
    for parameter, field, number in _LIMITS:
        if query.text(parameter) not in ("", "0"):
            host[field] = query.integer(parameter) if number else query.text(parameter)
    extra = _json(query.text("extrahosts"), "extrahosts", list) if query.text("extrahosts").startswith("[") else [
        one for text in query.texts("extrahosts") for one in text.split(",") if one]
    if extra:
        host["ExtraHosts"] = extra
    if ulimits := _json(query.text("ulimits"), "ulimits", list):
        host["Ulimits"] = ulimits
    if options := _json(query.text("securityopt"), "securityopt", list):
        host["SecurityOpt"] = options
    return host


def _json(text: str, name: str, kind: type) -> Any:
    """A parameter that is JSON; None where it is not given."""
    if not text:
        return None
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"error reading {name}: {error}") from error
    if value is not None and not isinstance(value, kind):
        raise InvalidArgument(f"error reading {name}: it is not a JSON {'object' if kind is dict else 'array'}")
    return value


def _arguments(text: str) -> dict[str, str | None]:
    value = _json(text, "build args", dict) or {}
    if any(one is not None and not isinstance(one, str) for one in value.values()):
        raise InvalidArgument("error reading build args: values are strings or null")
    return dict(value)


def _labels(text: str) -> dict[str, str]:
    value = _json(text, "labels", dict) or {}
    if any(not isinstance(one, str) for one in value.values()):
        raise InvalidArgument("error reading labels: values are strings")
    return dict(value)


def credentials_by_domain(header: str) -> dict[str, Credentials]:
    """`X-Registry-Config`: a JSON map from registries to credentials, in URL-safe base64. Raises InvalidArgument."""
    if not header.strip():
        return {}
    try:
        raw = base64.urlsafe_b64decode(header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4))
        listed = msgspec.json.decode(raw) or {}
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise InvalidArgument("invalid X-Registry-Config header") from error
    if not isinstance(listed, dict):
        raise InvalidArgument("invalid X-Registry-Config header: it is not a JSON object")
    found = {}
    for key, value in listed.items():
        host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
        domain = DEFAULT_DOMAIN if host in ("index.docker.io", "docker.io", "registry-1.docker.io") else host
        found[domain] = gojson.convert(value, AuthConfig).credentials()
    return found
