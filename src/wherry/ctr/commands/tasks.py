"""`tasks list`, `ps`, `kill`, `pause`, `resume`, `delete`."""

from __future__ import annotations

from wherry import errors
from wherry.console.table import columns
from wherry.ctr import containers, log
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.jsonprint import without_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.client import Client
    from wherry.ctr.command import Invocation

STATUSES = ("UNKNOWN", "CREATED", "RUNNING", "STOPPED", "PAUSED", "PAUSING")
SIGTERM, SIGKILL = 15, 9
STOP_SIGNAL_LABEL = "io.containerd.image.config.stop-signal"


def list_(call: Invocation) -> None:
    """Lists tasks."""
    found = call.client.tasks.List().tasks
    if call.options.on("quiet"):
        call.streams.out("".join(f"{one.id}\n" for one in found))
        return
    rows = [("TASK", "PID", "STATUS", ""), *((one.id, str(one.pid), STATUSES[one.status]) for one in found)]
    call.streams.out(columns(rows, 4, 4))


def _task(call: Invocation) -> str:
    """The container's id, of one that has a task."""
    name = call.argument(0)
    if not name:
        raise CommandFailed("container id must be provided")
    containers.load(call.client, name)
    containers.task_of(call.client, name)
    return name


def ps(call: Invocation) -> None:
    """Lists a container's processes with the exec that each belongs to."""
    name = _task(call)
    found = call.client.tasks.ListPids(container_id=name).processes
    rows = [("PID", "INFO"), *((str(one.pid), _details(one)) for one in found)]
    call.streams.out(columns(rows, 4, 4))


def _details(process: Any) -> str:
    if not process.HasField("info"):
        return "-"
    from wherry.proto import runc_pb2

    details = runc_pb2.ProcessDetails.FromString(process.info.value)
    fields = without_empty({"exec_id": details.exec_id})
    return " ".join(f'{key}:"{value}"' for key, value in fields.items())


def kill(call: Invocation) -> None:
    """Sends a signal: the one that is named, else the image's, else SIGTERM."""
    from wherry.linux.signals import signal_number

    name, options, client = call.argument(0), call.options, call.client
    if not name:
        raise CommandFailed("container id must be provided")
    if options.on("all") and options.text("exec-id"):
        raise CommandFailed("specify an exec-id or all; not both")
    number = SIGTERM
    if options.given("signal"):
        found = signal_number(options.text("signal"))
        if found is None:
            raise CommandFailed(f"invalid signal: {options.text('signal')}")
        number = found
    record = containers.load(client, name)
    if not options.given("signal"):
        number = signal_number(record.labels.get(STOP_SIGNAL_LABEL, "")) or SIGTERM
    containers.task_of(client, name)
    client.tasks.Kill(container_id=name, exec_id=options.text("exec-id"), signal=number, all=options.on("all"))


def pause(call: Invocation) -> None:
    """Freezes a container."""
    call.client.tasks.Pause(container_id=_task(call))


def resume(call: Invocation) -> None:
    """Lets a frozen container go on."""
    call.client.tasks.Resume(container_id=_task(call))


def delete(call: Invocation) -> int:
    """Deletes tasks, or one process of a task; goes on past one that cannot be deleted.

    With one argument the exit code is the process's own.
    """
    client, options = call.client, call.options
    if exec_id := options.text("exec-id"):
        return _delete_process(call, exec_id)
    failure: errors.WherryError | None = None
    for name in call.arguments:
        try:
            containers.load(client, name)
            containers.task_of(client, name)
        except errors.WherryError as problem:
            failure = failure or problem
            log.write("error", f"failed to load task from {name}", error=problem.message)
            continue
        try:
            status = _delete(client, name, force=options.on("force"))
        except errors.WherryError as problem:
            failure = failure or problem
            log.write("error", f"unable to delete {name}", error=problem.message)
            continue
        if status:
            log.write("warning", f"task {name} exit with non-zero exit code {status}")
    if failure is not None:
        raise failure
    return 0


def _delete(client: Client, name: str, *, force: bool) -> int:
    """Deletes a task, after killing it where that is asked for; the exit status."""
    status = containers.task_of(client, name).status
    if force and STATUSES[status] not in ("STOPPED", "CREATED"):
        _kill_and_wait(client, name)
    elif STATUSES[status] not in ("STOPPED", "CREATED", "UNKNOWN"):
        raise errors.Conflict(f"task must be stopped before deletion: {STATUSES[status].lower()}: failed precondition")
    return int(client.tasks.Delete(container_id=name).exit_status)


def _kill_and_wait(client: Client, name: str, exec_id: str = "") -> None:
    try:
        client.tasks.Kill(container_id=name, exec_id=exec_id, signal=SIGKILL, all=not exec_id)
    except errors.NotFound:
        return  # it has ended
    client.tasks.Wait(container_id=name, exec_id=exec_id)


def _delete_process(call: Invocation, exec_id: str) -> int:
    client, name = call.client, call.argument(0)
    containers.load(client, name)
    containers.task_of(client, name)
    try:
        found = client.tasks.Get(container_id=name, exec_id=exec_id).process
    except errors.NotFound as problem:
        raise errors.NotFound(f"no running process found: {problem.message}") from None
    if call.options.on("force") and STATUSES[found.status] == "RUNNING":
        _kill_and_wait(client, name, exec_id)
    elif STATUSES[found.status] in ("RUNNING", "PAUSED", "PAUSING"):
        raise errors.Conflict("current process state: running, process must be stopped before deletion: failed precondition")
    return int(client.tasks.DeleteProcess(container_id=name, exec_id=exec_id).exit_status)


_EXEC_ID = Flag(names=("exec-id",), kind="string", help="id of a process that exec started")
LIST = Command(usage="[flags]", action=list_, flags=(Flag(names=("quiet", "q"), help="print ids only"),))
PS = Command(usage="CONTAINER", action=ps)
KILL = Command(usage="[flags] CONTAINER", action=kill, flags=(
    Flag(names=("signal", "s"), kind="string", help="signal to send"), _EXEC_ID,
    Flag(names=("all", "a"), help="send it to every process of the container"),
))
PAUSE = Command(usage="CONTAINER", action=pause)
RESUME = Command(usage="CONTAINER", action=resume)
DELETE = Command(usage="CONTAINER [CONTAINER, ...]", action=delete,
                 flags=(Flag(names=("force", "f"), help="kill what still runs"), _EXEC_ID))
