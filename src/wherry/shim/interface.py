"""What the engine asks of whatever runs a container: one interface, two implementations.

    client.py             wherry's own shims, launched by the zygote
    wherry/containerd     tasks of a containerd

Requests, events and errors are those of `protocol.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from wherry.shim.protocol import Exited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from wherry.shim.protocol import AttachRequest, ExecRequest, Hello, LaunchRequest, ShimEvent


class ContainerShim(ABC):
    """One container that was created. Losing it is an event (Lost), unless its exit was reported before."""

    def __init__(self, hello: Hello, rtnetlink_fd: int | None = None) -> None:
        self.id = hello.id
        self.pid = hello.pid
        self.shim_pid = hello.shim_pid
        self.start_time = hello.start_time
        self.started = hello.started
        self.exited = hello.exited
        self.execs = hello.execs
        self.parked_pid = hello.parked_pid  # a process of the shim's in the container's cgroups, not the container's own; 0: none
        self.rtnetlink_fd = rtnetlink_fd
        self._on_event: Callable[[ShimEvent], None] | None = None
        self._early: list[ShimEvent] = []

    @property
    def on_event(self) -> Callable[[ShimEvent], None] | None:
        """Who is told of events; those that came before somebody was named are told at once, in order."""
        return self._on_event

    @on_event.setter
    def on_event(self, receiver: Callable[[ShimEvent], None] | None) -> None:
        self._on_event = receiver
        while receiver is not None and self._early:
            receiver(self._early.pop(0))

    def _tell(self, event: ShimEvent) -> None:
        if isinstance(event, Exited) and not event.exec_id:
            self.exited = event
        if self._on_event is None:
            self._early.append(event)
        else:
            self._on_event(event)

    @abstractmethod
    async def start(self) -> None:
        """Makes the container's process run; returns once it has been executed.

        Raises StartFailed when it cannot: the container is removed again then, its clients are closed, the shim ends, and
        no event follows.
        """

    @abstractmethod
    async def exec(self, request: ExecRequest) -> int:
        """Starts a further process and returns its pid. Descriptors in `request.attach` are closed here, as in `launch`.

        Its end comes as an Exited with its exec_id, and is kept by the shim until `forget`. Raises StartFailed.
        """

    @abstractmethod
    async def forget(self, exec_id: str) -> None:
        """The end of this exec was recorded; a take-over need not hear of it."""

    @abstractmethod
    async def signal(self, number: int, exec_id: str = "", everyone: bool = False) -> None:
        """Sends a signal to a process, or to all processes of the container. Raises NotFound when it has ended."""

    @abstractmethod
    async def resize(self, height: int, width: int, exec_id: str = "") -> None:
        """Sets the terminal's size. Raises NotFound (no such process), Conflict (it has no terminal)."""

    @abstractmethod
    async def attach(self, request: AttachRequest, connection_fd: int) -> None:
        """Hands a client's connection over. It is closed here; when this raises it is still the caller's.

        Its end comes as AttachEnded with the request's attach_id. Raises NotFound (no such exec, or it has ended).
        """

    @abstractmethod
    async def close_stdin(self, exec_id: str = "") -> None:
        """Closes a process's stdin once all that was read for it is written."""

    async def freeze(self) -> bool:
        """Stops all its processes, where somebody else keeps account of that; False: the caller does it by the cgroup.

        Raises Conflict when it does not run. The same holds of the two that follow.
        """
        return False

    async def thaw(self) -> bool:
        """Lets them go on."""
        return False

    async def limit(self, resources: Mapping[str, Any]) -> bool:  # noqa: ARG002 (for those who do it)
        """Changes the limits (runtime-spec, «linux.resources»)."""
        return False

    @abstractmethod
    async def release(self) -> None:
        """The exit was recorded: the shim ends when its clients have everything. What the container had in the kernel is gone.

        A container that was not started yet is removed. Raises Conflict while it runs.
        """

    @abstractmethod
    def close(self) -> None:
        """Gives up the connection; the container goes on. No Lost is told."""


class Launcher(ABC):
    """Creates containers, and finds those again that an earlier daemon has created.

    `containerd_version` is that of the containerd which does; empty for shims of our own.
    """

    containerd_version = ""

    @abstractmethod
    async def launch(self, request: LaunchRequest, *, in_slot: bool = False) -> ContainerShim:
        """Creates a container; its init waits for `ContainerShim.start`.

        `in_slot`: in what was made ahead for containers that are like most, if there is such a thing.
        The descriptors in `request.attach` are not the caller's any more afterwards and are closed here; when this raises they
        still are. Raises StartFailed, InvalidArgument, Conflict, Unavailable, OSError.
        """

    @abstractmethod
    async def connect(self, run_folder: str) -> ContainerShim:
        """Takes over the container that was launched with this run folder. Raises NotFound when there is none any more."""

    @abstractmethod
    async def close(self) -> None:
        """Ends it; containers go on. A second call does nothing."""
