"""TCP from a host port to a container: bytes move by splice(2) through a pipe and never enter this process.

Each connection has two directions, and each direction a pipe (made when there is something to move). A side that has ended
is passed on as a half-close, so that `nc -N`, rsync and HTTP/1.0 clients work; a reset is passed on as a reset.
"""

from __future__ import annotations

import _socket
import errno
import os

from wherry.network.proxy.loop import FAILED, READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.network.proxy.loop import Loop

_CHUNK = 1 << 16
_ROUNDS = 16  # how often one direction may fill and empty its pipe before the others get their turn
_ACCEPTS = 64
_PAUSE_S = 0.1
_SPLICE_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SO_LINGER_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger { l_onoff = 1, l_linger = 0 }


class TcpForward:
    """A listening socket whose connections go to one address."""

    def __init__(self, loop: Loop, listener: _socket.socket, target: tuple[str, int]) -> None:
        """Owns `listener` from here on."""
        self._loop = loop
        self._listener = listener
        self._target = target
        self._connections: set[Connection] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), READ, self._accept)

    def close(self) -> None:
        """Stops listening and cuts the connections, as docker-proxy's end does."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        for connection in tuple(self._connections):
            connection.close()

    def _accept(self, _events: int) -> None:
        for _ in range(_ACCEPTS):
            try:
                fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (how the C socket spells accept)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._pause()
                    return
                continue  # the client has gone meanwhile
            client = _socket.socket(fileno=fd)
            try:
                connection = Connection(self._loop, client, self._target)
            except OSError as error:
                client.close()
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._pause()
                    return
                continue
            self._connections.add(connection)
            connection.on_close = self._connections.discard

    def _pause(self) -> None:
        """Out of descriptors: the queue is left to the kernel for a moment instead of spinning on it."""
        fd = self._listener.fileno()
        self._loop.watch(fd, 0, self._accept)

        def go_on() -> None:
            if self._listener.fileno() >= 0:
                self._loop.watch(fd, READ, self._accept)

        self._loop.later(_PAUSE_S, go_on)


class Direction:
    """One way of a connection: from a socket through a pipe to the other socket."""

    __slots__ = ("ended", "pending", "pipe", "sink", "source")

    def __init__(self, source: _socket.socket, sink: _socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.pipe: tuple[int, int] | None = None
        self.pending = 0
        self.ended = False  # and the sink knows

    def pump(self) -> None:
        """Moves what can be moved without waiting. Raises OSError when either side is broken."""
        for _ in range(_ROUNDS):
            while self.pending:
                assert self.pipe
                try:
                    self.pending -= os.splice(self.pipe[0], self.sink.fileno(), self.pending, flags=_SPLICE_FLAGS)
                except BlockingIOError:
                    return
            if self.ended:
                return
            if self.pipe is None:
                self.pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                self.pending = os.splice(self.source.fileno(), self.pipe[1], _CHUNK, flags=_SPLICE_FLAGS)
            except BlockingIOError:
                return
            if not self.pending:
                self._end()

    def _end(self) -> None:
        """The source has ended and all that it sent has gone on: so does its end, at once, for no event will come for it."""
        self.ended = True
        try:
            self.sink.shutdown(_socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise

    def close(self) -> None:
        """Closes the pipe."""
        if self.pipe:
            os.close(self.pipe[0])
            os.close(self.pipe[1])
            self.pipe = None


class Connection:
    """A client's socket, the container's socket, and the two directions between them."""

    def __init__(self, loop: Loop, client: _socket.socket, target: tuple[str, int]) -> None:
        """Owns `client` when it returns; raises OSError when no connection can even be begun."""
        self._loop = loop
        self._client = client
        self.on_close: Callable[[Connection], None] = _nothing
        family = _socket.AF_INET6 if ":" in target[0] else _socket.AF_INET
        self._backend = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        client.setblocking(False)
        try:
            self._backend.connect(target)
        except BlockingIOError:
            pass
        except OSError:
            self._backend.close()
            raise
        for sock in (client, self._backend):
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._up = Direction(client, self._backend)
        self._down = Direction(self._backend, client)
        loop.watch(self._backend.fileno(), WRITE, self._connected)

    def close(self) -> None:
        """Closes everything. Idempotent."""
        if self._client.fileno() < 0:
            return
        for sock in (self._client, self._backend):
            self._loop.forget(sock.fileno())
            sock.close()
        self._up.close()
        self._down.close()
        self.on_close(self)

    def _connected(self, _events: int) -> None:
        if self._backend.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            self._reset()
            return
        self._serve(0)

    def _serve(self, events: int) -> None:
        try:
            self._up.pump()
            self._down.pump()
            if events & FAILED and self._is_broken():
                self._reset()
                return
        except OSError:
            self._reset()
            return
        if self._up.ended and self._down.ended:
            self.close()
            return
        self._loop.watch(self._client.fileno(), _interest(self._up, self._down), self._serve)
        self._loop.watch(self._backend.fileno(), _interest(self._down, self._up), self._serve)

    def _is_broken(self) -> bool:
        return any(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR) for sock in (self._client, self._backend))

    def _reset(self) -> None:
        """One side broke off: the other learns it by a reset, not by an end that looks orderly."""
        for sock in (self._client, self._backend):
            try:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _SO_LINGER_RESET)
            except OSError:
                continue  # it was not connected
        self.close()


def _interest(reading: Direction, writing: Direction) -> int:
    """What a socket is waited for: it is the source of `reading` and the sink of `writing`."""
    mask = READ if not reading.ended and not reading.pending else 0
    return mask | (WRITE if writing.pending else 0)


def _nothing(_connection: Connection) -> None:
    return None
