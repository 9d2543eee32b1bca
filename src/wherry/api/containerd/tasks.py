"""The service Tasks: each call is passed on to the shim of its task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from wherry.api.containerd.moments import timestamp
from wherry.errors import InvalidArgument, NotFound, Unavailable, Unsupported
from wherry.proto import task_pb2 as types
from wherry.proto import types_pb2
from wherry.proto.services import tasks_pb2 as api
from wherry.store.metadata.filters import parse_all
from wherry.store.metadata.names import check_identifier
from wherry.tasks.manager import Task as OwnTask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from wherry.api.containerd.call import Call
    from wherry.api.containerd.moby import Tasks as DockerTasks
    from wherry.engine.pool import Pool
    from wherry.store.metadata.containers import Container, Containers
    from wherry.store.metadata.filters import Fields
    from wherry.tasks.manager import Tasks as Manager

    class Task(Protocol):
        """What there must be of a task to answer for it."""

        @property
        def id(self) -> str:
            """The container's."""

        async def call(self, method: str, /, **values: Any) -> dict[str, Any]:
            """A call of containerd's task service about it, with the fields of its messages by name."""


class Tasks:
    """`ctr tasks`."""

    def __init__(self, pool: Pool, containers: Containers, tasks: Manager, docker: DockerTasks | None) -> None:
        """`docker`: the tasks of Docker's API, where this daemon serves that as well."""
        self._pool = pool
        self._docker = docker
        self._containers = containers
        self._tasks = tasks

    async def create(self, request: api.CreateTaskRequest, call: Call) -> api.CreateTaskResponse:
        """Makes the container, which waits for its start."""
        container = await self._container(call, request.container_id)
        if request.HasField("checkpoint"):
            raise Unsupported("restoring a container from a checkpoint is not supported: not implemented")
        options = any_of(request.options) or (container.options.as_dict() if container.options else None)
        pid = await self._tasks.create(
            call.namespace, container.id, spec=container.spec.value if container.spec else b"",
            runtime=request.runtime_path or container.runtime, mounts=[mount_of(one) for one in request.rootfs], io=_io(request),
            options=options)
        return api.CreateTaskResponse(container_id=container.id, pid=pid)

    async def start(self, request: api.StartRequest, call: Call) -> api.StartResponse:
        """Runs its program, or an exec's."""
        task = await self._task(call, request.container_id)
        return api.StartResponse(pid=(await task.call("Start", exec_id=request.exec_id))["pid"])

    async def delete(self, request: api.DeleteTaskRequest, call: Call) -> api.DeleteResponse:
        """Removes what has ended."""
        task = await self._task(call, request.container_id)
        if not isinstance(task, OwnTask):
            await task.call("Delete")
        return api.DeleteResponse(**_ended(await self._tasks.delete(call.namespace, request.container_id)))

    async def delete_process(self, request: api.DeleteProcessRequest, call: Call) -> api.DeleteResponse:
        """Removes an exec that has ended."""
        task = await self._task(call, request.container_id)
        return api.DeleteResponse(id=request.exec_id, **_ended(await task.call("Delete", exec_id=request.exec_id)))

    async def get(self, request: api.GetRequest, call: Call) -> api.GetResponse:
        """How a process is."""
        task = await self._task(call, request.container_id)
        return api.GetResponse(process=await _process(task, request.exec_id))

    async def list(self, _request: api.ListTasksRequest, call: Call) -> api.ListTasksResponse:
        """All of the namespace; containerd's filter here has no effect."""
        found = []
        for task in self._all(call.namespace):
            try:
                found.append(await _process(task, ""))
            except (NotFound, Unavailable):
                continue  # it went meanwhile
        return api.ListTasksResponse(tasks=found)

    async def kill(self, request: api.KillRequest, call: Call) -> Empty:
        """Signals a process, or all."""
        task = await self._task(call, request.container_id)
        await task.call("Kill", exec_id=request.exec_id, signal=request.signal, all=request.all)
        return Empty()

    async def exec(self, request: api.ExecProcessRequest, call: Call) -> Empty:
        """Adds a further process, which waits for its start."""
        if not request.exec_id:
            raise InvalidArgument("exec id cannot be empty")
        task = await self._task(call, request.container_id)
        check_identifier(request.exec_id, f"invalid exec id {request.exec_id}")
        await task.call("Exec", exec_id=request.exec_id, spec=any_of(request.spec), **_io(request))
        return Empty()

    async def resize_pty(self, request: api.ResizePtyRequest, call: Call) -> Empty:
        """Sets a terminal's size."""
        task = await self._task(call, request.container_id)
        await task.call("ResizePty", exec_id=request.exec_id, width=request.width, height=request.height)
        return Empty()

    async def close_io(self, request: api.CloseIORequest, call: Call) -> Empty:
        """Lets a process's stdin end."""
        task = await self._task(call, request.container_id)
        if request.stdin:
            await task.call("CloseIO", exec_id=request.exec_id, stdin=True)
        return Empty()

    async def pause(self, request: api.PauseTaskRequest, call: Call) -> Empty:
        """Freezes it."""
        await (await self._task(call, request.container_id)).call("Pause")
        return Empty()

    async def resume(self, request: api.ResumeTaskRequest, call: Call) -> Empty:
        """Thaws it."""
        await (await self._task(call, request.container_id)).call("Resume")
        return Empty()

    async def list_pids(self, request: api.ListPidsRequest, call: Call) -> api.ListPidsResponse:
        """Its processes."""
        found = await (await self._task(call, request.container_id)).call("Pids")
        return api.ListPidsResponse(processes=[
            types.ProcessInfo(pid=one["pid"], info=any_message(one["info"])) for one in found["processes"]])

    async def checkpoint(self, request: api.CheckpointTaskRequest, call: Call) -> api.CheckpointTaskResponse:
        """Is refused."""
        await self._task(call, request.container_id)
        raise Unsupported("checkpoints of containers are not supported: not implemented")

    async def update(self, request: api.UpdateTaskRequest, call: Call) -> Empty:
        """Changes its limits."""
        task = await self._task(call, request.container_id)
        await task.call("Update", resources=any_of(request.resources), annotations=dict(request.annotations))
        return Empty()

    async def metrics(self, request: api.MetricsRequest, call: Call) -> api.MetricsResponse:
        """What those that a filter lets through use."""
        wanted, found = parse_all(request.filters), []
        for task in self._all(call.namespace):
            if not wanted(_metric_fields(task.id, call.namespace)):
                continue
            try:
                used = await task.call("Stats")
            except (NotFound, Unavailable):
                continue  # it has ended
            found.append(types_pb2.Metric(timestamp=timestamp(time.time_ns()), id=task.id, data=any_message(used["stats"])))
        return api.MetricsResponse(metrics=found)

    async def wait(self, request: api.WaitRequest, call: Call) -> api.WaitResponse:
        """Answers when a process has ended."""
        ended = await (await self._task(call, request.container_id)).call("Wait", exec_id=request.exec_id)
        return api.WaitResponse(exit_status=ended["exit_status"], exited_at=moment(ended["exited_at"]))

    # Below: what all of them need

    def _all(self, namespace: str) -> tuple[Task, ...]:
        return (*self._tasks.all(namespace), *(self._docker.all(namespace) if self._docker is not None else ()))

    async def _container(self, call: Call, container_id: str) -> Container:
        return await self._pool.run(self._containers.get, call.namespace, container_id)

    async def _task(self, call: Call, container_id: str) -> Task:
        """The task of a container. Raises NotFound for either."""
        docker = self._docker.find(call.namespace, container_id) if self._docker is not None else None
        if docker is not None:
            return docker
        try:
            return self._tasks.get(call.namespace, container_id)
        except NotFound:
            await self._container(call, container_id)  # which of the two is missing
            raise


def _metric_fields(container_id: str, namespace: str) -> Fields:
    known: dict[tuple[str, ...], str] = {("id",): container_id, ("namespace",): namespace}
    return lambda path: known.get(tuple(path))


async def _process(task: Task, exec_id: str) -> types.Process:
    state = await task.call("State", exec_id=exec_id)
    return types.Process(
        id=exec_id or task.id, pid=state["pid"], status=types.Status.Name(state["status"]), stdin=state["stdin"],
        stdout=state["stdout"], stderr=state["stderr"], terminal=state["terminal"], exit_status=state["exit_status"],
        exited_at=moment(state["exited_at"]))


def _ended(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"pid": answer["pid"], "exit_status": answer["exit_status"], "exited_at": moment(answer["exited_at"])}


def moment(stamp: Mapping[str, int] | None) -> Timestamp:
    """A moment as a shim tells it, in a message; 0 where it tells none."""
    return Timestamp(**stamp) if stamp else timestamp(0)


def mount_of(one: types_pb2.Mount) -> dict[str, Any]:
    """A mount of a message, for a shim."""
    return {"type": one.type, "source": one.source, "target": one.target, "options": list(one.options)}


def _io(request: api.CreateTaskRequest | api.ExecProcessRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in ("stdin", "stdout", "stderr", "terminal")}


def any_of(message: AnyMessage) -> dict[str, Any] | None:
    """A packed value of a message, for a shim; None where there is none."""
    return {"type_url": message.type_url, "value": message.value} if message.type_url or message.value else None


def any_message(found: Mapping[str, Any] | None) -> AnyMessage | None:
    """A packed value of a shim's, in a message."""
    return AnyMessage(**found) if found else None
