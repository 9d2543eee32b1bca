"""The service Leases."""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from wherry.api.containerd.moments import timestamp
from wherry.api.containerd.wanted import wanted
from wherry.proto.services import leases_pb2 as api
from wherry.store.metadata.leases import Lease, Resource

if TYPE_CHECKING:
    from wherry.api.containerd.call import Call
    from wherry.api.containerd.collecting import Collector
    from wherry.engine.pool import Pool
    from wherry.store.metadata import leases as store


class Leases:
    """`ctr leases`."""

    def __init__(self, pool: Pool, leases: store.Leases, collector: Collector) -> None:
        self._pool = pool
        self._leases = leases
        self._collector = collector

    async def create(self, request: api.CreateRequest, call: Call) -> api.CreateResponse:
        """Makes one, under a name of its own where none is given."""
        made = await self._pool.run(self._leases.create, call.namespace, request.id or new_id(), dict(request.labels))
        return api.CreateResponse(lease=_message(made))

    async def delete(self, request: api.DeleteRequest, call: Call) -> Empty:
        """Removes one; with `sync` also what it alone held, before the answer."""
        await self._pool.run(self._leases.delete, call.namespace, request.id)
        if request.sync:
            await self._collector.now()
        else:
            self._collector.deleted()
        return Empty()

    async def list(self, request: api.ListRequest, call: Call) -> api.ListResponse:
        """Those that one of the filters fits."""
        found = await self._pool.run(self._leases.all, call.namespace, wanted(request.filters))
        return api.ListResponse(leases=[_message(one) for one in found])

    async def add_resource(self, request: api.AddResourceRequest, call: Call) -> Empty:
        """Has the lease protect something."""
        await self._pool.run(self._leases.add_resource, call.namespace, request.id, _resource(request.resource))
        return Empty()

    async def delete_resource(self, request: api.DeleteResourceRequest, call: Call) -> Empty:
        """Has it protect that no longer."""
        await self._pool.run(self._leases.delete_resource, call.namespace, request.id, _resource(request.resource))
        self._collector.deleted()
        return Empty()

    async def list_resources(self, request: api.ListResourcesRequest, call: Call) -> api.ListResourcesResponse:
        """What the lease protects."""
        found = await self._pool.run(self._leases.resources, call.namespace, request.id)
        return api.ListResourcesResponse(resources=[api.Resource(id=one.name, type=one.kind) for one in found])


def _resource(one: api.Resource) -> Resource:
    return Resource(kind=one.type, name=one.id)


def _message(one: Lease) -> api.Lease:
    return api.Lease(id=one.id, created_at=timestamp(one.created_ns), labels=one.labels)


def new_id() -> str:
    """As containerd makes them: the nanosecond and three random bytes, `123456789-aB3_`."""
    return f"{time.time_ns() % 1_000_000_000}-{urlsafe_b64encode(secrets.token_bytes(3)).decode()}"
