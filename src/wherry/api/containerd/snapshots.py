"""The service Snapshots: one snapshotter or another, by the name in each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from wherry.api.containerd.moments import timestamp
from wherry.errors import InvalidArgument
from wherry.proto import events_pb2 as events
from wherry.proto import types_pb2 as types
from wherry.proto.services import snapshots_pb2 as api
from wherry.store.metadata.filters import parse_all
from wherry.store.metadata.names import check_labels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from wherry.api.containerd.call import Call
    from wherry.api.containerd.collecting import Collector
    from wherry.api.containerd.exchange import Exchange
    from wherry.engine.pool import Pool
    from wherry.store.snapshots.model import Info, Mount
    from wherry.store.snapshots.snapshotter import Snapshotter

_PIECE = 100  # snapshots in one answer of a list


class Snapshots:
    """`ctr snapshots`."""

    def __init__(self, pool: Pool, snapshotters: Mapping[str, Snapshotter], exchange: Exchange, collector: Collector) -> None:
        self._pool = pool
        self._snapshotters = snapshotters
        self._exchange = exchange
        self._collector = collector

    async def prepare(self, request: api.PrepareSnapshotRequest, call: Call) -> api.PrepareSnapshotResponse:
        """Makes one to write to."""
        snapshotter, labels = self._named(request.snapshotter), _labels(request.labels)
        mounts = await self._pool.run_long(snapshotter.prepare, call.namespace, request.key, request.parent, labels,
                                           lease=call.lease)
        self._exchange.publish(call.namespace, "/snapshot/prepare", events.SnapshotPrepare(
            key=request.key, parent=request.parent, snapshotter=request.snapshotter))
        return api.PrepareSnapshotResponse(mounts=mount_messages(mounts))

    async def view(self, request: api.ViewSnapshotRequest, call: Call) -> api.ViewSnapshotResponse:
        """Makes one to look at."""
        snapshotter, labels = self._named(request.snapshotter), _labels(request.labels)
        mounts = await self._pool.run_long(snapshotter.view, call.namespace, request.key, request.parent, labels,
                                           lease=call.lease)
        return api.ViewSnapshotResponse(mounts=mount_messages(mounts))

    async def mounts(self, request: api.MountsRequest, call: Call) -> api.MountsResponse:
        """How one is mounted."""
        mounts = await self._pool.run(self._named(request.snapshotter).mounts, call.namespace, request.key)
        return api.MountsResponse(mounts=mount_messages(mounts))

    async def commit(self, request: api.CommitSnapshotRequest, call: Call) -> Empty:
        """Gives one a name, under which others lie on it."""
        snapshotter, labels = self._named(request.snapshotter), _labels(request.labels)
        await self._pool.run_long(snapshotter.commit, call.namespace, request.name, request.key, labels, lease=call.lease)
        self._exchange.publish(call.namespace, "/snapshot/commit", events.SnapshotCommit(
            key=request.key, name=request.name, snapshotter=request.snapshotter))
        return Empty()

    async def remove(self, request: api.RemoveSnapshotRequest, call: Call) -> Empty:
        """Removes one."""
        await self._pool.run_long(self._named(request.snapshotter).remove, call.namespace, request.key)
        self._exchange.publish(call.namespace, "/snapshot/remove", events.SnapshotRemove(
            key=request.key, snapshotter=request.snapshotter))
        self._collector.deleted()
        return Empty()

    async def stat(self, request: api.StatSnapshotRequest, call: Call) -> api.StatSnapshotResponse:
        """What is known of one."""
        found = await self._pool.run(self._named(request.snapshotter).stat, call.namespace, request.key)
        return api.StatSnapshotResponse(info=_message(found))

    async def update(self, request: api.UpdateSnapshotRequest, call: Call) -> api.UpdateSnapshotResponse:
        """Changes its labels."""
        snapshotter, labels = self._named(request.snapshotter), _labels(request.info.labels)
        found = await self._pool.run(snapshotter.update, call.namespace, request.info.name, labels,
                                     tuple(request.update_mask.paths))
        return api.UpdateSnapshotResponse(info=_message(found))

    async def list(self, request: api.ListSnapshotsRequest, call: Call) -> AsyncIterator[api.ListSnapshotsResponse]:
        """All that a filter lets through, in pieces."""
        wanted = parse_all(request.filters)
        found = await self._pool.run(self._named(request.snapshotter).walk, call.namespace)
        infos = [_message(one) for one in found if wanted(one.field)]
        for at in range(0, len(infos), _PIECE):
            yield api.ListSnapshotsResponse(info=infos[at : at + _PIECE])

    async def usage(self, request: api.UsageRequest, call: Call) -> api.UsageResponse:
        """What it occupies."""
        usage = await self._pool.run_long(self._named(request.snapshotter).usage, call.namespace, request.key)
        return api.UsageResponse(size=usage.size_bytes, inodes=usage.inodes)

    async def cleanup(self, request: api.CleanupRequest, _call: Call) -> Empty:
        """Removes what nobody knows of."""
        await self._pool.run_long(self._named(request.snapshotter).cleanup)
        return Empty()

    def _named(self, name: str) -> Snapshotter:
        if not name:
            raise InvalidArgument("snapshotter argument missing: invalid argument")
        if name not in self._snapshotters:
            raise InvalidArgument(f"snapshotter not loaded: {name}: invalid argument")
        return self._snapshotters[name]


def mount_messages(mounts: Iterable[Mount]) -> list[types.Mount]:
    """Mounts as messages."""
    return [types.Mount(type=one.type, source=one.source, target=one.target, options=one.options) for one in mounts]


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    check_labels(labels, "info.Labels")
    return dict(labels)


def _message(info: Info) -> api.Info:
    return api.Info(name=info.name, parent=info.parent, kind=api.Kind.Name(info.kind), labels=info.labels,
                    created_at=timestamp(info.created_ns), updated_at=timestamp(info.updated_ns))
