"""`help`: the help of a command."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command, Invocation

TYPE_CHECKING = False


def show_help(call: Invocation) -> int:
    """Runs the command line again with --help."""
    from wherry.cli.main import run

    return run([*call.arguments, "--help"], call.streams, call.environment, "")


HELP = Command(usage="[COMMAND]", action=show_help, most=UNLIMITED)
