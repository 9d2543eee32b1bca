"""The methods of a service as its description has them: what a server binds and a client calls, without generated stubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message_factory import GetMessageClass

from wherry.record import Record

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor
    from google.protobuf.message import Message


class Method(Record):
    """One method. `path` is what HTTP/2 asks for: `/containerd.services.version.v1.Version/Version`."""

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    client_streams: bool
    server_streams: bool


def methods(service: ServiceDescriptor) -> list[Method]:
    """All of a service's methods, in the order of its `.proto` file."""
    return [Method(name=method.name, path=f"/{service.full_name}/{method.name}",
                   request=GetMessageClass(method.input_type), response=GetMessageClass(method.output_type),
                   client_streams=method.client_streaming, server_streams=method.server_streaming)
            for method in service.methods]
