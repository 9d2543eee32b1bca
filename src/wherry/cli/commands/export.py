"""`export`: a container's file system as a tar archive."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.output.tofile import check_target, write_to

TYPE_CHECKING = False


def export(call: Invocation) -> int:
    """Writes the archive to a file or to stdout."""
    target = call.options.text("output")
    if not target and call.streams.stdout_is_terminal:
        raise CommandFailed("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    check_target(target, "failed to export container: ")
    answer = call.client.stream("GET", f"/containers/{escape(call.arguments[0])}/export")
    write_to(call.streams, target, answer.pieces())
    return 0


EXPORT = Command(
    usage="[OPTIONS] CONTAINER",
    action=export,
    least=1,
    most=1,
    flags=(Flag(name="output", short="o", kind="string", help="Write to a file instead of stdout"),),
)
