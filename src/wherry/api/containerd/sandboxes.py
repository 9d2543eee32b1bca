"""The service Store of sandboxes: their records. Their lives are the Controller's (sandboxing.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any

from wherry.api.containerd.moments import timestamp
from wherry.api.containerd.packing import packed, unpacked
from wherry.api.containerd.wanted import wanted
from wherry.proto import types_pb2 as types
from wherry.proto.services import sandbox_pb2 as api
from wherry.store.metadata.sandboxes import Sandbox

if TYPE_CHECKING:
    from wherry.api.containerd.call import Call
    from wherry.engine.pool import Pool
    from wherry.store.metadata.sandboxes import Sandboxes


class SandboxStore:
    """For CRI-like clients."""

    def __init__(self, pool: Pool, sandboxes: Sandboxes) -> None:
        self._pool = pool
        self._sandboxes = sandboxes

    async def get(self, request: api.StoreGetRequest, call: Call) -> api.StoreGetResponse:
        """One by its id."""
        found = await self._pool.run(self._sandboxes.get, call.namespace, request.sandbox_id)
        return api.StoreGetResponse(sandbox=_message(found))

    async def list(self, request: api.StoreListRequest, call: Call) -> api.StoreListResponse:
        """Those that one of the filters fits."""
        found = await self._pool.run(self._sandboxes.all, call.namespace, wanted(request.filters))
        return api.StoreListResponse(list=[_message(one) for one in found])

    async def create(self, request: api.StoreCreateRequest, call: Call) -> api.StoreCreateResponse:
        """Makes one."""
        made = await self._pool.run(self._sandboxes.create, call.namespace, _sandbox(request.sandbox))
        return api.StoreCreateResponse(sandbox=_message(made))

    async def update(self, request: api.StoreUpdateRequest, call: Call) -> api.StoreUpdateResponse:
        """Replaces the fields that are named."""
        updated = await self._pool.run(self._sandboxes.update, call.namespace, _sandbox(request.sandbox), request.fields)
        return api.StoreUpdateResponse(sandbox=_message(updated))

    async def delete(self, request: api.StoreDeleteRequest, call: Call) -> api.StoreDeleteResponse:
        """Removes one."""
        await self._pool.run(self._sandboxes.delete, call.namespace, request.sandbox_id)
        return api.StoreDeleteResponse()


def _sandbox(one: types.Sandbox) -> Sandbox:
    return Sandbox(id=one.sandbox_id, labels=dict(one.labels), runtime=one.runtime.name, sandboxer=one.sandboxer,
                   options=packed(one.runtime.options) if one.runtime.HasField("options") else None,
                   spec=packed(one.spec) if one.HasField("spec") else None,
                   extensions={name: packed(value) for name, value in one.extensions.items()})


def _message(one: Sandbox) -> types.Sandbox:
    return types.Sandbox(sandbox_id=one.id, labels=one.labels, spec=unpacked(one.spec), sandboxer=one.sandboxer,
                         runtime=types.Sandbox.Runtime(name=one.runtime, options=unpacked(one.options)),
                         created_at=timestamp(one.created_ns), updated_at=timestamp(one.updated_ns),
                         extensions={name: unpacked(value) or Any() for name, value in one.extensions.items()})
