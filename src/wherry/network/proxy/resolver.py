"""The networks' DNS on sockets: answers from the names, asks the upstream servers for the rest, over UDP and TCP.

One `Resolver` per container, on two sockets that were opened inside its namespace (a rule there leads port 53 of 127.0.0.11
to them). Upstream servers are asked from the host's namespace, so the host's loopback resolvers work too.
"""

from __future__ import annotations

import _socket
import os

from wherry.network.proxy import names
from wherry.network.proxy.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.network.proxy.loop import Loop

UPSTREAM_S = 4.0
_CLIENT_IDLE_S = 30.0
_MAX_ASKING = 1024
_ROUNDS = 32
_RCODES_TO_TRY_ON = (2, 5)  # SERVFAIL, REFUSED: another server may know better


class Resolver:
    """DNS of one container."""

    def __init__(
        self, loop: Loop, udp: _socket.socket, tcp: _socket.socket, book: names.Names,
        sight: names.Sight, servers: tuple[str, ...],
    ) -> None:
        """Owns both sockets. Without `servers` (a container on internal networks only) what is not ours fails."""
        self._loop = loop
        self._udp = udp
        self._tcp = tcp
        self._book = book
        self.sight = sight
        self.servers = servers
        self._asking: set[_Ask] = set()
        self._clients: set[_TcpClient] = set()
        self._turn = 0
        udp.setblocking(False)
        tcp.setblocking(False)
        loop.watch(udp.fileno(), READ, self._receive)
        loop.watch(tcp.fileno(), READ, self._accept)

    def close(self) -> None:
        """Closes the sockets and gives up what is being asked."""
        for ask in tuple(self._asking):
            ask.close()
        for client in tuple(self._clients):
            client.close()
        for sock in (self._udp, self._tcp):
            self._loop.forget(sock.fileno())
            sock.close()

    def resolve(self, query: bytes, over_tcp: bool, done: Callable[[bytes], None]) -> None:
        """Calls `done` with the answer, now or later. Bytes that are no query are passed over in silence."""
        self._turn += 1
        try:
            reply = names.answer(query, self._book, self.sight, self._turn)
            if reply is None and (not self.servers or len(self._asking) >= _MAX_ASKING):
                reply = names.failure(query)
        except ValueError:
            return
        if reply is not None:
            done(reply)
            return
        self._asking.add(_Ask(self._loop, query, self.servers, over_tcp, done, self._asking.discard))

    def _receive(self, _events: int) -> None:
        for _ in range(_ROUNDS):
            try:
                query, client = self._udp.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier answer

            def done(reply: bytes, query: bytes = query, client: Any = client) -> None:
                try:
                    self._udp.sendto(names.fits(reply, query), client)
                except (OSError, ValueError):
                    return  # the asker is gone

            self.resolve(query, False, done)

    def _accept(self, _events: int) -> None:
        try:
            fd, _ = self._tcp._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (how the C socket spells accept)
        except OSError:
            return
        self._clients.add(_TcpClient(self._loop, _socket.socket(fileno=fd), self))

    def drop(self, client: _TcpClient) -> None:
        """A client over TCP has gone."""
        self._clients.discard(client)


class _TcpClient:
    """A client over TCP: messages with two bytes of length before them (RFC 1035, 4.2.2)."""

    def __init__(self, loop: Loop, sock: _socket.socket, resolver: Resolver) -> None:
        self._loop = loop
        self._socket = sock
        self._resolver = resolver
        self._incoming = b""
        self._outgoing = b""
        sock.setblocking(False)
        self._timer = loop.later(_CLIENT_IDLE_S, self.close)
        loop.watch(sock.fileno(), READ, self._serve)

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._timer.cancel()
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._resolver.drop(self)

    def _serve(self, events: int) -> None:
        try:
            if events & WRITE and self._outgoing:
                self._flush()
            if events & ~WRITE:
                data = self._socket.recv(65537)
                if not data:
                    self.close()
                    return
                self._incoming += data
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        while len(self._incoming) >= 2:
            end = 2 + int.from_bytes(self._incoming[:2], "big")
            if len(self._incoming) < end:
                break
            query, self._incoming = self._incoming[2:end], self._incoming[end:]
            self._timer.cancel()
            self._timer = self._loop.later(_CLIENT_IDLE_S, self.close)
            self._resolver.resolve(query, True, self._reply)

    def _reply(self, reply: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._outgoing += len(reply).to_bytes(2, "big") + reply
        try:
            self._flush()
        except OSError:
            self.close()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        self._outgoing = self._outgoing[sent:]
        self._loop.watch(self._socket.fileno(), READ | (WRITE if self._outgoing else 0), self._serve)


class _Ask:
    """One query on its way through the upstream servers: each is given four seconds, then the next is asked."""

    def __init__(
        self, loop: Loop, query: bytes, servers: tuple[str, ...], over_tcp: bool,
        done: Callable[[bytes], None], forget: Callable[[_Ask], None],
    ) -> None:
        self._loop = loop
        self._query = query
        # An identifier of our own: together with the random port it is what a forged answer would have to guess.
        self._identifier = os.urandom(2)
        self._servers = list(servers)
        self._over_tcp = over_tcp
        self._done = done
        self._forget = forget
        self._socket: _socket.socket | None = None
        self._incoming = b""
        self._refusal = b""
        self._timer = loop.later(0, self._next)

    def close(self) -> None:
        self._timer.cancel()
        self._drop_socket()
        self._forget(self)

    def _next(self) -> None:
        self._timer.cancel()
        self._drop_socket()
        if not self._servers:
            self._finish(self._refusal or names.failure(self._query))
            return
        server, _, port = self._servers.pop(0).partition("#")
        self._timer = self._loop.later(UPSTREAM_S, self._next)
        family = _socket.AF_INET6 if ":" in server else _socket.AF_INET
        kind = _socket.SOCK_STREAM if self._over_tcp else _socket.SOCK_DGRAM
        self._incoming = b""
        message = self._identifier + self._query[2:]
        try:
            self._socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
            try:
                self._socket.connect((server, int(port or 53)))
            except BlockingIOError:
                pass
            if self._over_tcp:
                self._loop.watch(self._socket.fileno(), WRITE, lambda _events: self._send_tcp(message))
            else:
                self._socket.send(message)
                self._loop.watch(self._socket.fileno(), READ, lambda _events: self._receive())
        except OSError:
            self._next()

    def _send_tcp(self, message: bytes) -> None:
        assert self._socket
        try:
            self._socket.send(len(message).to_bytes(2, "big") + message)  # a query fits any empty send buffer
        except OSError:
            self._next()
            return
        self._loop.watch(self._socket.fileno(), READ, lambda _events: self._receive())

    def _receive(self) -> None:
        assert self._socket
        try:
            data = self._socket.recv(65537)
        except BlockingIOError:
            return
        except OSError:
            self._next()
            return
        if self._over_tcp:
            if not data:
                self._next()
                return
            self._incoming += data
            if len(self._incoming) < 2 or len(self._incoming) < 2 + int.from_bytes(self._incoming[:2], "big"):
                return
            data = self._incoming[2 : 2 + int.from_bytes(self._incoming[:2], "big")]
        if len(data) < 12 or data[:2] != self._identifier or not data[2] & 0x80:
            return  # not the answer; the timer goes on
        reply = self._query[:2] + data[2:]
        if data[3] & 0x0F in _RCODES_TO_TRY_ON and self._servers:
            self._refusal = reply
            self._next()
            return
        self._finish(reply)

    def _finish(self, reply: bytes) -> None:
        self.close()
        self._done(reply)

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
