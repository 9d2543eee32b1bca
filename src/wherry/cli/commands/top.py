"""`top`: the processes of a container."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, Invocation
from wherry.console.table import columns

TYPE_CHECKING = False


def top(call: Invocation) -> int:
    """Prints what ps says, by the daemon."""
    name, *words = call.arguments
    found = call.client.get(f"/containers/{escape(name)}/top", ps_args=" ".join(words) or None)
    call.streams.out(columns([found["Titles"], *(found["Processes"] or ())], 20, 3))
    return 0


TOP = Command(usage="CONTAINER [ps OPTIONS]", action=top, least=1, most=UNLIMITED, interspersed=False)
