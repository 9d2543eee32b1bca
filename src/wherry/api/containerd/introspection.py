"""The service Introspection: what this server consists of, in containerd's words for its parts (plugins)."""

from __future__ import annotations

import os
import uuid
from functools import partial
from typing import TYPE_CHECKING

from wherry.api.containerd.wanted import wanted
from wherry.errors import InvalidArgument, NotFound
from wherry.linux.file import read, replace_durably
from wherry.oci.platform import host_platform
from wherry.proto.services import introspection_pb2 as api
from wherry.proto.types_pb2 import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.empty_pb2 import Empty

    from wherry.api.containerd.call import Call
    from wherry.engine.pool import Pool

_V1 = "io.containerd.{}.v1"
_CONTENT, _SNAPSHOTTER, _METADATA, _DIFFER, _EVENT, _GC, _GRPC = (
    _V1.format(kind) for kind in ("content", "snapshotter", "metadata", "differ", "event", "gc", "grpc"))
_TRANSFER = _V1.format("transfer")
_RUNTIME = "io.containerd.runtime.v2"


class Introspection:
    """`ctr plugins`, and what clients ask before they use a snapshotter."""

    def __init__(self, pool: Pool, folder: str, snapshotters: Iterable[str], services: Iterable[str]) -> None:
        """`services` are the names of those that this server offers."""
        self._pool = pool
        self._folder = folder
        self._plugins = plugins(folder, snapshotters, services)

    async def plugins(self, request: api.PluginsRequest, _call: Call) -> api.PluginsResponse:
        """Those that one of the filters (on `type` and `id`) fits."""
        lets_through = wanted(request.filters)
        return api.PluginsResponse(plugins=[one for one in self._plugins if lets_through(partial(_field, one))])

    async def server(self, _request: Empty, _call: Call) -> api.ServerResponse:
        """Who this is: the same on each start on this data root, another on each other."""
        name = await self._pool.run(_identity, f"{self._folder}/uuid")
        return api.ServerResponse(uuid=name, pid=os.getpid(), pidns=os.stat("/proc/self/ns/pid").st_ino)

    async def plugin_info(self, request: api.PluginInfoRequest, _call: Call) -> api.PluginInfoResponse:
        """One of them. None has more to say than is in the list."""
        for one in self._plugins:
            if (one.type, one.id) == (request.type, request.id):
                if request.HasField("options"):
                    raise InvalidArgument(f"plugin {one.type}.{one.id} takes no options: invalid argument")
                return api.PluginInfoResponse(plugin=one)
        raise NotFound(f"plugin {request.type}.{request.id}: not found")


def plugins(folder: str, snapshotters: Iterable[str], services: Iterable[str]) -> list[api.Plugin]:
    """What there is, those first that others need."""
    here = host_platform()
    platforms = [Platform(os=here.os, architecture=here.architecture, variant=here.variant)]

    def plugin(kind: str, name: str, *requires: str, **fields: object) -> api.Plugin:
        return api.Plugin(type=kind, id=name, requires=requires, **fields)  # type: ignore[arg-type]

    return [
        plugin(_CONTENT, "content", exports={"root": f"{folder}/content"}),
        *(plugin(_SNAPSHOTTER, name, platforms=platforms, exports={"root": f"{folder}/snapshots/{name}"})
          for name in snapshotters),
        plugin(_METADATA, "sqlite", _CONTENT, _SNAPSHOTTER, exports={"path": f"{folder}/metadata.db", "policy": "shared"}),
        plugin(_DIFFER, "walking", _METADATA, platforms=platforms),
        plugin(_EVENT, "exchange"),
        plugin(_GC, "scheduler", _METADATA),
        plugin(_RUNTIME, "task", _EVENT, _METADATA, platforms=platforms),
        plugin(_TRANSFER, "local", _METADATA, _DIFFER),
        *(plugin(_GRPC, name.lower()) for name in services),
    ]


def _field(one: api.Plugin, path: Sequence[str]) -> str | None:
    match path:
        case ["type"]:
            return one.type
        case ["id"]:
            return one.id
        case _:
            return None


def _identity(path: str) -> str:
    try:
        return read(path).decode()
    except FileNotFoundError:
        name = str(uuid.uuid4())
        replace_durably(path, name.encode(), 0o600)
        return name
