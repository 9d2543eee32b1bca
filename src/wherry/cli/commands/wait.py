"""`wait`: until containers end."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, Invocation
from wherry.cli.commands.run import end_wait
from wherry.cli.many import for_each

TYPE_CHECKING = False


def wait(call: Invocation) -> int:
    """Prints the exit code of each container when it has one."""
    return for_each(
        call, call.arguments, lambda name: str(end_wait(call.client.stream("POST", f"/containers/{escape(name)}/wait")))
    )


WAIT = Command(usage="CONTAINER [CONTAINER...]", action=wait, least=1, most=UNLIMITED)
