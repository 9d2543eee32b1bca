"""`docker attach`: a client's connection goes to the shim, at once or when the container starts.

Clients attach before they start a container, so that no output is missed: such a connection is held with the container
and handed to the shim in its launch message. The engine copies no byte of a running container.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import TYPE_CHECKING

import msgspec

from wherry.engine import detachkeys, logs
from wherry.errors import Conflict
from wherry.shim import protocol

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.events import Events


class AttachOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants to see and send. `logs`: first what was logged; without `stream` only that."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    stream: bool = False
    detach_keys: str = ""


class Attach:
    """Attaches clients to containers."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def check(self, container: Container, options: AttachOptions, reference: str = "") -> bytes:
        """The detach keys. Raises InvalidArgument, and Conflict for a state in which nobody can attach.

        `reference` is what the client calls the container: Docker repeats it when the container is paused.
        """
        keys = detachkeys.parse(options.detach_keys)
        if container.state.status == "paused":
            raise Conflict(f"container {reference or container.id} is paused, unpause the container before attach")
        if container.state.status == "restarting":
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if container.state.status in ("removing", "dead"):
            raise Conflict(f"container {container.id} is marked for removal")
        return keys

    async def attach(self, container: Container, options: AttachOptions, connection_fd: int, early: bytes, *,
                     multiplex: bool) -> None:
        """Hands a connection over; it is closed by whoever has it last. `multiplex`: stdcopy frames (no terminal)."""
        try:
            keys = self.check(container, options)
            request = protocol.AttachRequest(
                attach_id=secrets.token_hex(8), stdin=options.stdin and container.record.config.open_stdin,
                stdout=options.stdout, stderr=options.stderr, logs=options.logs, stream=options.stream,
                multiplex=multiplex and not container.tty, detach_keys=keys, early=early)
            self._events.publish("container", "attach", container.id, container.attributes())
            if container.shim is not None and container.state.running:
                await container.shim.attach(request, connection_fd)
            elif options.stream:
                container.held.append((request, connection_fd))
            else:
                # The replay has a descriptor of its own, because on any failure this one is closed here.
                await self._replay(container, request, os.dup(connection_fd))
                os.close(connection_fd)
        except BaseException:
            os.close(connection_fd)
            raise

    async def _replay(self, container: Container, request: protocol.AttachRequest, connection_fd: int) -> None:
        """Sends what was logged of a container that does not run."""
        with socket.socket(fileno=connection_fd) as connection:
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            if request.logs and (request.stdout or request.stderr):
                wanted = logs.LogsRequest(stdout=request.stdout, stderr=request.stderr)
                try:
                    async for chunk in logs.read(container, wanted):
                        await loop.sock_sendall(connection, chunk)
                except ConnectionError:
                    return  # the client went away
