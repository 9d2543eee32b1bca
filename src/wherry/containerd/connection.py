"""The channel to a containerd, for one namespace.

    answer = await connection.ask("tasks.Get", container_id=…)

A call waits some seconds for a containerd that is away, since it may be restarting; one that was under way then has failed.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING, Any, Self

from wherry import errors
from wherry.proto.channel import OPTIONS, quieten
from wherry.proto.failure import from_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AWAY_S = 10.0
CALL_S = 60.0
RETRY_S = 0.2
# Those of its services that run containers: the module of their messages under `wherry.proto.services`, their names there.
SERVICES = {"containers": "Containers", "tasks": "Tasks", "version": "Version"}


class Connection:
    """A channel. Use `open`."""

    def __init__(self, address: str, namespace: str) -> None:
        quieten()
        import grpc.aio

        from wherry.proto.method import methods

        self._address = address
        self._closed = False
        self._failure = grpc.aio.AioRpcError
        self._metadata = (("containerd-namespace", namespace),)
        self._channel = grpc.aio.insecure_channel(f"unix://{address}", options=OPTIONS)
        self._calls: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        for module, service in SERVICES.items():
            messages = importlib.import_module(f"wherry.proto.services.{module}_pb2")
            for method in methods(messages.DESCRIPTOR.services_by_name[service]):
                if not method.server_streams:
                    stub = self._channel.unary_unary(method.path, request_serializer=method.request.SerializeToString,
                                                     response_deserializer=method.response.FromString)
                    self._calls[f"{module}.{method.name}"] = (stub, method.request)

    @classmethod
    async def open(cls, address: str, namespace: str) -> tuple[Self, str]:
        """Connects; with the version of the containerd that answers. Raises Unavailable."""
        connection = cls(address, namespace)
        try:
            answer = await connection.ask("version.Version")
        except BaseException:
            await connection.close()
            raise
        return connection, answer.version

    async def ask(self, what: str, **fields: Any) -> Any:
        """One call, by service and method; nested messages are given as dictionaries.

        Raises what containerd answers: NotFound, Conflict (a precondition), AlreadyExists, …; Internal for its «unknown».
        DeadlineExceeded and Unavailable when it does not.
        """
        return await self._call(what, fields, CALL_S)

    async def end_of(self, container_id: str, exec_id: str = "") -> Any:
        """The answer of `tasks.Wait`, asked again after each time that containerd was away; None when it knows no such process.

        Not the stream of events, which has no word for what one has missed: a wait for what has ended is answered at once.
        """
        while True:
            try:
                return await self._call("tasks.Wait", {"container_id": container_id, "exec_id": exec_id}, None)
            except errors.NotFound:
                return None
            except errors.WherryError:  # containerd has gone, or its shim: then it says so shortly
                await asyncio.sleep(RETRY_S)

    async def _call(self, what: str, fields: Mapping[str, Any], timeout_s: float | None) -> Any:
        stub, request = self._calls[what]
        if self._closed:
            raise errors.Unavailable("the connection to containerd is closed")
        try:
            async with asyncio.timeout(AWAY_S):
                await self._channel.channel_ready()
        except TimeoutError:
            raise errors.Unavailable(f'failed to dial "{self._address}": containerd does not answer') from None
        try:
            return await stub(request(**fields), metadata=self._metadata, timeout=timeout_s)
        except self._failure as error:
            raise from_status(error.code().name, error.details() or "") from None

    async def close(self) -> None:
        """Ends the channel and the calls on it. A second call does nothing."""
        self._closed = True
        await self._channel.close()
