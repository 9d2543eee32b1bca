"""The connection to containerd: one channel, the services by name, errors in containerd's words.

    client.images.Get(name="docker.io/library/busybox:latest").image.target.digest

A method is found in the service's description and takes the fields of its request; nested messages may be given as
dictionaries. What a stream of answers brings comes out of an iterator. gRPC and protobuf are imported here alone, and only
when a command connects, so that help costs nothing.
"""

from __future__ import annotations

import time

from wherry import errors
from wherry.proto.channel import OPTIONS
from wherry.proto.failure import from_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

CONNECT_S = 10.0
# Each service: the module of its messages under `wherry.proto.services`, its name there.
SERVICES = {
    "containers": ("containers", "Containers"),
    "content": ("content", "Content"),
    "diffs": ("diff", "Diff"),
    "events": ("events", "Events"),
    "images": ("images", "Images"),
    "introspection": ("introspection", "Introspection"),
    "leases": ("leases", "Leases"),
    "namespaces": ("namespaces", "Namespaces"),
    "snapshots": ("snapshots", "Snapshots"),
    "tasks": ("tasks", "Tasks"),
    "version": ("version", "Version"),
}


class Client:
    """A connection for one namespace. `lease` travels with each call while it is set; `timeout_s` bounds all calls together."""

    def __init__(self, address: str, namespace: str, *, timeout_s: float = 0.0, connect_s: float = 0.0) -> None:
        from wherry.proto import require

        require()
        import grpc

        self.namespace = namespace
        self.lease = ""
        self._deadline = time.monotonic() + timeout_s if timeout_s > 0 else None
        path = address.removeprefix("unix://")
        self._channel = grpc.insecure_channel(f"unix://{path}", options=OPTIONS)
        try:
            grpc.channel_ready_future(self._channel).result(timeout=connect_s if connect_s > 0 else CONNECT_S)
        except grpc.FutureTimeoutError:
            reason = f'connection error: desc = "transport: error while dialing: dial unix://{path}: timeout"'
            raise errors.Unavailable(f'failed to dial "{address}": context deadline exceeded: {reason}') from None
        self._services: dict[str, Service] = {}

    def __getattr__(self, name: str) -> Service:
        if name not in SERVICES:
            raise AttributeError(name)
        if name not in self._services:
            import importlib

            module, service = SERVICES[name]
            messages = importlib.import_module(f"wherry.proto.services.{module}_pb2")
            description = messages.DESCRIPTOR.services_by_name[service]
            self._services[name] = Service(self._channel, description, self._metadata, self._left)
        return self._services[name]

    def close(self) -> None:
        """Ends the connection and the streams on it."""
        self._channel.close()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        lease = (("containerd-lease", self.lease),) if self.lease else ()
        return (("containerd-namespace", self.namespace), *lease)

    def _left(self) -> float | None:
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise errors.DeadlineExceeded("context deadline exceeded")
        return left


class Service:
    """The methods of one gRPC service."""

    def __init__(self, channel: Any, description: Any, metadata: Callable[[], tuple[tuple[str, str], ...]],
                 left: Callable[[], float | None]) -> None:
        from wherry.proto.method import methods

        self._channel = channel
        self._methods = {method.name: method for method in methods(description)}
        self._metadata = metadata
        self._left = left

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in self._methods:
            raise AttributeError(name)
        method = self._methods[name]
        request: Any = method.request
        kind = f"{'stream' if method.client_streams else 'unary'}_{'stream' if method.server_streams else 'unary'}"
        stub = getattr(self._channel, kind)(method.path, request_serializer=request.SerializeToString,
                                            response_deserializer=method.response.FromString)

        def one(**fields: Any) -> Any:
            with translated():
                return stub(request(**fields), metadata=self._metadata(), timeout=self._left())

        def many(**fields: Any) -> Stream:
            return Stream(stub(request(**fields), metadata=self._metadata(), timeout=self._left()))

        def both(requests: Iterable[dict[str, Any]]) -> Stream:
            messages = (request(**fields) for fields in requests)
            return Stream(stub(messages, metadata=self._metadata(), timeout=self._left()))

        found: Callable[..., Any] = both if method.client_streams else many if method.server_streams else one
        setattr(self, name, found)
        return found


class Stream:
    """The answers of a streaming call, as they come."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        with translated():
            yield from self._call

    def next(self) -> Any:
        """The next answer. Raises StopIteration at the end."""
        with translated():
            return next(self._call)

    def cancel(self) -> None:
        """Gives the call up."""
        self._call.cancel()


class translated:  # noqa: N801 - used as a keyword: `with translated():`
    """Turns gRPC's errors into the house's, in the words of containerd's own client."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import grpc

        if isinstance(error, grpc.RpcError):
            raise from_status(error.code().name, error.details() or "") from None
