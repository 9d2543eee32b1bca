"""`containers list`, `info`, `label`, `delete`."""

from __future__ import annotations

from wherry import errors
from wherry.console.table import columns
from wherry.ctr import containers, log
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.jsonprint import pretty, unpacked_any, without_empty
from wherry.ctr.values import labels, moment_ns, moment_spoken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.client import Client
    from wherry.ctr.command import Invocation

CREATED, RUNNING, STOPPED, PAUSED, PAUSING = 1, 2, 3, 4, 5  # task.proto, Status


def list_(call: Invocation) -> None:
    """Lists containers by filters."""
    found = call.client.containers.List(filters=call.arguments).containers
    if call.options.on("quiet"):
        call.streams.out("".join(f"{one.id}\n" for one in found))
        return
    rows = [("CONTAINER", "IMAGE", "RUNTIME", ""), *((one.id, one.image or "-", one.runtime.name, "") for one in found)]
    call.streams.out(columns(rows, 4, 4))


def info(call: Invocation) -> None:
    """Prints a container's record, with its configuration read."""
    if not call.argument(0):
        raise CommandFailed("container id must be provided: invalid argument")
    record = containers.load(call.client, call.argument(0))
    spec = unpacked_any(record.spec)
    call.streams.line(pretty(spec if call.options.on("spec") else _shown(record, spec)))


def _shown(record: Any, spec: Any) -> dict[str, Any]:
    extensions = {key: unpacked_any(value) for key, value in record.extensions.items()}
    given = record.runtime.options if record.runtime.HasField("options") else None
    runtime = {"Name": record.runtime.name, "Options": None if given is None else _any(given)}
    return {
        "ID": record.id, "Labels": dict(sorted(record.labels.items())) or None, "Image": record.image, "Runtime": runtime,
        "SnapshotKey": record.snapshot_key, "Snapshotter": record.snapshotter, "CreatedAt": moment_ns(record.created_at),
        "UpdatedAt": moment_ns(record.updated_at), "Extensions": extensions or None, "Spec": spec,
    }


def _any(message: Any) -> dict[str, Any]:
    import base64

    return without_empty({"type_url": message.type_url, "value": base64.b64encode(message.value).decode()})


def label(call: Invocation) -> None:
    """Sets labels; an empty value clears one."""
    name, given = call.argument(0), labels(call.arguments[1:])
    if not name:
        raise CommandFailed("container id must be provided: invalid argument")
    record = containers.load(call.client, name)
    paths = [f"labels.{key}" for key in given]
    updated = call.client.containers.Update(container={"id": record.id, "labels": given}, update_mask={"paths": paths}).container
    call.streams.line(",".join(f"{key}={value}" for key, value in sorted(updated.labels.items())))


def delete(call: Invocation) -> None:
    """Deletes containers, their tasks that have ended and their snapshots; goes on past one that cannot be deleted."""
    if not call.arguments:
        raise CommandFailed("must specify at least one container to delete: invalid argument")
    failure: errors.WherryError | None = None
    for name in call.arguments:
        try:
            _delete(call.client, name, with_snapshot=not call.options.on("keep-snapshot"))
        except errors.WherryError as problem:
            failure = failure or problem
            log.write("error", f'failed to delete container "{name}"', error=problem.message)
    if failure is not None:
        raise failure


def _delete(client: Client, name: str, *, with_snapshot: bool) -> None:
    containers.load(client, name)
    try:
        task = containers.task_of(client, name)
    except errors.NotFound:
        task = None
    if task is not None:
        if task.status not in (STOPPED, CREATED):
            words = {RUNNING: "running", PAUSED: "paused", PAUSING: "pausing"}.get(task.status, "unknown")
            when = moment_spoken(task.exited_at) if task.exited_at.seconds > 0 else "0001-01-01 00:00:00 +0000 UTC"
            raise errors.Conflict(f"cannot delete a non stopped container: {{{words} {task.exit_status} {when}}}")
        client.tasks.Delete(container_id=name)
    containers.delete(client, name, with_snapshot=with_snapshot)


LIST = Command(usage="[flags] [<filter>, ...]", action=list_, flags=(Flag(names=("quiet", "q"), help="print ids only"),))
INFO = Command(usage="CONTAINER", action=info, flags=(Flag(names=("spec",), help="print the runtime configuration only"),))
LABEL = Command(usage="[flags] CONTAINER [<key>=<value>, ...]", action=label, description="set and clear a container's labels")
DELETE = Command(usage="[flags] CONTAINER [CONTAINER, ...]", action=delete,
                 flags=(Flag(names=("keep-snapshot",), help="leave the container's snapshot where it is"),))
