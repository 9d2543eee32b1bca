"""`tasks exec`: another process in a running container."""

from __future__ import annotations

import json

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.command import Invocation
    from wherry.ctr.stdio import Stdio

PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"


def exec_(call: Invocation) -> int:
    """The exit code is that of the process."""
    from wherry import errors
    from wherry.ctr import containers, task
    from wherry.ctr.session import Session

    name, options, client = call.argument(0), call.options, call.client
    if not name:
        raise CommandFailed("container id must be provided")
    record = containers.load(client, name)
    containers.task_of(client, name)
    process, exec_id = _process(call, record), options.text("exec-id")
    detached, is_left = options.on("detach"), False  # whether the process goes on with the streams without us
    with task.raw_terminal(call.streams, wanted=options.on("tty")):
        stdio = _streams(call)
        session = Session(client, call.streams, name, stdio, exec_id)
        try:
            spec = {"type_url": PROCESS_TYPE, "value": json.dumps(process).encode()}
            client.tasks.Exec(container_id=name, exec_id=exec_id, spec=spec, **stdio.fields())
            is_left = detached
            try:
                end = None if detached else session.wait()
                client.tasks.Start(container_id=name, exec_id=exec_id)
                return 0 if end is None else session.run(end)
            finally:
                if not detached:
                    try:
                        client.tasks.DeleteProcess(container_id=name, exec_id=exec_id)
                    except errors.WherryError:
                        pass  # one that did not start has nothing to delete
        finally:
            session.close()
            if not is_left:
                stdio.remove()


def _process(call: Invocation, record: Any) -> dict[str, Any]:
    """The container's own process with another command line."""
    from wherry.ctr.containers import spec_of
    from wherry.linux import accounts

    options = call.options
    spec = spec_of(record)
    process: dict[str, Any] = spec.get("process") or {}
    if options.text("user"):
        from wherry.ctr.mounting import mounted
        from wherry.ctr.spec import user

        if record.snapshot_key:
            mounts = call.client.snapshots.Mounts(snapshotter=record.snapshotter, key=record.snapshot_key).mounts
            with mounted(mounts, read_only=True) as folder:
                texts = accounts.read(folder)
        else:
            texts = accounts.read(spec["root"]["path"])
        found = user.resolved(options.text("user"), *texts)
        process["user"] = {**process.get("user", {}), **found, "additionalGids": [found["gid"]]}
    process["terminal"] = options.on("tty")
    process["args"] = list(call.arguments[1:])
    if options.text("cwd"):
        process["cwd"] = options.text("cwd")
    return process


def _streams(call: Invocation) -> Stdio:
    from wherry.ctr.stdio import Stdio

    options = call.options
    uri = options.text("log-uri")
    if uri and options.on("tty"):
        raise CommandFailed("can't use log-uri with tty")
    if uri and options.text("fifo-dir"):
        raise CommandFailed("can't use log-uri with fifo-dir")
    return Stdio.logged(uri) if uri else Stdio.fifos(options.text("exec-id"), terminal=options.on("tty"),
                                                      folder=options.text("fifo-dir"))


EXEC = Command(usage="[flags] CONTAINER CMD [ARG...]", action=exec_, reorders=False, flags=(
    Flag(names=("cwd",), kind="string", help="folder that the process starts in"),
    Flag(names=("tty", "t"), help="give the process a terminal"),
    Flag(names=("detach", "d"), help="leave the process alone once it runs"),
    Flag(names=("exec-id",), kind="string", required=True, help="id of the process"),
    Flag(names=("fifo-dir",), kind="string", help="folder for the fifos of the streams"),
    Flag(names=("log-uri",), kind="string", help="where the output goes: file://, binary://, fifo://"),
    Flag(names=("user",), kind="string", help="user, by name or id, with a group behind a colon"),
))
