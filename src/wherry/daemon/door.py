"""A Unix socket whose server is made when the first client comes: it costs what a daemon without such clients can do without.

First a socket of ours listens. When a client comes, the server is made; it listens on a path beside, which then takes the place
of ours (rename(2): a socket's file is its inode). Those who had come before are relayed to it, all others reach it directly.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    class Api(Protocol):
        """What is made."""

        async def close(self, seconds: float) -> None:
            """Ends what is under way, after some seconds by force."""


log = logging.getLogger("wherry.daemon")

_BACKLOG = 128
_PIECE = 64 << 10


class Door:
    """One socket. For the event loop's thread alone."""

    def __init__(self, path: str, make: Callable[[str], Awaitable[Api]]) -> None:
        """`make` has a server listen on a path that nobody else uses."""
        self._path = path
        self._make = make
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._api: Api | None = None
        self._opening: asyncio.Task[None] | None = None
        self._relays: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Accepts clients from here on; only root's. OSError."""
        mask = os.umask(0o777 & ~0o660)
        try:
            self._sock.bind(self._path)
        finally:
            os.umask(mask)
        self._sock.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._sock, self._knocked)

    async def close(self, seconds: float) -> None:
        """Nobody comes in any more; what is under way has some seconds."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        if self._opening is not None:
            await self._opening
        if self._api is not None:
            await self._api.close(seconds)
        for relay in tuple(self._relays):
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        with suppress(FileNotFoundError):
            os.unlink(self._path)

    def open(self) -> None:
        """Has the server made, as if a client had come."""
        if self._api is None and self._opening is None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._opening = asyncio.get_running_loop().create_task(self._open())

    def _knocked(self) -> None:
        if self._api is not None:
            self._let_in()
        else:
            self.open()

    async def _open(self) -> None:
        """Makes the server and lets those in who wait. If it cannot be made they are sent away, and the next one tries again."""
        beside = f"{self._path}.new"
        with suppress(FileNotFoundError):
            os.unlink(beside)  # of a daemon that was killed
        try:
            self._api = await self._make(beside)
            os.rename(beside, self._path)
        except Exception as error:  # whatever it is, the daemon goes on
            log.error("the API on %s cannot be opened: %s", self._path, error, exc_info=True)
            for client in self._waiting():
                client.close()
        else:
            self._let_in()
        self._opening = None
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._sock, self._knocked)

    def _let_in(self) -> None:
        for client in self._waiting():
            relay = asyncio.get_running_loop().create_task(self._relay(client))
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)

    def _waiting(self) -> list[socket.socket]:
        found = []
        with suppress(OSError):  # nobody else, or closed meanwhile
            while True:
                client, _ = self._sock.accept()
                client.setblocking(False)
                found.append(client)
        return found

    async def _relay(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with client, server, suppress(OSError):  # one of them has gone
            await loop.sock_connect(server, self._path)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(client, server))
                both.create_task(_copy(server, client))


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await loop.sock_recv(source, _PIECE):
            await loop.sock_sendall(target, data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
