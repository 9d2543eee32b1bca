"""The service Namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from wherry.errors import InvalidArgument
from wherry.oci.gotext import quote
from wherry.proto import events_pb2 as events
from wherry.proto.services import namespaces_pb2 as api

if TYPE_CHECKING:
    from wherry.api.containerd.call import Call
    from wherry.api.containerd.exchange import Exchange
    from wherry.engine.pool import Pool
    from wherry.store.metadata import namespaces as store


class Namespaces:
    """`ctr namespaces`. It needs no namespace in the metadata, unlike all others; its events are of that one, if there is one."""

    def __init__(self, pool: Pool, namespaces: store.Namespaces, exchange: Exchange) -> None:
        self._pool = pool
        self._namespaces = namespaces
        self._exchange = exchange

    async def get(self, request: api.GetNamespaceRequest, _call: Call) -> api.GetNamespaceResponse:
        """One; of one that does not exist an empty description, as containerd."""
        found = await self._pool.run(self._namespaces.get, request.name)
        return api.GetNamespaceResponse(namespace=_message(found))

    async def list(self, _request: api.ListNamespacesRequest, _call: Call) -> api.ListNamespacesResponse:
        """All; containerd's filter here has no effect."""
        found = await self._pool.run(self._namespaces.all)
        return api.ListNamespacesResponse(namespaces=[_message(one) for one in found])

    async def create(self, request: api.CreateNamespaceRequest, call: Call) -> api.CreateNamespaceResponse:
        """Makes one."""
        made = await self._pool.run(self._namespaces.create, request.namespace.name, dict(request.namespace.labels))
        self._exchange.publish(call.namespace_or(made.name), "/namespaces/create",
                               events.NamespaceCreate(name=made.name, labels=made.labels))
        return api.CreateNamespaceResponse(namespace=_message(made))

    async def update(self, request: api.UpdateNamespaceRequest, call: Call) -> api.UpdateNamespaceResponse:
        """Replaces the labels, or with a mask sets those that it names. The answer is empty, as containerd's."""
        name, given = request.namespace.name, dict(request.namespace.labels)
        changes = given
        if paths := list(request.update_mask.paths):
            changes = {}
            for path in paths:
                if not path.startswith("labels."):
                    raise InvalidArgument(f"cannot update {quote(path)} field")
                key = path.removeprefix("labels.")
                changes[key] = given.get(key, "")
        await self._pool.run(self._namespaces.set_labels, name, changes, replace=not paths)
        self._exchange.publish(call.namespace_or(name), "/namespaces/update",
                               events.NamespaceUpdate(name=name, labels=given))
        return api.UpdateNamespaceResponse(namespace=api.Namespace())

    async def delete(self, request: api.DeleteNamespaceRequest, _call: Call) -> Empty:
        """Removes an empty one."""
        await self._pool.run(self._namespaces.delete, request.name)
        self._exchange.publish(request.name, "/namespaces/delete", events.NamespaceDelete(name=request.name))
        return Empty()


def _message(one: store.Namespace) -> api.Namespace:
    return api.Namespace(name=one.name, labels=one.labels)
