"""ttrpc: remote calls over a Unix stream socket, one frame for a request and one for its answer.

    frame     length (4 bytes, big endian), stream (4), type (1: request, 2: response), flags (1), then `length` bytes
    client    numbers its streams 1, 3, 5 …; the server answers on the same number, in any order

Requests and responses are `messages.Request` and `Response`. Streaming calls (type 3) are refused: the task service has none.
Source: containerd's ttrpc, PROTOCOL.md.
"""

from __future__ import annotations

import os
import struct

from wherry import errors
from wherry.shim.containerd import messages
from wherry.shim.containerd.protobuf import decode, encode
from wherry.shim.loop import ERR, HUP, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping
    from typing import Final

    from wherry.shim.loop import Loop

    Handler = Callable[["Call"], "bytes | None"]

_HEADER: Final = struct.Struct(">IIBB")
REQUEST: Final = 1
RESPONSE: Final = 2
MAX_BYTES: Final = 4 << 20
# google.rpc.Code
OK, UNKNOWN, INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION = 0, 2, 3, 5, 6, 9
RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE = 8, 12, 14


_CODES: Final = (
    (errors.AlreadyExists, ALREADY_EXISTS),
    (errors.NotFound, NOT_FOUND),
    (errors.InvalidArgument, INVALID_ARGUMENT),
    (errors.Conflict, FAILED_PRECONDITION),
    (errors.Unsupported, UNIMPLEMENTED),
    (errors.Unavailable, UNAVAILABLE),
)


def code_of(error: Exception) -> int:
    """The status code for an error; UNKNOWN for what containerd has no class for."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNKNOWN)


def frame(kind: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    return _HEADER.pack(len(payload), stream, kind, 0) + payload


def take_frame(received: bytearray) -> tuple[int, int, bytes] | None:
    """Takes the first frame out of what was received: type, stream, payload; None while it is not whole.

    Raises InvalidArgument for one that is too long: nothing that follows can be told apart any more.
    """
    if len(received) < _HEADER.size:
        return None
    length, stream, kind, _flags = _HEADER.unpack_from(received)
    if length > MAX_BYTES:
        raise errors.InvalidArgument(f"a frame of {length} bytes is longer than {MAX_BYTES}")
    if len(received) < _HEADER.size + length:
        return None
    payload = bytes(received[_HEADER.size : _HEADER.size + length])
    del received[: _HEADER.size + length]
    return kind, stream, payload


class Call:
    """A request that waits for its answer: `reply` or `fail`, once, at any time."""

    def __init__(self, peer: Peer, stream: int, service: str, method: str, payload: bytes) -> None:
        self._peer = peer
        self._stream = stream
        self.service, self.method, self.payload = service, method, payload

    def reply(self, payload: bytes) -> None:
        """Answers. Harmless when the client has gone."""
        self._peer.send(frame(RESPONSE, self._stream, encode(messages.Response, {"payload": payload})))

    def fail(self, code: int, message: str) -> None:
        """Answers with an error."""
        answer = {"status": {"code": code, "message": message}}
        self._peer.send(frame(RESPONSE, self._stream, encode(messages.Response, answer)))


class Peer:
    """One connection of either side: whole frames in, bytes out, never waiting."""

    def __init__(self, loop: Loop, connection: _socket.socket, on_frame: Callable[[Peer, int, int, bytes], None],
                 on_end: Callable[[Peer], None]) -> None:
        connection.setblocking(False)
        self._loop, self._connection, self._on_frame, self._on_end = loop, connection, on_frame, on_end
        self._fd = connection.fileno()
        self._in = bytearray()
        self._out = bytearray()
        loop.watch(self._fd, IN, self._ready)

    def send(self, data: bytes) -> None:
        """Sends, later what does not fit now."""
        if self._fd < 0:
            return
        self._out += data
        self._flush()

    def close(self) -> None:
        """Ends the connection; harmless when it has ended."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            self._connection.close()
            self._fd = -1

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: os.write(self._fd, self._out)]
        except BlockingIOError:
            self._loop.watch(self._fd, IN | OUT, self._ready)
            return
        except OSError:
            self._end()
            return
        self._loop.watch(self._fd, IN, self._ready)

    def _ready(self, events: int) -> None:
        if events & OUT:
            self._flush()
        if self._fd < 0 or not events & (IN | HUP | ERR):
            return
        try:
            piece = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            self._end()
            return
        self._in += piece
        self._take_frames()

    def _take_frames(self) -> None:
        while self._fd >= 0:
            try:
                found = take_frame(self._in)
            except errors.InvalidArgument:
                self._end()
                return
            if found is None:
                return
            self._on_frame(self, *found)

    def _end(self) -> None:
        self.close()
        self._on_end(self)


class Server:
    """Answers calls on a listening socket. A handler returns the answer's bytes, or None and answers its call later.

    `complain` is told of an error that is no `WherryError` and no `OSError`, `called` of each method that is called.
    """

    def __init__(self, loop: Loop, listener: _socket.socket, handlers: Mapping[tuple[str, str], Handler],
                 complain: Callable[[str], None], called: Callable[[str], None] = lambda _: None) -> None:
        self._loop, self._listener, self._handlers = loop, listener, handlers
        self._complain, self._called = complain, called
        self._peers: set[Peer] = set()
        listener.setblocking(False)
        loop.watch(listener.fileno(), IN, self._connected)

    @property
    def services(self) -> frozenset[str]:
        """The names of the services."""
        return frozenset(service for service, _ in self._handlers)

    def _connected(self, _events: int) -> None:
        import _socket

        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (`accept` is the wrapping class's)
        except (BlockingIOError, ConnectionAbortedError):
            return
        self._peers.add(Peer(self._loop, _socket.socket(fileno=fd), self._framed, self._peers.discard))

    def _framed(self, peer: Peer, kind: int, stream: int, payload: bytes) -> None:
        if kind != REQUEST or not stream % 2:
            Call(peer, stream, "", "", b"").fail(INVALID_ARGUMENT, "only requests on streams with odd numbers are understood")
            return
        try:
            request = decode(messages.Request, payload)
        except errors.InvalidArgument as error:
            Call(peer, stream, "", "", b"").fail(INVALID_ARGUMENT, f"unmarshal request: {error.message}")
            return
        self.answer(Call(peer, stream, request["service"], request["method"], request["payload"]))

    def answer(self, call: Call) -> None:
        """Has the call handled."""
        self._called(call.method)
        handler = self._handlers.get((call.service, call.method))
        if handler is None:
            what = f"method {call.method}" if call.service in self.services else f"service {call.service}"
            call.fail(UNIMPLEMENTED, f"{what}: not implemented")
            return
        try:
            payload = handler(call)
        except (errors.WherryError, OSError) as error:
            call.fail(code_of(error), str(error))
        except Exception as error:  # noqa: BLE001 (the boundary of a request: who asked is told)
            self._complain(f"{call.method}: {type(error).__name__}: {error}")
            call.fail(UNKNOWN, f"{type(error).__name__}: {error}")
        else:
            if payload is not None:
                call.reply(payload)

