"""A connection to one shim: the calls of containerd's task service, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.errors import WherryError
from wherry.shim.containerd import messages
from wherry.shim.containerd.protobuf import decode, encode
from wherry.tasks.calls import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.shim.containerd.protobuf import Message

SERVICE = "containerd.task.v2.Task"

METHODS: dict[str, tuple[Message, Message]] = {
    "Create": (messages.CreateTaskRequest, messages.CreateTaskResponse),
    "Start": (messages.StartRequest, messages.StartResponse),
    "Delete": (messages.DeleteRequest, messages.DeleteResponse),
    "State": (messages.StateRequest, messages.StateResponse),
    "Pids": (messages.TaskRequest, messages.PidsResponse),
    "Pause": (messages.TaskRequest, messages.Empty),
    "Resume": (messages.TaskRequest, messages.Empty),
    "Kill": (messages.KillRequest, messages.Empty),
    "Exec": (messages.ExecProcessRequest, messages.Empty),
    "ResizePty": (messages.ResizePtyRequest, messages.Empty),
    "CloseIO": (messages.CloseIORequest, messages.Empty),
    "Update": (messages.UpdateTaskRequest, messages.Empty),
    "Wait": (messages.WaitRequest, messages.WaitResponse),
    "Stats": (messages.TaskRequest, messages.StatsResponse),
    "Connect": (messages.TaskRequest, messages.ConnectResponse),
    "Checkpoint": (messages.CheckpointTaskRequest, messages.Empty),
    "Shutdown": (messages.ShutdownRequest, messages.Empty),
}


class Shim:
    """One shim, which has one task or those of one pod. `lost(shim)` is called when it goes without being asked to."""

    def __init__(self, address: str, lost: Callable[[Shim], None]) -> None:
        self.address = address
        self.tasks: set[str] = set()  # the ids of containers that it has, or is to get
        self._lost = lost
        self._is_leaving = False
        self._client: Client

    @classmethod
    async def connect(cls, address: str, lost: Callable[[Shim], None]) -> Shim:
        """Connects to the socket of a shim. Raises OSError when none answers."""
        shim = cls(address, lost)
        shim._client = await Client.connect(address, shim._gone)
        return shim

    async def call(self, method: str, /, **values: Any) -> dict[str, Any]:
        """One call. Raises the shim's error, with containerd's word at its end; Unavailable when it has gone."""
        request, response = METHODS[method]
        return decode(response, await self._client.call(SERVICE, method, encode(request, values)))

    async def leave(self, container_id: str) -> None:
        """A task has been deleted, or never came to be: the shim ends with its last one."""
        self.tasks.discard(container_id)
        if self.tasks:
            return
        self._is_leaving = True
        try:
            await self.call("Shutdown", id=container_id)
        except WherryError:
            pass  # it has gone already
        self._client.close()

    def close(self) -> None:
        """Gives up the connection; the shim goes on."""
        self._is_leaving = True
        self._client.close()

    def _gone(self) -> None:
        if not self._is_leaving:
            self._lost(self)


