"""The messages that a shim and containerd exchange, by package, field name and number as containerd's interface has them.

Sources: containerd's `api/runtime/task/v2` and `v3`, `api/events`, `api/services/ttrpc/events/v1`, `api/types`; runc's options
of the shim `io.containerd.runc.v2`; ttrpc's `request.proto`; google.rpc.Status. Versions 2 and 3 of the task service have the
same fields.
"""

from __future__ import annotations

from wherry.shim.containerd.protobuf import BOOL, BYTES, INT, MAP, STRING, UINT, Field, Message

# google.protobuf, google.rpc, ttrpc
Any = Message("google.protobuf.Any", Field(1, "type_url", STRING), Field(2, "value", BYTES))
Timestamp = Message("google.protobuf.Timestamp", Field(1, "seconds", INT), Field(2, "nanos", INT))
Empty = Message("google.protobuf.Empty")
Status = Message("google.rpc.Status", Field(1, "code", INT), Field(2, "message", STRING), Field(3, "details", Any, repeated=True))
KeyValue = Message("ttrpc.KeyValue", Field(1, "key", STRING), Field(2, "value", STRING))
Request = Message(
    "ttrpc.Request",
    Field(1, "service", STRING),
    Field(2, "method", STRING),
    Field(3, "payload", BYTES),
    Field(4, "timeout_nano", INT),
    Field(5, "metadata", KeyValue, repeated=True),
)
Response = Message("ttrpc.Response", Field(1, "status", Status), Field(2, "payload", BYTES))

# containerd.types
Mount = Message(
    "containerd.types.Mount",
    Field(1, "type", STRING),
    Field(2, "source", STRING),
    Field(3, "target", STRING),
    Field(4, "options", STRING, repeated=True),
)
ProcessInfo = Message("containerd.v1.types.ProcessInfo", Field(1, "pid", UINT), Field(2, "info", Any))
UNKNOWN, CREATED, RUNNING, STOPPED, PAUSED, PAUSING = range(6)

# containerd.runc.v1
Options = Message(
    "containerd.runc.v1.Options",
    Field(1, "no_pivot_root", BOOL),
    Field(2, "no_new_keyring", BOOL),
    Field(3, "shim_cgroup", STRING),
    Field(4, "io_uid", UINT),
    Field(5, "io_gid", UINT),
    Field(6, "binary_name", STRING),
    Field(7, "root", STRING),
    Field(9, "systemd_cgroup", BOOL),
    Field(10, "criu_image_path", STRING),
    Field(11, "criu_work_path", STRING),
)
ProcessDetails = Message("containerd.runc.v1.ProcessDetails", Field(1, "exec_id", STRING))

# containerd.task.v2 and v3
_ID, _EXEC_ID = Field(1, "id", STRING), Field(2, "exec_id", STRING)
_STDIO = (Field(5, "stdin", STRING), Field(6, "stdout", STRING), Field(7, "stderr", STRING))
_ENDED = (Field(1, "pid", UINT), Field(2, "exit_status", UINT), Field(3, "exited_at", Timestamp))
CreateTaskRequest = Message(
    "CreateTaskRequest",
    _ID,
    Field(2, "bundle", STRING),
    Field(3, "rootfs", Mount, repeated=True),
    Field(4, "terminal", BOOL),
    *_STDIO,
    Field(8, "checkpoint", STRING),
    Field(9, "parent_checkpoint", STRING),
    Field(10, "options", Any),
)
CreateTaskResponse = Message("CreateTaskResponse", Field(1, "pid", UINT))
DeleteRequest = Message("DeleteRequest", _ID, _EXEC_ID)
DeleteResponse = Message("DeleteResponse", *_ENDED)
ExecProcessRequest = Message(
    "ExecProcessRequest",
    _ID,
    _EXEC_ID,
    Field(3, "terminal", BOOL),
    Field(4, "stdin", STRING),
    Field(5, "stdout", STRING),
    Field(6, "stderr", STRING),
    Field(7, "spec", Any),
)
ResizePtyRequest = Message("ResizePtyRequest", _ID, _EXEC_ID, Field(3, "width", UINT), Field(4, "height", UINT))
StateRequest = Message("StateRequest", _ID, _EXEC_ID)
StateResponse = Message(
    "StateResponse",
    _ID,
    Field(2, "bundle", STRING),
    Field(3, "pid", UINT),
    Field(4, "status", UINT),
    *_STDIO,
    Field(8, "terminal", BOOL),
    Field(9, "exit_status", UINT),
    Field(10, "exited_at", Timestamp),
    Field(11, "exec_id", STRING),
)
KillRequest = Message("KillRequest", _ID, _EXEC_ID, Field(3, "signal", UINT), Field(4, "all", BOOL))
CloseIORequest = Message("CloseIORequest", _ID, _EXEC_ID, Field(3, "stdin", BOOL))
TaskRequest = Message("TaskRequest", _ID)  # Pids, Pause, Resume, Stats and Connect ask for a task and nothing more
PidsResponse = Message("PidsResponse", Field(1, "processes", ProcessInfo, repeated=True))
CheckpointTaskRequest = Message("CheckpointTaskRequest", _ID, Field(2, "path", STRING), Field(3, "options", Any))
UpdateTaskRequest = Message("UpdateTaskRequest", _ID, Field(2, "resources", Any), Field(3, "annotations", MAP))
StartRequest = Message("StartRequest", _ID, _EXEC_ID)
StartResponse = Message("StartResponse", Field(1, "pid", UINT))
WaitRequest = Message("WaitRequest", _ID, _EXEC_ID)
WaitResponse = Message("WaitResponse", Field(1, "exit_status", UINT), Field(2, "exited_at", Timestamp))
StatsResponse = Message("StatsResponse", Field(1, "stats", Any))
ConnectResponse = Message("ConnectResponse", Field(1, "shim_pid", UINT), Field(2, "task_pid", UINT), Field(3, "version", STRING))
ShutdownRequest = Message("ShutdownRequest", _ID, Field(2, "now", BOOL))

# containerd.runtime.sandbox.v1
_SANDBOX = Field(1, "sandbox_id", STRING)
SandboxRequest = Message("SandboxRequest", _SANDBOX)  # all that most ask for
CreateSandboxRequest = Message(
    "CreateSandboxRequest",
    _SANDBOX,
    Field(2, "bundle_path", STRING),
    Field(3, "rootfs", Mount, repeated=True),
    Field(4, "options", Any),
    Field(5, "netns_path", STRING),
    Field(6, "annotations", MAP),
)
StartSandboxResponse = Message("StartSandboxResponse", Field(1, "pid", UINT), Field(2, "created_at", Timestamp))
Platform = Message(
    "containerd.types.Platform", Field(1, "os", STRING), Field(2, "architecture", STRING), Field(3, "variant", STRING)
)
PlatformResponse = Message("PlatformResponse", Field(1, "platform", Platform))
StopSandboxRequest = Message("StopSandboxRequest", _SANDBOX, Field(2, "timeout_secs", UINT))
WaitSandboxResponse = Message("WaitSandboxResponse", Field(1, "exit_status", UINT), Field(2, "exited_at", Timestamp))
SandboxStatusRequest = Message("SandboxStatusRequest", _SANDBOX, Field(2, "verbose", BOOL))
SandboxStatusResponse = Message(
    "SandboxStatusResponse",
    _SANDBOX,
    Field(2, "pid", UINT),
    Field(3, "state", STRING),
    Field(4, "info", MAP),
    Field(5, "created_at", Timestamp),
    Field(6, "exited_at", Timestamp),
    Field(7, "extra", Any),
)
Metric = Message("containerd.types.Metric", Field(1, "timestamp", Timestamp), Field(2, "id", STRING), Field(3, "data", Any))
SandboxMetricsResponse = Message("SandboxMetricsResponse", Field(1, "metrics", Metric))

# containerd.services.events.ttrpc.v1, containerd.events
Envelope = Message(
    "containerd.services.events.ttrpc.v1.Envelope",
    Field(1, "timestamp", Timestamp),
    Field(2, "namespace", STRING),
    Field(3, "topic", STRING),
    Field(4, "event", Any),
)
ForwardRequest = Message("containerd.services.events.ttrpc.v1.ForwardRequest", Field(1, "envelope", Envelope))
_CONTAINER = Field(1, "container_id", STRING)
TaskIO = Message(
    "containerd.events.TaskIO",
    Field(1, "stdin", STRING),
    Field(2, "stdout", STRING),
    Field(3, "stderr", STRING),
    Field(4, "terminal", BOOL),
)
TaskCreate = Message(
    "containerd.events.TaskCreate",
    _CONTAINER,
    Field(2, "bundle", STRING),
    Field(3, "rootfs", Mount, repeated=True),
    Field(4, "io", TaskIO),
    Field(5, "checkpoint", STRING),
    Field(6, "pid", UINT),
)
TaskStart = Message("containerd.events.TaskStart", _CONTAINER, Field(2, "pid", UINT))
TaskDelete = Message(
    "containerd.events.TaskDelete",
    _CONTAINER,
    Field(2, "pid", UINT),
    Field(3, "exit_status", UINT),
    Field(4, "exited_at", Timestamp),
    Field(5, "id", STRING),
)
TaskExit = Message(
    "containerd.events.TaskExit",
    _CONTAINER,
    Field(2, "id", STRING),
    Field(3, "pid", UINT),
    Field(4, "exit_status", UINT),
    Field(5, "exited_at", Timestamp),
)
TaskOOM = Message("containerd.events.TaskOOM", _CONTAINER)
TaskExecAdded = Message("containerd.events.TaskExecAdded", _CONTAINER, _EXEC_ID)
TaskExecStarted = Message("containerd.events.TaskExecStarted", _CONTAINER, _EXEC_ID, Field(3, "pid", UINT))
TaskPaused = Message("containerd.events.TaskPaused", _CONTAINER)
TaskResumed = Message("containerd.events.TaskResumed", _CONTAINER)

TOPICS = {
    TaskCreate: "/tasks/create",
    TaskStart: "/tasks/start",
    TaskDelete: "/tasks/delete",
    TaskExit: "/tasks/exit",
    TaskOOM: "/tasks/oom",
    TaskExecAdded: "/tasks/exec-added",
    TaskExecStarted: "/tasks/exec-started",
    TaskPaused: "/tasks/paused",
    TaskResumed: "/tasks/resumed",
}


def timestamp(at_ns: int) -> dict[str, int]:
    """A Timestamp of nanoseconds since the epoch; the zero of Go's time.Time for 0, as containerd sends it."""
    if not at_ns:
        return {"seconds": -62135596800, "nanos": 0}
    return {"seconds": at_ns // 1_000_000_000, "nanos": at_ns % 1_000_000_000}
