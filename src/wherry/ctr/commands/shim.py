"""`shim start`, `state`, `exec`, `delete`: a shim asked without containerd."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation
    from wherry.ctr.shimcall import Shim


def _shim(call: Invocation) -> Shim:
    from wherry.ctr.shimcall import Shim

    name = call.group.text("id")
    if not name:
        raise CommandFailed("container id must be specified")
    return Shim(call.globals.text("address"), call.globals.text("namespace"), name)


def start(call: Invocation) -> None:
    """Starts the task."""
    from wherry.shim.containerd import messages

    with _shim(call) as shim:
        shim.call("Start", messages.StartRequest, messages.StartResponse, id=call.group.text("id"))


def delete(call: Invocation) -> None:
    """Deletes the task, and prints how it ended."""
    from wherry.shim.containerd import messages

    with _shim(call) as shim:
        found = shim.call("Delete", messages.DeleteRequest, messages.DeleteResponse, id=call.group.text("id"))
    call.streams.line(f"container deleted and returned exit status {found['exit_status']}")


def state(call: Invocation) -> None:
    """Prints what the shim knows of its process."""
    import time

    from wherry.ctr.jsonprint import pretty, without_empty
    from wherry.shim.containerd import messages

    with _shim(call) as shim:
        found = shim.call("State", messages.StateRequest, messages.StateResponse, id=call.group.text("id"))
    ended = found.pop("exited_at") or {"seconds": 0, "nanos": 0}
    seconds, nanos = ended["seconds"], ended["nanos"]
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    moment = "0001-01-01T00:00:00Z" if seconds <= 0 else time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"
    call.streams.line(pretty({**without_empty(found), "exited_at": moment}))


def exec_(call: Invocation) -> None:
    """Starts another process, by a specification in a file or by words."""
    import json

    from wherry.ctr.commands.task_exec import PROCESS_TYPE
    from wherry.shim.containerd import messages

    options, name = call.options, call.group.text("id")
    exec_id, words = call.argument(0), call.arguments[1:]
    with _shim(call) as shim:
        if not exec_id:
            raise CommandFailed("exec id must be provided")
        if options.on("attach"):
            raise CommandFailed("shim exec --attach is not supported: use tasks exec")
        process = {"args": list(words), "cwd": options.text("cwd"), "env": options.many("env"), "terminal": options.on("tty"),
                   "user": {"uid": 0, "gid": 0}}
        if options.text("spec"):
            with open(options.text("spec"), encoding="utf-8") as file:
                process = json.load(file)
        shim.call("Exec", messages.ExecProcessRequest, messages.Empty, id=name, exec_id=exec_id, terminal=options.on("tty"),
                  stdin=options.text("stdin"), stdout=options.text("stdout"), stderr=options.text("stderr"),
                  spec={"type_url": PROCESS_TYPE, "value": json.dumps(process).encode()})
        found = shim.call("Start", messages.StartRequest, messages.StartResponse, id=name, exec_id=exec_id)
    call.streams.line(f"process {found['pid']} has started")


_USAGE = "[arguments...]"
START = Command(usage=_USAGE, action=start)
DELETE = Command(usage=_USAGE, action=delete)
STATE = Command(usage=_USAGE, action=state)
EXEC = Command(usage=_USAGE, action=exec_, flags=(
    Flag(names=("stdin",), kind="string", help="fifo to read from"),
    Flag(names=("stdout",), kind="string", help="fifo to write to"),
    Flag(names=("stderr",), kind="string", help="fifo to write errors to"),
    Flag(names=("tty", "t"), help="give the process a terminal"),
    Flag(names=("attach", "a"), help="stay with the process and its fifos"),
    Flag(names=("env", "e"), kind="strings", help="environment variable"),
    Flag(names=("cwd",), kind="string", help="folder that the process starts in"),
    Flag(names=("spec",), kind="string", help="file with the process's specification"),
))
