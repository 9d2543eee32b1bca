"""The task service: each method of containerd.task.v2.Task and v3, on the tasks of one shim.

A shim has one task, or those of one pod (they are grouped by `bootstrap`). Errors carry the codes that containerd's clients act
on. Source: containerd's `runtime/v2/README.md` and `api/runtime/task/v2/shim.proto`.
"""

from __future__ import annotations

import os

from wherry.errors import AlreadyExists, InvalidArgument, NotFound, Unsupported, WherryError
from wherry.shim.containerd import messages, metrics, settings
from wherry.shim.containerd.protobuf import decode, encode
from wherry.shim.containerd.sandbox import SandboxService
from wherry.shim.containerd.streams import Streams
from wherry.shim.containerd.tasks import SIGKILL, Process, Task
from wherry.shim.protocol import BUILTIN, StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Final, TypeVar

    from wherry.shim.containerd.events import Publisher
    from wherry.shim.containerd.ttrpc import Call, Handler
    from wherry.shim.loop import Loop

    T = TypeVar("T")

SERVICES: Final = ("containerd.task.v2.Task", "containerd.task.v3.Task")
_NOTHING: Final = b""


class TaskService:
    """The tasks of one shim. `leave` ends the process. `sandbox` is what they are in, where the shim is asked for one."""

    def __init__(self, loop: Loop, namespace: str, publisher: Publisher, leave: Callable[[], None]) -> None:
        self._loop, self._namespace, self._publisher = loop, namespace, publisher
        self._leave = leave
        self.sandbox = SandboxService(self._end_all, leave)
        self._tasks: dict[str, Task] = {}
        self._io: dict[str, dict[str, Any]] = {}  # by task: how the streams of its processes are made
        loop.on_child(self._child_ended)

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """For `ttrpc.Server`."""
        methods: dict[str, Handler] = {
            "State": self._state,
            "Create": self._create,
            "Start": self._start,
            "Delete": self._delete,
            "Pids": self._pids,
            "Pause": self._pause,
            "Resume": self._resume,
            "Checkpoint": self._checkpoint,
            "Kill": self._kill,
            "Exec": self._exec,
            "ResizePty": self._resize,
            "CloseIO": self._close_io,
            "Update": self._update,
            "Wait": self._wait,
            "Stats": self._stats,
            "Connect": self._connect,
            "Shutdown": self._shutdown,
        }
        tasks = {(service, name): handler for service in SERVICES for name, handler in methods.items()}
        return {**tasks, **self.sandbox.handlers()}

    # Life

    def _create(self, call: Call) -> bytes:
        request = decode(messages.CreateTaskRequest, call.payload)
        if request["id"] in self._tasks:
            raise AlreadyExists(f"task {request['id']}: already exists")
        if request["checkpoint"]:
            raise Unsupported("restoring a container from a checkpoint is not supported")
        options = settings.read_options(request["options"])
        launch = settings.launch_request(request, options, self._namespace)
        settings.save(launch)
        owner = (options["io_uid"], options["io_gid"]) if options["io_uid"] or options["io_gid"] else None
        io = {
            "owner": owner,
            "copies": launch.runtime != BUILTIN,
            "names": {"CONTAINER_ID": request["id"], "CONTAINER_NAMESPACE": self._namespace},
        }
        streams = self._streams(request, io)
        task = Task(self._loop, launch, streams, request["rootfs"], self._ended, self._out_of_memory)
        _as_runtime("create", task.create)
        self._tasks[task.id] = task
        self._io[task.id] = io
        self._publisher.publish(
            messages.TaskCreate,
            {
                "container_id": task.id,
                "bundle": task.bundle,
                "rootfs": request["rootfs"],
                "pid": task.init.pid,
                "io": {name: request[name] for name in ("stdin", "stdout", "stderr", "terminal")},
            },
        )
        return encode(messages.CreateTaskResponse, {"pid": task.init.pid})

    def _start(self, call: Call) -> bytes | None:
        request = decode(messages.StartRequest, call.payload)
        task = self._task(request)
        if not request["exec_id"]:
            _as_runtime("start", task.start)
            self._publisher.publish(messages.TaskStart, {"container_id": task.id, "pid": task.init.pid})
            return encode(messages.StartResponse, {"pid": task.init.pid})
        process = _as_runtime("exec", lambda: task.start_exec(request["exec_id"]))
        self._publisher.publish(
            messages.TaskExecStarted, {"container_id": task.id, "exec_id": process.exec_id, "pid": process.pid}
        )
        call.reply(encode(messages.StartResponse, {"pid": process.pid}))
        task.prepare_next_exec()
        return None

    def _exec(self, call: Call) -> bytes:
        request = decode(messages.ExecProcessRequest, call.payload)
        task = self._task(request)
        if not request["exec_id"]:
            raise InvalidArgument("an exec needs an id")
        if request["exec_id"] in task.execs:
            raise AlreadyExists(f"id {request['exec_id']}: already exists")
        spec = settings.read_json(request["spec"], "process spec")
        task.add_exec(Process(request["exec_id"], self._streams(request, self._io[task.id]), spec))
        self._publisher.publish(messages.TaskExecAdded, {"container_id": task.id, "exec_id": request["exec_id"]})
        return _NOTHING

    def _delete(self, call: Call) -> bytes:
        request = decode(messages.DeleteRequest, call.payload)
        task = self._task(request)
        if request["exec_id"]:
            process = task.delete_exec(request["exec_id"])
        else:
            process = task.init
            task.delete()
            del self._tasks[task.id], self._io[task.id]
            self._publisher.publish(messages.TaskDelete, {"container_id": task.id, **_ended_fields(process)})
        return encode(messages.DeleteResponse, _ended_fields(process))

    def _kill(self, call: Call) -> bytes:
        request = decode(messages.KillRequest, call.payload)
        self._task(request).kill(request["exec_id"], request["signal"], request["all"])
        return _NOTHING

    def _wait(self, call: Call) -> None:
        request = decode(messages.WaitRequest, call.payload)
        process = self._process(request)

        def ended() -> None:
            call.reply(
                encode(
                    messages.WaitResponse,
                    {"exit_status": process.exit_code, "exited_at": messages.timestamp(process.exited_at_ns)},
                )
            )

        process.when_ended(ended)

    def _shutdown(self, call: Call) -> bytes | None:
        decode(messages.ShutdownRequest, call.payload)
        if self._tasks or self.sandbox.is_there:
            return _NOTHING  # others of the group still live here, or are to
        call.reply(_NOTHING)
        self._leave()
        return None

    def _end_all(self) -> None:
        """The sandbox ends: so do all that run in it."""
        for task in self._tasks.values():
            try:
                task.kill("", SIGKILL, everyone=True)
            except (WherryError, OSError):
                pass  # it has ended

    # What can be asked and changed

    def _state(self, call: Call) -> bytes:
        request = decode(messages.StateRequest, call.payload)
        task, process = self._task(request), self._process(request)
        streams = process.streams
        return encode(
            messages.StateResponse,
            {
                "id": process.exec_id or task.id,
                "bundle": task.bundle,
                "pid": process.pid,
                "status": process.status,
                "stdin": streams.stdin,
                "stdout": streams.stdout,
                "stderr": streams.stderr,
                "terminal": streams.terminal,
                "exit_status": process.exit_code,
                "exited_at": messages.timestamp(process.exited_at_ns),
                "exec_id": process.exec_id,
            },
        )

    def _connect(self, call: Call) -> bytes:
        request = decode(messages.TaskRequest, call.payload)
        task = self._tasks.get(request["id"])
        return encode(messages.ConnectResponse, {"shim_pid": os.getpid(), "task_pid": task.init.pid if task else 0})

    def _pids(self, call: Call) -> bytes:
        task = self._task(decode(messages.TaskRequest, call.payload))
        execs = {process.pid: process.exec_id for process in task.execs.values()}
        processes = [
            {
                "pid": pid,
                **(
                    {
                        "info": {
                            "type_url": messages.ProcessDetails.name,
                            "value": encode(messages.ProcessDetails, {"exec_id": execs[pid]}),
                        }
                    }
                    if pid in execs
                    else {}
                ),
            }
            for pid in task.pids()
        ]
        return encode(messages.PidsResponse, {"processes": processes})

    def _stats(self, call: Call) -> bytes:
        from wherry.linux import cgroup

        task = self._task(decode(messages.TaskRequest, call.payload))
        used = settings.cgroup_of(task.init.pid).stats()
        if task.parked_pid and used.pids.current > 1:
            used = used.replace(pids=used.pids.replace(current=used.pids.current - 1))
        return encode(messages.StatsResponse, {"stats": metrics.pack(used, cgroup.detect() == "v2")})

    def _pause(self, call: Call) -> bytes:
        task = self._task(decode(messages.TaskRequest, call.payload))
        task.pause()
        self._publisher.publish(messages.TaskPaused, {"container_id": task.id})
        return _NOTHING

    def _resume(self, call: Call) -> bytes:
        task = self._task(decode(messages.TaskRequest, call.payload))
        task.resume()
        self._publisher.publish(messages.TaskResumed, {"container_id": task.id})
        return _NOTHING

    def _update(self, call: Call) -> bytes:
        request = decode(messages.UpdateTaskRequest, call.payload)
        self._task(request).update(settings.read_json(request["resources"], "resources"))
        return _NOTHING

    def _resize(self, call: Call) -> bytes:
        request = decode(messages.ResizePtyRequest, call.payload)
        self._process(request).streams.resize(request["height"], request["width"])
        return _NOTHING

    def _close_io(self, call: Call) -> bytes:
        request = decode(messages.CloseIORequest, call.payload)
        process = self._process(request)
        if request["stdin"]:
            process.streams.close_stdin()
        return _NOTHING

    def _checkpoint(self, call: Call) -> bytes:
        self._task(decode(messages.CheckpointTaskRequest, call.payload))
        raise Unsupported("checkpoints of containers are not supported")

    # Below: what all of them need

    def _task(self, request: Mapping[str, Any]) -> Task:
        task = self._tasks.get(request["id"])
        if task is None:
            raise NotFound("container not created: not found")
        return task

    def _process(self, request: Mapping[str, Any]) -> Process:
        return self._task(request).process(request["exec_id"])

    def _streams(self, request: Mapping[str, Any], io: Mapping[str, Any]) -> Streams:
        if request["terminal"] and request["stderr"]:
            raise InvalidArgument("a terminal has no stderr of its own")
        return Streams(
            self._loop,
            terminal=request["terminal"],
            stdin=request["stdin"],
            stdout=request["stdout"],
            stderr=request["stderr"],
            **io,
        )

    def _child_ended(self, pid: int, status: int) -> None:
        for task in list(self._tasks.values()):
            if task.child_ended(pid, status):
                return

    def _ended(self, task: Task, process: Process) -> None:
        self._publisher.publish(
            messages.TaskExit,
            {
                "container_id": task.id,
                "id": process.exec_id or task.id,
                "pid": process.pid,
                "exit_status": process.exit_code,
                "exited_at": messages.timestamp(process.exited_at_ns),
            },
        )

    def _out_of_memory(self, task: Task) -> None:
        self._publisher.publish(messages.TaskOOM, {"container_id": task.id})


def _ended_fields(process: Process) -> dict[str, Any]:
    return {"pid": process.pid, "exit_status": process.exit_code, "exited_at": messages.timestamp(process.exited_at_ns)}


def _as_runtime(verb: str, step: Callable[[], T]) -> T:
    """Does it; what a runtime says of a failure is told in the words that containerd's clients look for."""
    try:
        return step()
    except StartFailed as error:
        raise StartFailed(f"OCI runtime {verb} failed: {error.message}", exit_code=error.exit_code) from error
