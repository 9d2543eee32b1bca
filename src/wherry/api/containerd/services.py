"""The services that the server offers: one line each. A service is given only the rooms that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1 import health_pb2

from wherry.api.containerd.binding import Service
from wherry.api.containerd.namespaces import Namespaces
from wherry.api.containerd.version import Health, Version
from wherry.proto.services import namespaces_pb2, version_pb2

if TYPE_CHECKING:
    from types import ModuleType

    from wherry.api.containerd.rooms import Rooms


def services(rooms: Rooms) -> list[Service]:
    """All of them."""
    return [
        _service(health_pb2, "Health", Health()),
        _service(namespaces_pb2, "Namespaces", Namespaces(rooms.pool, rooms.namespaces, rooms.exchange)),
        _service(version_pb2, "Version", Version()),
    ]


def _service(messages: ModuleType, name: str, implementation: object) -> Service:
    return Service(description=messages.DESCRIPTOR.services_by_name[name], implementation=implementation)
