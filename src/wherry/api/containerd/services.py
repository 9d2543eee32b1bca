"""The services that the server offers: one line each. A service is given only the rooms that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1 import health_pb2

from wherry.api.containerd.binding import Service
from wherry.api.containerd.containers import Containers
from wherry.api.containerd.content import Content
from wherry.api.containerd.diff import Diff
from wherry.api.containerd.events import Events
from wherry.api.containerd.images import Images
from wherry.api.containerd.introspection import Introspection
from wherry.api.containerd.leases import Leases
from wherry.api.containerd.namespaces import Namespaces
from wherry.api.containerd.sandboxes import SandboxStore
from wherry.api.containerd.sandboxing import SandboxController
from wherry.api.containerd.snapshots import Snapshots
from wherry.api.containerd.streaming import Streaming
from wherry.api.containerd.tasks import Tasks
from wherry.api.containerd.transfer import Transfer
from wherry.api.containerd.version import Health, Version
from wherry.proto.services import (
    containers_pb2,
    content_pb2,
    diff_pb2,
    events_pb2,
    images_pb2,
    introspection_pb2,
    leases_pb2,
    namespaces_pb2,
    sandbox_pb2,
    snapshots_pb2,
    streaming_pb2,
    tasks_pb2,
    transfer_pb2,
    version_pb2,
)

if TYPE_CHECKING:
    from types import ModuleType

    from wherry.api.containerd.rooms import Rooms
    from wherry.tasks.manager import Tasks as Manager
    from wherry.tasks.sandboxes import Sandboxes


def services(rooms: Rooms, tasks: Manager, sandboxes: Sandboxes) -> list[Service]:
    """All of them."""
    offered = [
        _service(containers_pb2, "Containers", Containers(rooms.pool, rooms.containers, rooms.exchange, rooms.collector)),
        _service(content_pb2, "Content", Content(rooms.pool, rooms.blobs, rooms.ingests, rooms.exchange, rooms.collector)),
        _service(diff_pb2, "Diff", Diff(rooms.pool, rooms.blobs, rooms.ingests)),
        _service(events_pb2, "Events", Events(rooms.exchange)),
        _service(health_pb2, "Health", Health()),
        _service(images_pb2, "Images", Images(rooms.pool, rooms.images, rooms.exchange, rooms.collector)),
        _service(leases_pb2, "Leases", Leases(rooms.pool, rooms.leases, rooms.collector)),
        _service(namespaces_pb2, "Namespaces", Namespaces(rooms.pool, rooms.namespaces, rooms.exchange)),
        _service(sandbox_pb2, "Store", SandboxStore(rooms.pool, rooms.sandboxes)),
        _service(sandbox_pb2, "Controller", SandboxController(rooms.pool, rooms.sandboxes, sandboxes, rooms.exchange)),
        _service(snapshots_pb2, "Snapshots", Snapshots(rooms.pool, rooms.snapshotters, rooms.exchange, rooms.collector)),
        _service(streaming_pb2, "Streaming", Streaming(rooms.streams)),
        _service(tasks_pb2, "Tasks", Tasks(rooms.pool, rooms.containers, tasks, rooms.docker)),
        _service(transfer_pb2, "Transfer", Transfer(rooms.pool, rooms.stores, rooms.leases, rooms.streams, rooms.collector)),
        _service(version_pb2, "Version", Version()),
    ]
    names = sorted(["Introspection", *(one.description.name for one in offered)])
    introspection = Introspection(rooms.pool, rooms.folder, rooms.snapshotters, names)
    return [*offered, _service(introspection_pb2, "Introspection", introspection)]


def _service(messages: ModuleType, name: str, implementation: object) -> Service:
    return Service(description=messages.DESCRIPTOR.services_by_name[name], implementation=implementation)
