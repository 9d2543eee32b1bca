"""`diff`: what changed in a container's file system."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Invocation

TYPE_CHECKING = False

KINDS = ("C", "A", "D")


def diff(call: Invocation) -> int:
    """Prints a line per change."""
    name = call.arguments[0]
    if not name:
        raise CommandFailed("Container name cannot be empty")
    changes = call.client.get(f"/containers/{escape(name)}/changes") or ()
    call.streams.out("".join(f"{KINDS[change['Kind']]} {change['Path']}\n" for change in changes))
    return 0


DIFF = Command(usage="CONTAINER", action=diff, least=1, most=1)
