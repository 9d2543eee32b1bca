"""ttrpc on asyncio: the client of a shim's socket, and the server for what shims tell. The frames: `shim.containerd.ttrpc`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wherry import errors
from wherry.shim.containerd import messages, ttrpc
from wherry.shim.containerd.protobuf import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# containerd's word for each code; clients match on it at the end of a message.
_ERRORS: dict[int, tuple[type[errors.WherryError], str]] = {
    ttrpc.INVALID_ARGUMENT: (errors.InvalidArgument, "invalid argument"),
    ttrpc.NOT_FOUND: (errors.NotFound, "not found"),
    ttrpc.ALREADY_EXISTS: (errors.AlreadyExists, "already exists"),
    ttrpc.FAILED_PRECONDITION: (errors.Conflict, "failed precondition"),
    ttrpc.UNIMPLEMENTED: (errors.Unsupported, "not implemented"),
    ttrpc.UNAVAILABLE: (errors.Unavailable, "unavailable"),
}


class _Frames(asyncio.Protocol):
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Passes on each frame that is whole."""
        self._received += data
        try:
            while (found := ttrpc.take_frame(self._received)) is not None:
                self.frame_received(*found)
        except errors.InvalidArgument:
            self.close()

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        """One frame."""
        raise NotImplementedError

    def send(self, kind: int, stream: int, payload: bytes) -> None:
        """Sends one frame; nothing when the connection is over."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ttrpc.frame(kind, stream, payload))

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()


class Client(_Frames):
    """Calls on one connection, any number at a time. `lost` is called once, when the other side has gone."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__()
        self._lost = lost
        self._stream = -1
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._is_over = False

    @classmethod
    async def connect(cls, path: str, lost: Callable[[], None]) -> Client:
        """Connects to a socket. Raises OSError."""
        _, client = await asyncio.get_running_loop().create_unix_connection(lambda: cls(lost), path)
        return client

    async def call(self, service: str, method: str, payload: bytes) -> bytes:
        """The answer's bytes. Raises the error of the answer, with containerd's word at its end; Unavailable when it is gone."""
        if self._is_over:
            raise errors.Unavailable("ttrpc: closed: unavailable")
        self._stream += 2
        stream = self._stream
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = answer
        self.send(ttrpc.REQUEST, stream,
                  encode(messages.Request, {"service": service, "method": method, "payload": payload}))
        try:
            return await answer
        finally:
            self._waiting.pop(stream, None)

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        """An answer."""
        waiting = self._waiting.get(stream)
        if kind != ttrpc.RESPONSE or waiting is None or waiting.done():
            return
        response = decode(messages.Response, payload)
        status = response["status"]
        if status and status["code"]:
            waiting.set_exception(read_error(status["code"], status["message"]))
        else:
            waiting.set_result(response["payload"])

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody will answer any more."""
        self._is_over = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(errors.Unavailable("ttrpc: closed: unavailable"))
        self._lost()


class Server(_Frames):
    """Answers calls on one connection. A handler takes the payload, and returns the answer's or raises WherryError."""

    def __init__(self, handlers: Mapping[tuple[str, str], Callable[[bytes], bytes]]) -> None:
        super().__init__()
        self._handlers = handlers

    def frame_received(self, kind: int, stream: int, payload: bytes) -> None:
        """A request."""
        try:
            answer: dict[str, object] = {"payload": self._answer(kind, payload)}
        except errors.WherryError as error:
            answer = {"status": {"code": ttrpc.code_of(error), "message": error.message}}
        self.send(ttrpc.RESPONSE, stream, encode(messages.Response, answer))

    def _answer(self, kind: int, payload: bytes) -> bytes:
        if kind != ttrpc.REQUEST:
            raise errors.InvalidArgument("only requests are understood")
        request = decode(messages.Request, payload)
        handler = self._handlers.get((request["service"], request["method"]))
        if handler is None:
            raise errors.Unsupported(f"/{request['service']}/{request['method']}: not implemented")
        return handler(request["payload"])


def read_error(code: int, message: str) -> errors.WherryError:
    """The exception of a status."""
    kind, word = _ERRORS.get(code, (errors.WherryError, "unknown"))
    return kind(f"{message.removesuffix(': ' + word)}: {word}" if message != word else word)
