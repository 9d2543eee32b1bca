"""The service Controller of sandboxes: their lives, in shims that have the sandbox service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wherry.api.containerd.moments import timestamp
from wherry.api.containerd.tasks import any_message, any_of, moment, mount_of
from wherry.errors import InvalidArgument, NotFound, Unavailable
from wherry.proto import events_pb2 as events
from wherry.proto import types_pb2 as types
from wherry.proto.services import sandbox_pb2 as api

if TYPE_CHECKING:
    from wherry.api.containerd.call import Call
    from wherry.api.containerd.exchange import Exchange
    from wherry.engine.pool import Pool
    from wherry.store.metadata.sandboxes import Sandboxes as Records
    from wherry.tasks.sandboxes import Sandbox, Sandboxes

_CONTROLLERS = ("", "shim")
_DEFAULT_RUNTIME = "io.containerd.runc.v2"


class SandboxController:
    """For CRI-like clients. A request that names another controller than shims is refused."""

    def __init__(self, pool: Pool, records: Records, sandboxes: Sandboxes, exchange: Exchange) -> None:
        self._pool, self._records = pool, records
        self._sandboxes, self._exchange = sandboxes, exchange

    async def create(self, request: api.ControllerCreateRequest, call: Call) -> api.ControllerCreateResponse:
        """Starts the shim of a sandbox: by what the request says of it, else by its record."""
        namespace, name = call.namespace, _checked(request)
        if not name:
            raise InvalidArgument("sandbox id is required: invalid argument")
        if request.HasField("sandbox"):
            given = request.sandbox
            runtime, spec, options = given.runtime.name, given.spec.value, any_of(given.runtime.options)
        else:
            record = await self._pool.run(self._records.get, namespace, name)
            runtime, spec = record.runtime, record.spec.value if record.spec else b""
            options = record.options.as_dict() if record.options else None
        asked = {"options": any_of(request.options), "netns_path": request.netns_path, "annotations": dict(request.annotations)}
        await self._sandboxes.create(namespace, name, runtime=runtime or _DEFAULT_RUNTIME, spec=spec, options=options,
                                     rootfs=[mount_of(one) for one in request.rootfs], asked=asked)
        self._exchange.publish(namespace, "/sandbox/create", events.SandboxCreate(sandbox_id=name))
        return api.ControllerCreateResponse(sandbox_id=name)

    async def start(self, request: api.ControllerStartRequest, call: Call) -> api.ControllerStartResponse:
        """Starts it."""
        sandbox = self._sandbox(request, call)
        started = await sandbox.call("StartSandbox")
        self._exchange.publish(call.namespace, "/sandbox/start", events.SandboxStart(sandbox_id=request.sandbox_id))
        return api.ControllerStartResponse(
            sandbox_id=request.sandbox_id, pid=started["pid"], created_at=moment(started["created_at"]),
            address=sandbox.address, version=sandbox.version)

    async def platform(self, request: api.ControllerPlatformRequest, call: Call) -> api.ControllerPlatformResponse:
        """For which platform its containers are to be."""
        found = (await self._sandbox(request, call).call("Platform"))["platform"]
        return api.ControllerPlatformResponse(platform=types.Platform(**found))

    async def stop(self, request: api.ControllerStopRequest, call: Call) -> api.ControllerStopResponse:
        """Ends it and its containers; one that is not there has ended."""
        try:
            sandbox = self._sandbox(request, call)
            await sandbox.call("StopSandbox", timeout_secs=request.timeout_secs)
        except (NotFound, Unavailable):
            return api.ControllerStopResponse()
        self._exchange.publish(call.namespace, "/sandbox/exit", events.SandboxExit(
            sandbox_id=request.sandbox_id, exited_at=moment((await sandbox.call("SandboxStatus"))["exited_at"])))
        return api.ControllerStopResponse()

    async def wait(self, request: api.ControllerWaitRequest, call: Call) -> api.ControllerWaitResponse:
        """Answers when it has ended."""
        ended = await self._sandbox(request, call).call("WaitSandbox")
        return api.ControllerWaitResponse(exit_status=ended["exit_status"], exited_at=moment(ended["exited_at"]))

    async def status(self, request: api.ControllerStatusRequest, call: Call) -> api.ControllerStatusResponse:
        """How it is; one that is not there has ended."""
        name = _checked(request)
        try:
            sandbox = self._sandboxes.get(call.namespace, name)
            state = await sandbox.call("SandboxStatus", verbose=request.verbose)
        except (NotFound, Unavailable):
            return api.ControllerStatusResponse(sandbox_id=name, exited_at=timestamp(time.time_ns()))
        return api.ControllerStatusResponse(
            sandbox_id=state["sandbox_id"], pid=state["pid"], state=state["state"], info=state["info"],
            created_at=moment(state["created_at"]), exited_at=moment(state["exited_at"]), extra=any_message(state["extra"]),
            address=sandbox.address, version=sandbox.version)

    async def shutdown(self, request: api.ControllerShutdownRequest, call: Call) -> api.ControllerShutdownResponse:
        """Ends its shim."""
        await self._sandboxes.shut_down(call.namespace, _checked(request))
        return api.ControllerShutdownResponse()

    async def metrics(self, request: api.ControllerMetricsRequest, call: Call) -> api.ControllerMetricsResponse:
        """What it uses itself, as far as its shim says."""
        used = (await self._sandbox(request, call).call("SandboxMetrics"))["metrics"]
        if used is None:
            return api.ControllerMetricsResponse()
        return api.ControllerMetricsResponse(metrics=types.Metric(
            timestamp=moment(used["timestamp"]), id=used["id"], data=any_message(used["data"])))

    async def update(self, request: api.ControllerUpdateRequest, call: Call) -> api.ControllerUpdateResponse:
        """Changes nothing in a shim, as with containerd: the record is the Store's."""
        self._sandbox(request, call)
        return api.ControllerUpdateResponse()

    def _sandbox(self, request: Any, call: Call) -> Sandbox:
        """Raises NotFound."""
        return self._sandboxes.get(call.namespace, _checked(request))


def _checked(request: Any) -> str:
    """The sandbox that a request is about. Raises NotFound for another controller than the one there is."""
    if request.sandboxer not in _CONTROLLERS:
        raise NotFound(f"sandbox controller {request.sandboxer}: not found")
    return str(request.sandbox_id)
