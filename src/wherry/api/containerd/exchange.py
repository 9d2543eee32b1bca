"""The exchange: every change is published here, and given to whoever has subscribed.

Rooms publish after the change is on the disk. Publishing never waits: each subscriber has a queue of its own, and one that
falls too far behind is cut off (it can tell from the error, and list again). For the event loop's thread alone.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any

from wherry.api.containerd.moments import timestamp
from wherry.errors import InvalidArgument, Unavailable
from wherry.oci.gotext import quote
from wherry.proto.services.events_pb2 import Envelope
from wherry.store.metadata.names import check_identifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.message import Message

LAGGARD = 8192  # events that a subscriber may fall behind


class Exchange:
    """One per daemon."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Envelope | None]] = set()

    def publish(self, namespace: str, topic: str, event: Message) -> None:
        """Tells of something that has just happened. `event` may be packed (an Any) already.

        Raises InvalidArgument for a topic or a namespace that is none.
        """
        packed = event if isinstance(event, Any) else packed_any(event)
        self.forward(Envelope(timestamp=timestamp(time.time_ns()), namespace=namespace, topic=topic, event=packed))

    def forward(self, envelope: Envelope) -> None:
        """Passes on what happened elsewhere. Raises InvalidArgument."""
        check_topic(envelope.topic)
        for queue in tuple(self._queues):
            if queue.qsize() < LAGGARD:
                queue.put_nowait(envelope)
            else:
                self._queues.discard(queue)
                queue.put_nowait(None)

    async def subscribe(self, wanted: Callable[[Envelope], bool]) -> AsyncIterator[Envelope]:
        """What is published from now on and wanted, until the caller stops. Raises Unavailable when it is cut off."""
        queue: asyncio.Queue[Envelope | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while (envelope := await queue.get()) is not None:
                if wanted(envelope):
                    yield envelope
        finally:
            self._queues.discard(queue)
        raise Unavailable(f"subscriber is more than {LAGGARD} events behind: unavailable")


def packed_any(message: Message) -> Any:
    """A message in an Any as containerd writes it: its type URL is the message's name alone."""
    return Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


def check_topic(topic: str) -> None:
    """Raises InvalidArgument for what is no topic: `/component/component…`."""
    subject = f"envelope topic {quote(topic)}"
    if not topic:
        raise InvalidArgument(f"{subject}: must not be empty: invalid argument")
    if not topic.startswith("/"):
        raise InvalidArgument(f"{subject}: must start with '/': invalid argument")
    if len(topic) == 1:
        raise InvalidArgument(f"{subject}: must have at least one component: invalid argument")
    for component in topic[1:].split("/"):
        check_identifier(component, f"{subject}: failed validation on component {quote(component)}")
