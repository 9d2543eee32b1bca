"""`exec`: another process in a running container."""

from __future__ import annotations

from wherry.cli.attach.session import Detached, Session, detach_keys
from wherry.cli.client import ApiError, escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import DETACH_KEYS
from wherry.cli.create.files import variables
from wherry.cli.values import environment
from wherry.errors import WherryError

TYPE_CHECKING = False


def execute(call: Invocation) -> int:
    """Runs the command; the exit code is its own."""
    options, client = call.options, call.client
    name, *command = call.arguments
    detached = options.on("detach")
    stdin = options.on("interactive") and not detached
    tty = options.on("tty")
    if tty and stdin and not call.streams.stdin_is_terminal:
        raise CommandFailed("the input device is not a TTY")
    keys = detach_keys(call)
    rows, columns = call.streams.size()
    body = {
        "User": options.text("user"),
        "Privileged": options.on("privileged"),
        "Tty": tty,
        "ConsoleSize": [rows, columns] if tty and rows and not detached else None,
        "AttachStdin": stdin,
        "AttachStderr": not detached,
        "AttachStdout": not detached,
        "DetachKeys": keys,
        "Env": variables(options.many("env-file"), options.many("env"), call.environment) or None,
        "WorkingDir": options.text("workdir"),
        "Cmd": command,
    }
    if body["ConsoleSize"] is None or not client.at_least("1.42"):
        del body["ConsoleSize"]
    created = client.post(f"/containers/{escape(name)}/exec", body)
    identifier = created.get("Id")
    if not identifier:
        raise CommandFailed("exec ID empty")
    if detached:
        client.post(f"/exec/{identifier}/start", {"Detach": True, "Tty": tty})
        return 0
    start = {"Detach": False, "Tty": tty, **({"ConsoleSize": body["ConsoleSize"]} if "ConsoleSize" in body else {})}
    socket, early, _ = client.hijack(f"/exec/{identifier}/start", json=start)
    try:
        Session(call, f"/exec/{identifier}", tty=tty, stdin=stdin).run(socket, early)
    except Detached:
        raise CommandFailed("read escape sequence") from None
    return exit_code(call, identifier)


def exit_code(call: Invocation, identifier: str) -> int:
    """The exit code of an exec that has ended; -1 as docker reports what the daemon cannot say."""
    try:
        found = call.client.get(f"/exec/{identifier}/json")
    except ApiError:
        raise
    except WherryError:
        return 255
    return int(found.get("ExitCode") or 0)


EXEC = Command(
    usage="[OPTIONS] CONTAINER COMMAND [ARG...]",
    action=execute,
    least=2,
    most=UNLIMITED,
    interspersed=False,
    flags=(
        Flag(name="detach", short="d", help="Do not wait for it"),
        DETACH_KEYS,
        Flag(name="env", short="e", kind="list", check=environment, help="Set environment variables"),
        Flag(name="env-file", kind="list", help="Set the environment variables in this file"),
        Flag(name="interactive", short="i", help="Keep stdin open"),
        Flag(name="privileged", help="Give it everything the host has"),
        Flag(name="tty", short="t", help="Give it a terminal"),
        Flag(name="user", short="u", kind="string", help="User to run as (<name|uid>[:<group|gid>])"),
        Flag(name="workdir", short="w", kind="string", help="Working folder"),
    ),
    examples=(("wherry exec -it web sh", "A shell in the container web"),),
)
