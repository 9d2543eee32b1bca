"""What tasks stand on while the API is served: the manager, and the socket on which shims tell what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp

from wherry.proto.services.events_pb2 import Envelope
from wherry.tasks.listener import Listener
from wherry.tasks.manager import Tasks
from wherry.tasks.runtimes import Runtimes
from wherry.tasks.sandboxes import Sandboxes

if TYPE_CHECKING:
    from wherry.api.containerd.exchange import Exchange
    from wherry.shim.client import Zygote


class Tasking:
    """Use `open`. `tasks` are the tasks, `sandboxes` the sandboxes."""

    def __init__(self, run_folder: str, address: str, zygote: Zygote, exchange: Exchange) -> None:
        self._exchange = exchange
        events = f"{address}.ttrpc"
        runtimes = Runtimes(run_folder, zygote, address, events)
        self.tasks = Tasks(f"{run_folder}/tasks", runtimes, self._forward)
        self.sandboxes = Sandboxes(f"{run_folder}/sandboxes", runtimes)
        self._listener = Listener(events, self._forward)

    @classmethod
    async def open(cls, run_folder: str, address: str, zygote: Zygote, exchange: Exchange) -> Self:
        """Takes over the tasks of an earlier daemon. `address` is the path of the gRPC socket. Raises OSError."""
        tasking = cls(run_folder, address, zygote, exchange)
        await tasking._listener.listen()
        await tasking.tasks.take_over()
        await tasking.sandboxes.take_over()
        return tasking

    async def close(self) -> None:
        """Lets go of the shims."""
        await self._listener.close()
        await self.tasks.close()
        self.sandboxes.close()

    def _forward(self, envelope: dict[str, Any]) -> None:
        """Publishes what a shim tells. Raises InvalidArgument for a topic that is none."""
        stamp, event = envelope["timestamp"], envelope["event"]
        self._exchange.forward(Envelope(timestamp=Timestamp(**stamp) if stamp else None, namespace=envelope["namespace"],
                                        topic=envelope["topic"], event=AnyMessage(**event)))
