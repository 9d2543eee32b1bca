"""The socket on which shims tell what happened: containerd's `<address>.ttrpc`. They try again while nobody listens there."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from wherry.errors import InvalidArgument
from wherry.shim.containerd import messages
from wherry.shim.containerd.events import SERVICE
from wherry.shim.containerd.protobuf import decode
from wherry.tasks.calls import Server

if TYPE_CHECKING:
    from collections.abc import Callable


class Listener:
    """Takes events of shims; `forward` gets each envelope (timestamp, namespace, topic, event)."""

    def __init__(self, path: str, forward: Callable[[dict[str, Any]], None]) -> None:
        self._path, self._forward = path, forward
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Begins to listen; whoever listened before is dead. Raises OSError."""
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        mask = os.umask(0o777 & ~0o600)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: Server({(SERVICE, "Forward"): self._forwarded}), self._path)
        finally:
            os.umask(mask)

    def _forwarded(self, payload: bytes) -> bytes:
        envelope = decode(messages.ForwardRequest, payload)["envelope"]
        if envelope is None or envelope["event"] is None:
            raise InvalidArgument("an event without an envelope")
        self._forward(envelope)
        return b""

    async def close(self) -> None:
        """Ends it."""
        if self._server is not None:
            self._server.close()
