"""Creates containers at a containerd, and finds those again that an earlier daemon created there.

    containerd's record and task        what runs, and with which exit it ended
    <run folder>/launch.json            what only the daemon needs of it: its streams, its log
    <run folder>/io/                    the fifos

Whoever takes a container over needs all of them; the folder goes with a reboot, the record does not.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from wherry.containerd import records
from wherry.containerd.calls import delete, kill, status
from wherry.containerd.connection import Connection
from wherry.containerd.pump import Pump
from wherry.containerd.task import Task
from wherry.errors import AlreadyExists, NotFound, WherryError
from wherry.linux.file import replace as replace_file
from wherry.proto.task_pb2 import Status
from wherry.shim import protocol
from wherry.shim.interface import Launcher

if TYPE_CHECKING:
    from wherry.containerd.streams import Streams
    from wherry.shim.protocol import LaunchRequest

_LAUNCH = "launch.json"


class Containerd(Launcher):
    """A containerd that runs an engine's containers. Use `open`."""

    def __init__(self, connection: Connection, version: str, pump: Pump) -> None:
        self.containerd_version = version
        self._connection = connection
        self._pump = pump

    @classmethod
    async def open(cls, address: str, namespace: str, run_folder: str) -> Self:
        """Connects, and removes what is left there of containers that have no folder in `run_folder` any more (a reboot).

        Raises Unavailable when nobody answers.
        """
        connection, version = await Connection.open(address, namespace)
        found = cls(connection, version, Pump())
        try:
            await found._sweep(run_folder)
        except BaseException:
            await found.close()
            raise
        return found

    async def close(self) -> None:
        """Ends thread and connection."""
        self._pump.close()
        await self._connection.close()

    async def launch(self, request: LaunchRequest, *, in_slot: bool = False) -> Task:  # noqa: ARG002 (there are no slots here)
        """Makes fifos, record and task."""
        task = Task(request, self._connection, self._pump)
        try:
            config = await self._pump.run(lambda: _prepare(request, task.streams))
            await self._create(records.container(request, config))
            answer = await self._connection.ask("tasks.Create", container_id=request.id, **task.streams.fifos.fields())
            await task.exists(answer.pid, started=False)
        except BaseException as error:
            await asyncio.shield(task.remove())
            if refused := records.refusal(error):
                raise refused from error
            raise
        for _, fd in request.attach:
            os.close(fd)
        if any(request.console_size):
            with suppress(WherryError):  # it has ended: its start says so
                await task.resize(*request.console_size)
        return task

    async def connect(self, run_folder: str) -> Task:
        """Finds record, task and fifos."""
        try:
            request = await self._pump.run(lambda: _read(run_folder))
        except FileNotFoundError:
            raise NotFound(f"nothing was launched in {run_folder}") from None
        found = await status(self._connection, request.id)
        if found is None:
            await delete(self._connection, request.id)
            raise NotFound(f"containerd runs no container {request.id}")
        task = Task(request, self._connection, self._pump)
        await task.exists(found.pid, started=found.status != Status.CREATED)
        if found.status == Status.STOPPED:
            await task.ended(records.exited(found))
        else:
            await task.watch()
            await task.adopt_execs()
        return task

    async def _create(self, record: dict[str, Any]) -> None:
        """Writes the record, in place of what an earlier start may have left."""
        try:
            await self._connection.ask("containers.Create", container=record)
        except AlreadyExists:
            await self._remove(record["id"])
            await self._connection.ask("containers.Create", container=record)

    async def _remove(self, container_id: str) -> None:
        await kill(self._connection, container_id)
        await delete(self._connection, container_id)

    async def _sweep(self, run_folder: str) -> None:
        for one in (await self._connection.ask("containers.List")).containers:
            bundle = records.bundle_of(one.labels)
            if os.path.dirname(bundle) == run_folder and not os.path.isdir(bundle):
                await self._remove(one.id)


def _prepare(request: LaunchRequest, streams: Streams) -> bytes:
    """Fifos, clients, and what the next daemon needs to know; the bundle's config.json."""
    streams.make()
    streams.attach(request.attach)
    replace_file(f"{request.run_folder}/{_LAUNCH}", protocol.launch_message(request.replace(attach=()))[0])
    with open(f"{request.bundle}/config.json", "rb") as file:
        return file.read()


def _read(run_folder: str) -> LaunchRequest:
    """What was launched with a run folder. Raises FileNotFoundError."""
    with open(f"{run_folder}/{_LAUNCH}", "rb") as file:
        return protocol.read_launch(*protocol.unpack(file.read()), ())
