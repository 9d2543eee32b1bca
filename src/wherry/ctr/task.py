"""Tasks: a container's process made from its record, run at this terminal or left alone."""

from __future__ import annotations

import contextlib

from wherry import errors
from wherry.ctr.command import CommandFailed
from wherry.ctr.containers import RUNC_OPTIONS, load, spec_of
from wherry.ctr.session import Session
from wherry.ctr.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from wherry.console.streams import Streams
    from wherry.ctr.client import Client
    from wherry.ctr.command import Invocation
    from wherry.ctr.flags import Options


def check_terminal(streams: Streams) -> None:
    """Raises CommandFailed where a terminal is asked for and there is none."""
    if not streams.stdin_is_terminal:
        raise CommandFailed("provided file is not a console")


@contextlib.contextmanager
def raw_terminal(streams: Streams, *, wanted: bool) -> Iterator[None]:
    """Inside, every key reaches the process, where a terminal is wanted."""
    if not wanted:
        yield
        return
    from wherry.console.terminal import RawTerminal

    check_terminal(streams)
    with RawTerminal(streams.stdin):
        yield


def streams_of(options: Options, name: str, *, terminal: bool) -> Stdio:
    """The streams by the options of `run` and `tasks start`."""
    if options.on("null-io"):
        if terminal:
            raise CommandFailed("tty and null-io cannot be used together")
        return Stdio()
    if options.text("log-uri") and not terminal:
        return Stdio.logged(options.text("log-uri"))
    return Stdio.fifos(name, terminal=terminal, folder=options.text("fifo-dir"))


def create(client: Client, record: Any, stdio: Stdio, *, no_pivot: bool = False) -> int:
    """Makes the task of a container and returns its process id. Raises AlreadyExists, NotFound."""
    spec = spec_of(record)
    rootfs = []
    if record.snapshot_key:
        rootfs = list(client.snapshots.Mounts(snapshotter=record.snapshotter, key=record.snapshot_key).mounts)
        label = (spec.get("linux") or {}).get("mountLabel")
        if label:
            for one in rootfs:
                one.options.append(f'context="{label}"')
    fields: dict[str, Any] = stdio.fields()
    options = _options(record, spec, no_pivot=no_pivot)
    if options is not None:
        fields["options"] = options
    return int(client.tasks.Create(container_id=record.id, rootfs=rootfs, **fields).pid)


def _options(record: Any, spec: dict[str, Any], *, no_pivot: bool) -> dict[str, Any] | None:
    """The runtime's options for this task on top of the record's: no pivot_root, who owns the pipes; None for none."""
    linux = spec.get("linux") or {}
    owners = {field: maps[0]["hostID"] for field, key in (("io_uid", "uidMappings"), ("io_gid", "gidMappings"))
              if (maps := linux.get(key))}
    if not owners and not no_pivot:
        return None
    from wherry.proto import runc_pb2

    message = runc_pb2.Options()
    if record.runtime.options.type_url == RUNC_OPTIONS:
        message.ParseFromString(record.runtime.options.value)
    for field, value in owners.items():
        setattr(message, field, value)
    message.no_pivot_root = no_pivot
    return {"type_url": RUNC_OPTIONS, "value": message.SerializeToString()}


def run(call: Invocation, name: str, stdio: Stdio, prepare: Callable[[int], None], *, no_pivot: bool) -> int:
    """Makes the task, prepares what it needs by its process id, starts it; its exit status when it has ended, 0 when detached."""
    client, detached = call.client, call.options.on("detach")
    session = Session(client, call.streams, name, stdio)
    is_left = False  # whether a task goes on with the streams without us
    try:
        pid = create(client, load(client, name), stdio, no_pivot=no_pivot)
        is_left = detached
        try:
            end = None if detached else session.wait()
            if call.options.given("pid-file"):
                write_pid(call.options.text("pid-file"), pid)
            prepare(pid)
            client.tasks.Start(container_id=name)
            if end is None:
                return 0
            status = session.run(end)
        except (errors.WherryError, OSError):
            if not detached:
                delete_quietly(client, name)
            raise
        client.tasks.Delete(container_id=name)
        return status
    finally:
        session.close()
        if not is_left:
            stdio.remove()


def delete_quietly(client: Client, name: str) -> None:
    """Deletes what is left of a task that could not be run; another error is on its way already."""
    try:
        client.tasks.Delete(container_id=name)
    except errors.WherryError:
        pass


def write_pid(path: str, pid: int) -> None:
    """Writes a process id to a file, whole or not at all."""
    from wherry.linux.file import replace

    replace(path, str(pid).encode(), 0o644)
