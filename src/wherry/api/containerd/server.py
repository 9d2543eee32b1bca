"""The gRPC server on its Unix socket, in the daemon's event loop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import grpc.aio

from wherry.api.containerd.binding import Router

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.api.containerd.binding import Service

_MOST_BYTES = 16 << 20  # as containerd
_OPTIONS = (("grpc.max_receive_message_length", _MOST_BYTES), ("grpc.max_send_message_length", _MOST_BYTES),
            ("grpc.so_reuseport", 0))


class Server:
    """Serves a list of services."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((Router(services),))

    async def listen(self, path: str) -> None:
        """Accepts clients on a socket that is made here, 0660 and root's. Raises OSError."""
        mask = os.umask(0o777 & ~0o660)
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError as error:
            raise OSError(f"listen unix {path}: {error}") from error
        finally:
            os.umask(mask)
        await self._server.start()

    async def close(self, seconds: float) -> None:
        """Accepts nobody any more, lets the calls under way end, and after some seconds breaks off the rest."""
        await self._server.stop(seconds)
