"""How a connection leaves HTTP: the socket itself is given away, or one end of a pair behind a translator.

    plain HTTP/1.1     101 UPGRADED (or 200), then a duplicate of the socket: wherryd is out of the way
    TLS                101 UPGRADED, then a socket pair; this process goes on to encrypt and decrypt
    attach/ws          101 Switching Protocols, then a socket pair; this process goes on to frame and unframe

Both directions of a pair have bounded buffers: who writes too fast is not read from. A half-close travels through.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from wherry.api.docker.http import Upgraded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wherry.api.docker.http import Hijack, Request

PAIR_BYTES = 256 << 10


class Transport(Protocol):
    """What is needed of asyncio's transports and of `tls.py`'s."""

    def write(self, data: bytes) -> None:
        """Sends, or keeps what cannot be sent yet."""
        ...

    def write_eof(self) -> None:
        """Closes the direction to the peer, once all is sent."""
        ...

    def close(self) -> None:
        """Closes, once all is sent."""
        ...

    def abort(self) -> None:
        """Closes now."""
        ...

    def is_closing(self) -> bool:
        """Whether it was closed by either side."""
        ...

    def pause_reading(self) -> None:
        """No more `data_received` until resumed."""
        ...

    def resume_reading(self) -> None:
        """The opposite."""
        ...

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Who is told from now on."""
        ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When `pause_writing` is called."""
        ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`socket`, `ssl_object`."""
        ...


class Codec(Protocol):
    """What stands between the client's bytes and the stream's."""

    def from_client(self, data: bytes) -> tuple[list[bytes], list[bytes], bool]:
        """(bytes for the stream, bytes to answer to the client, whether the client has ended the stream)."""
        ...

    def to_client(self, data: bytes) -> bytes:
        """Bytes of the stream as the client wants them."""
        ...

    def end(self) -> bytes:
        """What tells the client that the stream is over."""
        ...


class Transparent:
    """Nothing in between: TLS does its work in the transport."""

    def from_client(self, data: bytes) -> tuple[list[bytes], list[bytes], bool]:
        """As it is."""
        return [data] if data else [], [], False

    def to_client(self, data: bytes) -> bytes:
        """As it is."""
        return data

    def end(self) -> bytes:
        """Closing says it."""
        return b""


async def hand_over(transport: Transport, common: tuple[tuple[str, str], ...], request: Request, answer: Hijack,
                    early: bytes, drain: Callable[[], Awaitable[None]]) -> Upgraded:
    """Writes the head of the answer and returns the socket for the handler. The transport is not to be used after.

    Raises InvalidArgument when a WebSocket is wanted and the request is none, ConnectionError when the client is gone.
    """
    if answer.websocket:
        from wherry.api.docker.websocket import WebSocket

        websocket = WebSocket(request, text=answer.text)
        transport.write(websocket.accept())
        return await _pair(transport, websocket, early)
    transport.write(_head(common, request, answer))
    await drain()
    if transport.get_extra_info("ssl_object") is not None:
        return await _pair(transport, Transparent(), early)
    descriptor = os.dup(transport.get_extra_info("socket").fileno())
    transport.abort()  # closes the original without a shutdown: the duplicate stays connected
    return Upgraded(descriptor, early)


def _head(common: tuple[tuple[str, str], ...], request: Request, answer: Hijack) -> bytes:
    """101 where the client asked for an upgrade to whatever; else, as for clients of old, 200 and then the stream."""
    fields = [("Content-Type", answer.content_type)]
    if request.headers.get("upgrade"):
        line = "HTTP/1.1 101 UPGRADED"
        fields += [("Connection", "Upgrade"), ("Upgrade", "tcp")]
    else:
        line = "HTTP/1.1 200 OK"
    head = "".join(f"{name}: {value}\r\n" for name, value in (*fields, *common))
    return f"{line}\r\n{head}\r\n".encode("latin-1")


async def _pair(transport: Transport, codec: Codec, early: bytes) -> Upgraded:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        client = _Client(transport, codec)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: _Stream(client), ours)
        except BaseException:
            ours.close()
            raise
        transport.set_write_buffer_limits(PAIR_BYTES)
        transport.set_protocol(client)
        client.data_received(early)
        transport.resume_reading()
        return Upgraded(theirs.detach())


class _Client(asyncio.Protocol):
    """The client's side of a pair: is told what the client does."""

    def __init__(self, transport: Transport, codec: Codec) -> None:
        self.transport = transport
        self.codec = codec
        self.stream: asyncio.Transport

    def data_received(self, data: bytes) -> None:
        """From the client to the stream."""
        chunks, replies, ended = self.codec.from_client(data)
        for reply in replies:
            self.transport.write(reply)
        for chunk in chunks:
            if not self.stream.is_closing():
                self.stream.write(chunk)
        if ended:
            self.eof_received()

    def eof_received(self) -> bool:
        """The client sends no more, and may still want to read."""
        if not self.stream.is_closing():
            self.stream.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        del error
        self.stream.abort()

    def pause_writing(self) -> None:
        """The client does not read: the stream is not read either."""
        self.stream.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.stream.resume_reading()


class _Stream(asyncio.Protocol):
    """The stream's side of a pair: is told what the holder of the other end does."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The pair is ready."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(PAIR_BYTES)
        self._client.stream = transport

    def data_received(self, data: bytes) -> None:
        """From the stream to the client."""
        self._client.transport.write(self._client.codec.to_client(data))

    def eof_received(self) -> bool:
        """The holder is done: so is the connection, as dockerd closes it."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Closes the client's side once it has everything."""
        del error
        if not self._client.transport.is_closing():
            self._client.transport.write(self._client.codec.end())
            self._client.transport.close()

    def pause_writing(self) -> None:
        """The holder does not read: the client is not read either."""
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        """The holder reads again."""
        self._client.transport.resume_reading()
