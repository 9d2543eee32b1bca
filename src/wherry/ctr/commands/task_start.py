"""`tasks start`."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def start(call: Invocation) -> int:
    """Starts a container that has no task."""
    from wherry.ctr import containers, task

    name = call.argument(0)
    if not name:
        raise CommandFailed("container id must be provided")
    spec = containers.spec_of(containers.load(call.client, name))
    terminal = bool((spec.get("process") or {}).get("terminal"))
    with task.raw_terminal(call.streams, wanted=terminal):
        stdio = task.streams_of(call.options, name, terminal=terminal)
        return task.run(call, name, stdio, lambda _: None, no_pivot=False)


START = Command(usage="CONTAINER", action=start, flags=(
    Flag(names=("null-io",), help="send all output to /dev/null"),
    Flag(names=("log-uri",), kind="string", help="where the output goes: file://, binary://, fifo://"),
    Flag(names=("fifo-dir",), kind="string", help="folder for the fifos of the streams"),
    Flag(names=("pid-file",), kind="string", help="file to write the process id of the task to"),
    Flag(names=("detach", "d"), help="leave the container alone once it runs"),
))
