"""The service Version, and Health, which the Go client asks whether containerd serves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from grpc_health.v1.health_pb2 import HealthCheckResponse

from wherry import __version__
from wherry.errors import NotFound
from wherry.proto.services.version_pb2 import VersionResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.empty_pb2 import Empty
    from grpc_health.v1.health_pb2 import HealthCheckRequest

    from wherry.api.containerd.call import Call


class Version:
    """`ctr version`."""

    async def version(self, _request: Empty, _call: Call) -> VersionResponse:
        """Which program this is."""
        return VersionResponse(version=__version__, revision="wherry")


class Health:
    """Whether this server works; of single services it says nothing, as containerd."""

    async def check(self, request: HealthCheckRequest, _call: Call) -> HealthCheckResponse:
        """It does, or there would be no answer. Raises NotFound for one service's health."""
        if request.service:
            raise NotFound("unknown service")
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)

    async def watch(self, request: HealthCheckRequest, _call: Call) -> AsyncIterator[HealthCheckResponse]:
        """The same once, and nothing more until the server ends: it does not change before."""
        known = not request.service
        yield HealthCheckResponse(status=HealthCheckResponse.SERVING if known else HealthCheckResponse.SERVICE_UNKNOWN)
        await asyncio.Event().wait()
