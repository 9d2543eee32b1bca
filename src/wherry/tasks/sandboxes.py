"""The sandboxes of all namespaces: each is a shim that was asked to be one, and outlives us; found again at the next start.

The containers of a sandbox are tasks like others; they come into its shim by naming it in an annotation (`runtimes.py`). So there
is a connection of its own here, and the shim stays until the sandbox is shut down. For the event loop's thread alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from wherry.errors import AlreadyExists, NotFound, Unavailable, WherryError
from wherry.shim.containerd import messages
from wherry.shim.containerd.protobuf import decode, encode
from wherry.shim.containerd.sandbox import SERVICE
from wherry.tasks.bundle import Bundle, all_bundles
from wherry.tasks.calls import Client
from wherry.tasks.shim import SERVICE as TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wherry.shim.containerd.protobuf import Message
    from wherry.tasks.runtimes import Runtimes

log = logging.getLogger(__name__)

METHODS: dict[str, tuple[Message, Message]] = {
    "CreateSandbox": (messages.CreateSandboxRequest, messages.Empty),
    "StartSandbox": (messages.SandboxRequest, messages.StartSandboxResponse),
    "Platform": (messages.SandboxRequest, messages.PlatformResponse),
    "StopSandbox": (messages.StopSandboxRequest, messages.Empty),
    "WaitSandbox": (messages.SandboxRequest, messages.WaitSandboxResponse),
    "SandboxStatus": (messages.SandboxStatusRequest, messages.SandboxStatusResponse),
    "PingSandbox": (messages.SandboxRequest, messages.Empty),
    "ShutdownSandbox": (messages.SandboxRequest, messages.Empty),
    "SandboxMetrics": (messages.SandboxRequest, messages.SandboxMetricsResponse),
}


class Sandbox:
    """One, by the connection to its shim. `version` is that of the task service there."""

    version = 2

    def __init__(self, bundle: Bundle, client: Client) -> None:
        self.bundle, self._client = bundle, client
        self.address = f"unix://{bundle.address}"

    async def call(self, method: str, /, **values: Any) -> dict[str, Any]:
        """A call of its service about it. Raises the shim's error, Unavailable when it has gone."""
        request, response = METHODS[method]
        asked = encode(request, {"sandbox_id": self.bundle.id, **values})
        return decode(response, await self._client.call(SERVICE, method, asked))

    async def leave(self) -> None:
        """It never came to be one: the shim ends, unless it has tasks."""
        try:
            await self._client.call(TASKS, "Shutdown", encode(messages.ShutdownRequest, {"id": self.bundle.id}))
        except WherryError:
            pass  # it has gone already
        self.close()

    def close(self) -> None:
        """Gives up the connection; the shim goes on."""
        self._client.close()


class Sandboxes:
    """All sandboxes."""

    def __init__(self, folder: str, runtimes: Runtimes) -> None:
        """`folder` is for the bundles."""
        self._folder, self._runtimes = folder, runtimes
        self._sandboxes: dict[tuple[str, str], Sandbox] = {}
        self._being_made: set[tuple[str, str]] = set()

    async def create(self, namespace: str, name: str, *, runtime: str, spec: bytes, options: Mapping[str, Any] | None,
                     rootfs: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> None:
        """Starts a shim and makes it a sandbox. `options` are the runtime's, `asked` are further fields for the shim.

        Raises AlreadyExists, and what the shim says; nothing is left then.
        """
        key = (namespace, name)
        if key in self._sandboxes or key in self._being_made:
            raise AlreadyExists(f"sandbox {name} already running: already exists")
        self._being_made.add(key)
        bundle = Bundle(self._folder, namespace, name)
        try:
            bundle.make(spec, runtime)
            try:
                sandbox = await self._started(bundle, runtime, options)
                await self._created(sandbox, rootfs, asked)
            except BaseException:
                self._runtimes.forget(bundle)
                bundle.remove()
                raise
            self._sandboxes[key] = sandbox
        finally:
            self._being_made.discard(key)

    def get(self, namespace: str, name: str) -> Sandbox:
        """One of them. Raises NotFound."""
        sandbox = self._sandboxes.get((namespace, name))
        if sandbox is None:
            raise NotFound(f"sandbox {name}: not found")
        return sandbox

    async def shut_down(self, namespace: str, name: str) -> None:
        """Ends its shim, with all that is still in it. Raises NotFound, what the shim says."""
        sandbox = self.get(namespace, name)
        try:
            await sandbox.call("ShutdownSandbox")
        except Unavailable:
            pass  # it has gone
        self._sandboxes.pop((namespace, name), None)
        sandbox.close()
        await asyncio.to_thread(sandbox.bundle.remove)

    async def take_over(self) -> None:
        """Finds those again that an earlier daemon has left, and clears up after those whose shims are gone."""
        for bundle in all_bundles(self._folder):
            try:
                sandbox = Sandbox(bundle, await Client.connect(bundle.address, lambda: None))
                await sandbox.call("PingSandbox")
            except (WherryError, OSError) as error:
                log.warning("sandbox %s in %s has gone: %s", bundle.id, bundle.namespace, error)
                self._runtimes.forget(bundle)
                await asyncio.to_thread(bundle.remove)
            else:
                self._sandboxes[bundle.namespace, bundle.id] = sandbox

    def close(self) -> None:
        """Lets go of the shims, which go on."""
        for sandbox in self._sandboxes.values():
            sandbox.close()

    async def _started(self, bundle: Bundle, runtime: str, options: Mapping[str, Any] | None) -> Sandbox:
        try:
            address = await self._runtimes.start(bundle, runtime, options)
            return Sandbox(bundle, await Client.connect(address, lambda: None))
        except (WherryError, OSError, TimeoutError) as error:
            raise WherryError(f"failed to start new shim for sandbox {bundle.id}: {error}") from error

    async def _created(self, sandbox: Sandbox, rootfs: Sequence[Mapping[str, Any]], asked: Mapping[str, Any]) -> None:
        try:
            await sandbox.call("CreateSandbox", bundle_path=sandbox.bundle.path, rootfs=list(rootfs), **asked)
        except WherryError as error:
            await sandbox.leave()
            raise type(error)(f"failed to create sandbox {sandbox.bundle.id}: {error.message}") from error
