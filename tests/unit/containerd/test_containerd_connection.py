"""The channel to a containerd that the test plays: errors, a containerd that is away or comes back, waits that outlast it. No root."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("grpc")

import grpc
import grpc.aio

from wherry.containerd import connection as connections
from wherry.containerd.connection import Connection
from wherry.errors import Internal, NotFound, Unavailable
from wherry.proto.method import methods
from wherry.proto.services import tasks_pb2, version_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

WAIT_S = 30.0


class Fake:
    """A containerd of two services; `answers` by method: a message, or the status and the text of a failure."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Any] = {"Version": version_pb2.VersionResponse(version="1.6.20")}
        self.asked: list[tuple[str, str]] = []
        self.server: Any = None

    async def start(self) -> None:
        self.server = grpc.aio.server()
        for module in (version_pb2, tasks_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                handlers = {one.name: grpc.unary_unary_rpc_method_handler(
                    self._handler(one.name), request_deserializer=one.request.FromString,
                    response_serializer=one.response.SerializeToString) for one in methods(service)}
                self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        self.server.add_insecure_port(f"unix://{self.path}")
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(0)
        self.path.unlink(missing_ok=True)

    def _handler(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        async def handle(_request: Any, context: Any) -> Any:
            self.asked.append((name, dict(context.invocation_metadata())["containerd-namespace"]))
            answer = self.answers.get(name)
            if answer is None:
                await asyncio.sleep(WAIT_S)
            if isinstance(answer, tuple):
                await context.abort(*answer)
            return answer

        return handle


def with_fake(work: Callable[[Fake, Connection], Awaitable[None]], path: Path) -> None:
    async def run() -> None:
        fake = Fake(path / "c.sock")
        await fake.start()
        connection, version = await Connection.open(str(fake.path), "mine")
        try:
            assert version == "1.6.20"
            async with asyncio.timeout(WAIT_S):
                await work(fake, connection)
        finally:
            await connection.close()
            await fake.stop()

    asyncio.run(run())


def test_calls_go_to_the_namespace_and_failures_are_the_houses_errors(tmp_path: Path) -> None:
    async def work(fake: Fake, connection: Connection) -> None:
        fake.answers |= {"Create": tasks_pb2.CreateTaskResponse(pid=7), "Get": (grpc.StatusCode.NOT_FOUND, "no running task found: task x not found"),
                         "Start": (grpc.StatusCode.UNKNOWN, "OCI runtime start failed: no: unknown")}
        assert (await connection.ask("tasks.Create", container_id="x")).pid == 7
        with pytest.raises(NotFound, match="task x not found"):
            await connection.ask("tasks.Get", container_id="x")
        with pytest.raises(Internal, match="OCI runtime start failed: no: unknown"):
            await connection.ask("tasks.Start", container_id="x")
        assert fake.asked == [(name, "mine") for name in ("Version", "Create", "Get", "Start")]

    with_fake(work, tmp_path)


def test_a_containerd_that_comes_back_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "RETRY_S", 0.01)

    async def work(fake: Fake, connection: Connection) -> None:
        waiting = asyncio.create_task(connection.end_of("x"))
        while ("Wait", "mine") not in fake.asked:
            await asyncio.sleep(0.01)
        await fake.stop()
        late = asyncio.create_task(connection.ask("version.Version"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert not late.done()
        fake.answers["Wait"] = tasks_pb2.WaitResponse(exit_status=9)
        await fake.start()
        assert (await waiting).exit_status == 9
        assert (await late).version == "1.6.20"

    with_fake(work, tmp_path)


def test_a_process_that_nobody_knows_has_no_end_to_wait_for(tmp_path: Path) -> None:
    async def work(fake: Fake, connection: Connection) -> None:
        fake.answers["Wait"] = (grpc.StatusCode.NOT_FOUND, "process x: not found")
        assert await connection.end_of("x") is None

    with_fake(work, tmp_path)


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "AWAY_S", 0.1)
    with pytest.raises(Unavailable, match=f'failed to dial "{tmp_path}/nobody.sock": containerd does not answer'):
        asyncio.run(Connection.open(f"{tmp_path}/nobody.sock", "moby"))


def test_after_the_end_there_are_no_calls(tmp_path: Path) -> None:
    async def work(_fake: Fake, connection: Connection) -> None:
        await connection.close()
        with pytest.raises(Unavailable, match="closed"):
            await connection.ask("version.Version")

    with_fake(work, tmp_path)
