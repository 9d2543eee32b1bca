"""The sandbox service: a shim as the place where the containers of one pod are, before the first one and after the last.

A sandbox has no process of its own here, as with containerd's shim for runc: namespaces that are shared come from whoever made
them. It ends by being stopped; the shim stays until it is shut down. Source: containerd's `api/runtime/sandbox/v1`.
"""

from __future__ import annotations

import time

from wherry.errors import AlreadyExists, NotFound, Unsupported
from wherry.oci.platform import host_platform
from wherry.shim.containerd import messages
from wherry.shim.containerd.protobuf import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from wherry.shim.containerd.protobuf import Message
    from wherry.shim.containerd.ttrpc import Call, Handler

SERVICE: Final = "containerd.runtime.sandbox.v1.Sandbox"
READY, NOT_READY = "SANDBOX_READY", "SANDBOX_NOTREADY"
_NOTHING: Final = b""


class SandboxService:
    """The sandbox of one shim, if it is asked to be one. `end` ends its containers, `leave` the process."""

    def __init__(self, end: Callable[[], None], leave: Callable[[], None]) -> None:
        self._end, self._leave = end, leave
        self._id = ""
        self._created_ns = self._exited_ns = 0
        self._waiting: list[Call] = []

    @property
    def is_there(self) -> bool:
        """Whether the shim has to stay although it has no container."""
        return bool(self._id)

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """For `ttrpc.Server`."""
        methods: dict[str, Handler] = {
            "CreateSandbox": self._create,
            "StartSandbox": self._start,
            "Platform": self._platform,
            "StopSandbox": self._stop,
            "WaitSandbox": self._wait,
            "SandboxStatus": self._status,
            "PingSandbox": self._ping,
            "ShutdownSandbox": self._shutdown,
            "SandboxMetrics": self._metrics,
        }
        return {(SERVICE, name): handler for name, handler in methods.items()}

    def _create(self, call: Call) -> bytes:
        request = decode(messages.CreateSandboxRequest, call.payload)
        if self._id:
            raise AlreadyExists(f"sandbox {self._id}: already exists")
        if request["rootfs"]:
            raise Unsupported("a sandbox with a root of its own is not supported")
        self._id, self._created_ns = request["sandbox_id"], time.time_ns()
        return _NOTHING

    def _start(self, call: Call) -> bytes:
        self._asked(messages.SandboxRequest, call)
        return encode(messages.StartSandboxResponse, {"created_at": messages.timestamp(self._created_ns)})

    def _platform(self, call: Call) -> bytes:
        self._asked(messages.SandboxRequest, call)
        here = host_platform()
        platform = {"os": here.os, "architecture": here.architecture, "variant": here.variant}
        return encode(messages.PlatformResponse, {"platform": platform})

    def _stop(self, call: Call) -> bytes:
        self._asked(messages.StopSandboxRequest, call)
        self._finish()
        return _NOTHING

    def _wait(self, call: Call) -> bytes | None:
        self._asked(messages.SandboxRequest, call)
        if not self._exited_ns:
            self._waiting.append(call)
            return None
        return self._exit()

    def _status(self, call: Call) -> bytes:
        self._asked(messages.SandboxStatusRequest, call)
        return encode(messages.SandboxStatusResponse, {
            "sandbox_id": self._id, "state": NOT_READY if self._exited_ns else READY,
            "created_at": messages.timestamp(self._created_ns), "exited_at": messages.timestamp(self._exited_ns)})

    def _ping(self, call: Call) -> bytes:
        self._asked(messages.SandboxRequest, call)
        return _NOTHING

    def _metrics(self, call: Call) -> bytes:
        self._asked(messages.SandboxRequest, call)
        return _NOTHING  # of no process there are none

    def _shutdown(self, call: Call) -> None:
        self._asked(messages.SandboxRequest, call)
        self._finish()
        call.reply(_NOTHING)
        self._leave()

    def _asked(self, kind: Message, call: Call) -> None:
        """Raises NotFound when it is about another sandbox."""
        name = decode(kind, call.payload)["sandbox_id"]
        if not self._id or name != self._id:
            raise NotFound(f"sandbox {name}: not found")

    def _finish(self) -> None:
        """Ends it, with its containers."""
        if self._exited_ns:
            return
        self._end()
        self._exited_ns = time.time_ns()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call.reply(self._exit())

    def _exit(self) -> bytes:
        return encode(messages.WaitSandboxResponse, {"exited_at": messages.timestamp(self._exited_ns)})
