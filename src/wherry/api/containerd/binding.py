"""From a service's description and an object with its methods to what gRPC calls.

A method `ListPids` of the description is the object's `list_pids(request, call)`; one that the object lacks is answered
UNIMPLEMENTED, as are unknown methods and services, in the words of Go's server. By what the description says of streams:

    async def get(self, request, call) -> response                     one message, one answer
    def subscribe(self, request, call) -> AsyncIterator[response]      answers as they come
    def write(self, requests, call) -> AsyncIterator[response]         both ways
"""

from __future__ import annotations

import logging
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from wherry.api.containerd.call import Call
from wherry.api.containerd.status import code_of
from wherry.errors import WherryError, message_of
from wherry.oci.gotext import quote
from wherry.proto.method import methods
from wherry.record import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

    from wherry.proto.method import Method

    Context = ServicerContext[bytes, bytes]

log = logging.getLogger(__name__)

_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Service(Record):
    """A service's description, and the object that does it."""

    description: ServiceDescriptor
    implementation: object


class Router(grpc.GenericRpcHandler):
    """All that the server answers, by the path of the request."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._services: set[str] = set()
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        for service in services:
            self._services.add(service.description.full_name)
            for method in methods(service.description):
                if function := getattr(service.implementation, python_name(method.name), None):
                    self._handlers[method.path] = _handler(method, function)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What answers a call; there is always something."""
        path = handler_call_details.method
        return self._handlers.get(path) or _unknown(path, self._services)


def python_name(name: str) -> str:
    """`ListPids` → `list_pids`, `CloseIO` → `close_io`."""
    return _WORD_BEGINS.sub("_", name).lower()


def _handler(method: Method, function: Callable[[Any, Call], Any]) -> grpc.RpcMethodHandler[bytes, bytes]:
    """How a method is called: messages are decoded here, so that what is none is answered as Go's server does."""

    async def one(request: bytes, context: Context) -> bytes:
        try:
            answer: Message = await _awaited(function(_decoded(method, request), _call(context)))
            return answer.SerializeToString()
        except Exception as error:  # noqa: BLE001 (each becomes a status)
            await _fail(method, error, context)

    async def stream(request: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            async with aclosing(function(_decoded(method, request), _call(context))) as answers:
                async for answer in answers:
                    yield answer.SerializeToString()
        except Exception as error:  # noqa: BLE001
            await _fail(method, error, context)

    async def streams(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            async with aclosing(function(_all_decoded(method, requests), _call(context))) as answers:
                async for answer in answers:
                    yield answer.SerializeToString()
        except Exception as error:  # noqa: BLE001
            await _fail(method, error, context)

    if method.client_streams:
        return grpc.stream_stream_rpc_method_handler(streams)
    if method.server_streams:
        return grpc.unary_stream_rpc_method_handler(stream)
    return grpc.unary_unary_rpc_method_handler(one)


def _unknown(path: str, services: set[str]) -> grpc.RpcMethodHandler[bytes, bytes]:
    service, slash, name = path.removeprefix("/").rpartition("/")
    code = grpc.StatusCode.UNIMPLEMENTED
    text = f"unknown method {name} for service {service}" if service in services else f"unknown service {service}"
    if not slash:
        code, text = grpc.StatusCode.RESOURCE_EXHAUSTED, f"malformed method name: {quote(path)}"

    async def refuse(_request: bytes, context: Context) -> bytes:
        await context.abort(code, text)

    return grpc.unary_unary_rpc_method_handler(refuse)


def _call(context: Context) -> Call:
    return Call(context.invocation_metadata() or ())


async def _awaited(answer: Awaitable[Message]) -> Message:
    return await answer


async def _all_decoded(method: Method, requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    async for request in requests:
        yield _decoded(method, request)


def _decoded(method: Method, request: bytes) -> Message:
    return method.request.FromString(request)


async def _fail(method: Method, error: Exception, context: Context) -> NoReturn:
    """Ends the call with the error's status."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, DecodeError):
        is_stream = method.client_streams or method.server_streams  # Go's server reads those elsewhere, in other words
        said = "failed to unmarshal the received message" if is_stream else "error unmarshalling request:"
        await context.abort(grpc.StatusCode.INTERNAL, f"grpc: {said} {error}")
    if not isinstance(error, WherryError | OSError):
        log.error("%s failed", method.path, exc_info=error)
    await context.abort(code_of(error), message_of(error))
