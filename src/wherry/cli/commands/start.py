"""`start`: containers that exist already, attached on demand."""

from __future__ import annotations

from wherry.cli.attach.session import Detached, Session, detach_keys
from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import DETACH_KEYS
from wherry.cli.commands.run import begin_wait, end_wait
from wherry.errors import WherryError

TYPE_CHECKING = False


def start(call: Invocation) -> int:
    """Starts each container and prints its name; with -a or -i one container, whose exit code is ours."""
    options = call.options
    if options.text("checkpoint") or options.text("checkpoint-dir"):
        raise CommandFailed("checkpoints are not supported by wherry")
    if options.on("attach") or options.on("interactive"):
        if len(call.arguments) > 1:
            raise CommandFailed("you cannot start and attach multiple containers at once")
        return _attached(call, call.arguments[0])
    failed = []
    for name in call.arguments:
        try:
            call.client.post(f"/containers/{escape(name)}/start")
        except WherryError as wrong:
            call.streams.error_line(wrong.message)
            failed.append(name)
        else:
            call.streams.line(name)
    if failed:
        raise CommandFailed(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _attached(call: Invocation, name: str) -> int:
    client = call.client
    container = client.get(f"/containers/{escape(name)}/json")
    identifier, config = container["Id"], container["Config"]
    keys = detach_keys(call)
    stdin = call.options.on("interactive") and config["OpenStdin"]
    tty = bool(config["Tty"])
    if tty and stdin and not call.streams.stdin_is_terminal:
        raise CommandFailed("the input device is not a TTY")
    place = f"/containers/{identifier}"
    query = {"stream": True, "stdin": stdin or None, "stdout": True, "stderr": True, "detachKeys": keys or None}
    socket, early, _ = client.hijack(f"{place}/attach", query)
    waiting = begin_wait(call, identifier, "removed" if container["HostConfig"]["AutoRemove"] else "next-exit")

    def begin() -> None:
        try:
            client.post(f"{place}/start")
        except WherryError as wrong:
            if container["HostConfig"]["AutoRemove"]:
                waiting.read()
            call.streams.error_line(wrong.message)
            raise CommandFailed(f"Error: failed to start containers: {name}") from None

    try:
        Session(call, place, tty=tty, stdin=stdin, proxy=True).run(socket, early, begin)
    except Detached:
        return 0
    return end_wait(waiting)


START = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    action=start,
    least=1,
    most=UNLIMITED,
    flags=(
        Flag(name="attach", short="a", help="Show what it writes and pass signals on"),
        Flag(name="checkpoint", kind="string", help="Start from a checkpoint", hidden=True),
        Flag(name="checkpoint-dir", kind="string", help="Where checkpoints are", hidden=True),
        DETACH_KEYS,
        Flag(name="interactive", short="i", help="Give it our stdin"),
    ),
)
