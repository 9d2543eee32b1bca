"""The server: listening sockets on one side, the router on the other, and the connections in between.

It is given sockets that listen already (`daemon/listen.py` makes them) and closes them; it counts what is under way, so that
the daemon can end in order, or when nobody has asked for anything for a while.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from wherry.api.docker.connection import Connection
from wherry.api.docker.tls import Tls

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from wherry.api.docker.http import Answer, Request, Response
    from wherry.api.docker.router import Router

BACKLOG = 1024
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Server:
    """Serves one router on any number of listening sockets."""

    def __init__(self, router: Router, headers: tuple[tuple[str, str], ...]) -> None:
        self._router = router
        self._fixed = headers
        self._dated: tuple[int, tuple[tuple[str, str], ...]] = (0, ())
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self.requests_under_way = 0
        self.last_activity = asyncio.get_running_loop().time()
        """When a request was last begun or ended, on the loop's clock."""

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Accepts clients on a listening stream socket of any family, with TLS when a context is given."""
        def connection() -> Connection:
            return Connection(self)

        def encrypted() -> Tls:
            assert context is not None
            return Tls(context, connection)

        # create_server takes sockets of any family; its Unix twin would only add a path to unlink.
        factory: Callable[[], asyncio.Protocol] = encrypted if context else connection
        self._listeners.append(await asyncio.get_running_loop().create_server(factory, sock=sock, backlog=BACKLOG))

    def stop(self) -> None:
        """Accepts nobody any more, and no further request on the connections there are."""
        for listener in self._listeners:
            listener.close()
        for connection in tuple(self._connections):
            connection.shut()

    async def close(self, seconds: float) -> None:
        """Stops, lets the requests under way end, and after some seconds breaks off the rest."""
        self.stop()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.cancel()

    # -- what connections ask and tell (connection.Owner)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Sent with every answer; the date is made once a second."""
        now = int(time.time())
        if self._dated[0] != now:
            self._dated = (now, (*self._fixed, ("Date", http_date(now))))
        return self._dated[1]

    def handle(self, request: Request) -> Awaitable[Answer]:
        """The router's answer."""
        return self._router(request)

    def at_once(self, method: str, path: str) -> Response | None:
        """The router's answer to a request that needs no waiting."""
        return self._router.at_once(method, path)

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is over, or has left HTTP."""
        self._connections.discard(connection)

    def begun(self) -> None:
        """A request has arrived."""
        self.requests_under_way += 1
        self.last_activity = asyncio.get_running_loop().time()
        self._idle.clear()

    def ended(self) -> None:
        """A request was answered, or given up."""
        self.requests_under_way -= 1
        self.last_activity = asyncio.get_running_loop().time()
        if not self.requests_under_way:
            self._idle.set()


def http_date(seconds: int) -> str:
    """`Tue, 15 Nov 1994 08:12:31 GMT`, RFC 9110 section 5.6.7; whatever the locale (and without importing `email`)."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"
