"""`attach`: this terminal to a container that runs already."""

from __future__ import annotations

from wherry.cli.attach.session import Detached, Session, detach_keys
from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import DETACH_KEYS, SIG_PROXY
from wherry.cli.commands.run import begin_wait, end_wait

TYPE_CHECKING = False


def attach(call: Invocation) -> int:
    """Attaches until the container ends, or the detach keys are typed."""
    options, client = call.options, call.client
    container = client.get(f"/containers/{escape(call.arguments[0])}/json")
    state = container["State"]
    if not state["Running"]:
        raise CommandFailed("You cannot attach to a stopped container, start it first")
    if state["Paused"]:
        raise CommandFailed("You cannot attach to a paused container, unpause it first")
    if state["Restarting"]:
        raise CommandFailed("You cannot attach to a restarting container, wait until it is running")
    keys = detach_keys(call)
    tty = bool(container["Config"]["Tty"])
    stdin = not options.on("no-stdin") and bool(container["Config"]["OpenStdin"])
    if tty and stdin and not call.streams.stdin_is_terminal:
        raise CommandFailed("the input device is not a TTY")
    place = f"/containers/{container['Id']}"
    waiting = begin_wait(call, container["Id"], "")
    query = {"stream": True, "stdin": stdin or None, "stdout": True, "stderr": True, "detachKeys": keys or None}
    socket, early, _ = client.hijack(f"{place}/attach", query)
    session = Session(call, place, tty=tty, stdin=stdin, proxy=options.on("sig-proxy"))
    if tty:
        session.redraw()
    try:
        session.run(socket, early)
    except Detached:
        raise CommandFailed("read escape sequence") from None
    return end_wait(waiting)


ATTACH = Command(
    usage="[OPTIONS] CONTAINER",
    action=attach,
    least=1,
    most=1,
    flags=(DETACH_KEYS, Flag(name="no-stdin", help="Do not give it our stdin"), SIG_PROXY),
)
