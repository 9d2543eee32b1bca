"""The service Streaming: streams of packed messages that a client opens under an id, for another call to refer to."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from wherry.api.containerd.exchange import packed_any
from wherry.errors import AlreadyExists, Cancelled, InvalidArgument, NotFound
from wherry.oci.gotext import quote
from wherry.proto.services.streaming_pb2 import StreamInit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from google.protobuf.any_pb2 import Any

    from wherry.api.containerd.call import Call

_SENT_AHEAD = 16


class Stream:
    """One open stream, for who serves the call that refers to it."""

    def __init__(self, received: AsyncIterator[Any]) -> None:
        self._received = received
        self._to_send: asyncio.Queue[Any | None] = asyncio.Queue(_SENT_AHEAD)
        self._is_over = False

    async def receive(self) -> Any | None:
        """The client's next message, None when it sends no more."""
        return await anext(self._received, None)

    async def send(self, message: Any) -> None:
        """A message for the client; waits while the client lags behind. Raises Cancelled when it has gone."""
        if not self._is_over:
            await self._to_send.put(message)
        if self._is_over:
            raise Cancelled("the stream's client has gone")

    async def close(self) -> None:
        """No message comes any more: the client's call ends."""
        if not self._is_over:
            await self._to_send.put(None)

    async def sent(self) -> AsyncGenerator[Any, None]:
        """What was sent, until it is closed or nobody asks any more."""
        try:
            while (message := await self._to_send.get()) is not None:
                yield message
        finally:
            self._is_over = True
            while not self._to_send.empty():  # whoever waits for room hears of the end
                self._to_send.get_nowait()
                await asyncio.sleep(0)


class Streams:
    """The streams that are open, by namespace and id. For the event loop's thread alone."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Stream] = {}

    def get(self, namespace: str, name: str) -> Stream:
        """One by its id. Raises NotFound."""
        try:
            return self._open[namespace, name]
        except KeyError:
            raise NotFound(f"stream {quote(name)}: not found") from None

    def add(self, namespace: str, name: str, stream: Stream) -> None:
        """Raises AlreadyExists."""
        if (namespace, name) in self._open:
            raise AlreadyExists(f"stream {quote(name)}: already exists")
        self._open[namespace, name] = stream

    def remove(self, namespace: str, name: str) -> None:
        """It is over."""
        del self._open[namespace, name]


class Streaming:
    """The door for clients."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def stream(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        """Opens a stream: the first message names it, and is answered by an empty one when others can refer to it."""
        namespace = call.namespace
        first, init = await anext(requests, None), StreamInit()
        if first is None or first.type_url.rpartition("/")[2] != StreamInit.DESCRIPTOR.full_name:
            raise InvalidArgument("the first message of a stream must name it: invalid argument")
        init.ParseFromString(first.value)
        if not init.id:
            raise InvalidArgument("a stream needs an id: invalid argument")
        stream = Stream(requests)
        self._streams.add(namespace, init.id, stream)
        try:
            yield packed_any(Empty())
            async with aclosing(stream.sent()) as messages:
                async for message in messages:
                    yield message
        finally:
            self._streams.remove(namespace, init.id)
