"""`kill`: a signal to containers."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, Flag, Invocation
from wherry.cli.many import for_each

TYPE_CHECKING = False


def kill(call: Invocation) -> int:
    """Sends the signal to each container."""

    def one(name: str) -> str:
        call.client.call("POST", f"/containers/{escape(name)}/kill", {"signal": call.options.text("signal") or None})
        return name

    return for_each(call, call.arguments, one)


KILL = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    action=kill,
    least=1,
    most=UNLIMITED,
    flags=(Flag(name="signal", short="s", kind="string", help="Signal to send (KILL without this)"),),
)
