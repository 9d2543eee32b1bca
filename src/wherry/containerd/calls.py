"""What is asked of containerd about a container by its id alone: what it does, its end, its removal."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from wherry.errors import NotFound, WherryError

if TYPE_CHECKING:
    from wherry.containerd.connection import Connection
    from wherry.proto.task_pb2 import Process

SIGKILL = 9
KILL_S = 10.0


async def status(connection: Connection, container_id: str) -> Process | None:
    """What containerd says of a container's first process; None without one."""
    try:
        found: Process = (await connection.ask("tasks.Get", container_id=container_id)).process
    except NotFound:
        return None
    return found


async def kill(connection: Connection, container_id: str) -> None:
    """Ends a task, if there is one, and waits for its end; gives up after some seconds."""
    with suppress(WherryError, TimeoutError):
        await connection.ask("tasks.Kill", container_id=container_id, signal=SIGKILL, all=True)
        async with asyncio.timeout(KILL_S):
            await connection.end_of(container_id)


async def delete(connection: Connection, container_id: str) -> None:
    """Deletes a task that has ended, and the record; what is not there is fine. Raises Conflict for one that runs."""
    with suppress(NotFound):
        await connection.ask("tasks.Delete", container_id=container_id)
    with suppress(NotFound):
        await connection.ask("containers.Delete", id=container_id)
