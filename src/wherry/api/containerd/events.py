"""The service Events: publish, forward, subscribe."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from wherry.api.containerd.exchange import check_topic
from wherry.errors import InvalidArgument, WherryError
from wherry.store.metadata.filters import of_map, parse_all
from wherry.store.metadata.names import check_identifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.any_pb2 import Any
    from google.protobuf.message import Message

    from wherry.api.containerd.call import Call
    from wherry.api.containerd.exchange import Exchange
    from wherry.proto.services import events_pb2 as api


class Events:
    """`ctr events`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def publish(self, request: api.PublishRequest, call: Call) -> Empty:
        """An event of the client's, now and in its namespace."""
        try:
            namespace = call.namespace
        except WherryError as error:
            raise type(error)(f"failed publishing event: {error.message}") from None
        self._exchange.publish(namespace, request.topic, request.event)
        return Empty()

    async def forward(self, request: api.ForwardRequest, _call: Call) -> Empty:
        """An event with its time and namespace."""
        envelope = request.envelope
        check_identifier(envelope.namespace, "event envelope has invalid namespace")
        check_topic(envelope.topic)
        if not envelope.HasField("timestamp"):
            raise InvalidArgument("timestamp must be set on forwarded event: invalid argument")
        self._exchange.forward(envelope)
        return Empty()

    async def subscribe(self, request: api.SubscribeRequest, _call: Call) -> AsyncIterator[api.Envelope]:
        """All events of all namespaces that one of the filters fits."""
        try:
            wanted = parse_all(request.filters)
        except InvalidArgument as error:
            raise InvalidArgument(f"subscription error: failed parsing subscription filters: {error.message}") from None
        async for envelope in self._exchange.subscribe(lambda one: wanted(partial(field, one))):
            yield envelope


def field(envelope: api.Envelope, path: Sequence[str]) -> str | None:
    """What a filter finds: `topic`, `namespace`, `event.` and a path of the event's own fields."""
    match path:
        case ["topic"]:
            return envelope.topic or None
        case ["namespace"]:
            return envelope.namespace or None
        case ["event", *rest]:
            message = _unpacked(envelope.event)
            return None if message is None else _of_message(message, rest)
        case _:
            return None


def _of_message(message: Message, path: Sequence[str]) -> str | None:
    """A field of text, a label, or a field of a message within; others are not there, as with containerd."""
    if not path:
        return None
    described = message.DESCRIPTOR.fields_by_name.get(path[0])
    if described is None:
        return None
    value = getattr(message, path[0])
    if described.message_type is not None and described.message_type.GetOptions().map_entry:
        return of_map(value, path[1:])
    if described.is_repeated:
        return None
    if described.message_type is not None:
        return _of_message(value, path[1:]) if message.HasField(path[0]) else None
    return value or None if isinstance(value, str) and len(path) == 1 else None


def _unpacked(event: Any) -> Message | None:
    """The event itself, if it is one of those that this program knows."""
    try:
        description = descriptor_pool.Default().FindMessageTypeByName(event.type_url.rpartition("/")[2])
        return message_factory.GetMessageClass(description).FromString(event.value)
    except (KeyError, DecodeError):
        return None
