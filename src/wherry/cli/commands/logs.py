"""`logs`: what a container has written."""

from __future__ import annotations

from wherry.cli.attach.stdcopy import STDERR, SYSTEM_ERROR, Demultiplexer
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.output.moments import timestamp
from wherry.console.streams import write_all

TYPE_CHECKING = False


def show_logs(call: Invocation) -> int:
    """Prints the log, stdout and stderr apart where the container has no terminal."""
    options, client = call.options, call.client
    container = client.get(f"/containers/{call.arguments[0]}/json")
    query = {
        "stdout": True,
        "stderr": True,
        "timestamps": options.on("timestamps") or None,
        "follow": options.on("follow") or None,
        "tail": options.text("tail") or None,
        "details": options.on("details") or None,
    }
    for name in ("since", "until"):
        if options.text(name):
            try:
                query[name] = timestamp(options.text(name))
            except ValueError as wrong:
                raise CommandFailed(f'invalid value for "{name}": {wrong}') from None
    answer = client.stream("GET", f"/containers/{container['Id']}/logs", query)
    frames = None if container["Config"]["Tty"] else Demultiplexer()
    streams = call.streams
    for piece in answer.pieces():
        if frames is None:
            write_all(streams.stdout, piece)
            continue
        for kind, payload in frames.feed(piece):
            if kind == SYSTEM_ERROR:
                raise CommandFailed(f"error from daemon in stream: {payload.decode('utf-8', 'replace')}")
            write_all(streams.stderr if kind == STDERR else streams.stdout, payload)
    return 0


LOGS = Command(
    usage="[OPTIONS] CONTAINER",
    action=show_logs,
    least=1,
    most=1,
    flags=(
        Flag(name="details", help="Show the attributes that the log's options add"),
        Flag(name="follow", short="f", help="Go on as more is written"),
        Flag(
            name="since", kind="string", help='Only what was written since a time ("2013-01-02T13:23:37Z") or for so long ("42m")'
        ),
        Flag(name="tail", short="n", kind="string", default="all", help="How many lines from the end"),
        Flag(name="timestamps", short="t", help="Show the time of each line"),
        Flag(
            name="until",
            kind="string",
            help='Only what was written before a time ("2013-01-02T13:23:37Z") or until so long ago ("42m")',
        ),
    ),
)
