"""The service Containers: records, which tasks are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty

from wherry.api.containerd.moments import timestamp
from wherry.api.containerd.packing import packed, unpacked
from wherry.api.containerd.wanted import wanted
from wherry.errors import InvalidArgument
from wherry.proto import events_pb2 as events
from wherry.proto.services import containers_pb2 as api
from wherry.store.metadata.containers import Container

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.api.containerd.call import Call
    from wherry.api.containerd.collecting import Collector
    from wherry.api.containerd.exchange import Exchange
    from wherry.engine.pool import Pool
    from wherry.store.metadata import containers as store


class Containers:
    """`ctr containers`."""

    def __init__(self, pool: Pool, containers: store.Containers, exchange: Exchange, collector: Collector) -> None:
        self._pool = pool
        self._containers = containers
        self._exchange = exchange
        self._collector = collector

    async def get(self, request: api.GetContainerRequest, call: Call) -> api.GetContainerResponse:
        """One by its id."""
        found = await self._pool.run(self._containers.get, call.namespace, request.id)
        return api.GetContainerResponse(container=_message(found))

    async def list(self, request: api.ListContainersRequest, call: Call) -> api.ListContainersResponse:
        """Those that one of the filters fits."""
        found = await self._pool.run(self._containers.all, call.namespace, wanted(request.filters))
        return api.ListContainersResponse(containers=[_message(one) for one in found])

    async def list_stream(self, request: api.ListContainersRequest, call: Call) -> AsyncIterator[api.ListContainerMessage]:
        """The same, one by one."""
        for one in await self._pool.run(self._containers.all, call.namespace, wanted(request.filters)):
            yield api.ListContainerMessage(container=_message(one))

    async def create(self, request: api.CreateContainerRequest, call: Call) -> api.CreateContainerResponse:
        """Makes one."""
        namespace = call.namespace
        made = await self._pool.run(self._containers.create, namespace, _container(request.container))
        runtime = events.ContainerCreate.Runtime(name=made.runtime, options=unpacked(made.options))
        self._exchange.publish(namespace, "/containers/create",
                               events.ContainerCreate(id=made.id, image=made.image, runtime=runtime))
        return api.CreateContainerResponse(container=_message(made))

    async def update(self, request: api.UpdateContainerRequest, call: Call) -> api.UpdateContainerResponse:
        """Replaces what the mask names."""
        if not request.container.id:
            raise InvalidArgument("Container.ID required")
        namespace = call.namespace
        updated = await self._pool.run(self._containers.update, namespace, _container(request.container),
                                       request.update_mask.paths)
        self._exchange.publish(namespace, "/containers/update", events.ContainerUpdate(
            id=updated.id, image=updated.image, labels=updated.labels, snapshot_key=updated.snapshot_key))
        return api.UpdateContainerResponse(container=_message(updated))

    async def delete(self, request: api.DeleteContainerRequest, call: Call) -> Empty:
        """Removes one; its snapshot is collected when nothing else holds it."""
        namespace = call.namespace
        await self._pool.run(self._containers.delete, namespace, request.id)
        self._exchange.publish(namespace, "/containers/delete", events.ContainerDelete(id=request.id))
        self._collector.deleted()
        return Empty()


def _container(one: api.Container) -> Container:
    return Container(id=one.id, labels=dict(one.labels), image=one.image, runtime=one.runtime.name,
                     options=packed(one.runtime.options) if one.runtime.HasField("options") else None,
                     spec=packed(one.spec) if one.HasField("spec") else None, snapshotter=one.snapshotter,
                     snapshot_key=one.snapshot_key, sandbox=one.sandbox,
                     extensions={name: packed(value) for name, value in one.extensions.items()})


def _message(one: Container) -> api.Container:
    return api.Container(id=one.id, labels=one.labels, image=one.image, snapshotter=one.snapshotter,
                         snapshot_key=one.snapshot_key, spec=unpacked(one.spec), sandbox=one.sandbox,
                         runtime=api.Container.Runtime(name=one.runtime, options=unpacked(one.options)),
                         created_at=timestamp(one.created_ns), updated_at=timestamp(one.updated_ns),
                         extensions={name: unpacked(value) or Any() for name, value in one.extensions.items()})
