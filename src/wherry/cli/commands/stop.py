"""`stop`: asks containers to end, and makes them."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.many import for_each

TYPE_CHECKING = False

FLAGS = (
    Flag(name="signal", short="s", kind="string", since="1.42", help="Signal to send first"),
    Flag(name="time", kind="int", help="Seconds until it is killed", hidden=True, same_as="timeout"),
    Flag(name="timeout", short="t", kind="int", help="Seconds until it is killed"),
)


def end_each(call: Invocation, verb: str) -> int:
    """POSTs stop or restart for each container."""
    options = call.options
    query = {"signal": options.text("signal") or None, "t": options.number("timeout") if options.given("timeout") else None}
    if options.given("timeout") and not -(1 << 31) <= options.number("timeout") < 1 << 31:
        raise CommandFailed("the timeout is out of range")

    def one(name: str) -> str:
        call.client.call("POST", f"/containers/{escape(name)}/{verb}", query)
        return name

    return for_each(call, call.arguments, one)


STOP = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]", action=lambda call: end_each(call, "stop"), flags=FLAGS, least=1, most=UNLIMITED
)
