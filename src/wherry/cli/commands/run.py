"""`run`: create, attach, wait, start, in docker's order, so that nothing the container does is missed."""

from __future__ import annotations

from wherry.cli.attach.session import Detached, Session, detach_keys
from wherry.cli.client import ApiError
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import DETACH_KEYS, SIG_PROXY
from wherry.cli.create.body import attached
from wherry.cli.create.container import body_of, create
from wherry.cli.create.flags import CONTAINER
from wherry.cli.http import ProtocolError
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.http import Response

NOT_FOUND = ("executable file not found", "no such file or directory", "system cannot find the file specified")
NOT_EXECUTABLE = ("permission denied", "is a directory")


def start_failed(error: WherryError, name: str = "run") -> CommandFailed:
    """The exit code of a start that failed: 127 no such program, 126 not executable, 125 anything else."""
    del name
    text = error.message.lower()
    code = 127 if any(one in text for one in NOT_FOUND) else 126 if any(one in text for one in NOT_EXECUTABLE) else 125
    return CommandFailed(error.message, code, hinted=True)


def begin_wait(call: Invocation, identifier: str, condition: str) -> Response:
    """Asks for the exit before the start; the daemon has taken note when this returns."""
    return call.client.stream("POST", f"/containers/{identifier}/wait", {"condition": condition})


def end_wait(answer: Response) -> int:
    """The exit code. Raises CommandFailed when the daemon could not tell it."""
    try:
        found = next(iter(answer.values()), None)
    except ProtocolError:  # the daemon has gone
        found = None
    if not isinstance(found, dict):
        raise CommandFailed("error waiting for container: unexpected EOF", 125)
    if found.get("Error"):
        raise CommandFailed(f"Error waiting for container: {found['Error'].get('Message', '')}", 125)
    return int(found["StatusCode"])


def _check(call: Invocation, detached: bool) -> None:
    options = call.options
    if detached and options.many("attach"):
        raise CommandFailed("conflicting options: cannot specify both --attach and --detach")
    if not detached and options.on("tty") and attached(options, run=True)[0] and not call.streams.stdin_is_terminal:
        raise CommandFailed("the input device is not a TTY")


def run_container(call: Invocation) -> int:
    """Runs a container; the exit code is its own, or 125, 126, 127."""
    options = call.options
    detached = options.on("detach")
    body = body_of(call, run=True)
    _check(call, detached)
    keys = detach_keys(call)
    rows, columns = call.streams.size()
    if options.on("tty"):
        body["HostConfig"]["ConsoleSize"] = [rows, columns]
    try:
        identifier = create(call, body)
    except CommandFailed as wrong:
        raise CommandFailed(wrong.message, 125, hinted=True) from None
    if detached:
        return _start_detached(call, identifier)
    place = f"/containers/{identifier}"
    stdin, stdout, stderr = body["AttachStdin"], body["AttachStdout"], body["AttachStderr"]
    connection = None
    if stdin or stdout or stderr:
        query = {
            "stream": True,
            "stdin": stdin or None,
            "stdout": stdout or None,
            "stderr": stderr or None,
            "detachKeys": keys or None,
        }
        connection = call.client.hijack(f"{place}/attach", query)
    waiting = begin_wait(call, identifier, "removed" if options.on("rm") else "next-exit")

    def start() -> None:
        try:
            call.client.post(f"{place}/start")
        except WherryError as wrong:
            if options.on("rm"):
                waiting.read()
            raise start_failed(wrong) from None

    if connection is None:
        start()
        call.streams.line(identifier)
        return end_wait(waiting)
    session = Session(
        call, place, tty=options.on("tty"), stdin=stdin, stdout=stdout, stderr=stderr, proxy=options.on("sig-proxy")
    )
    try:
        session.run(connection[0], connection[1], start)
    except Detached:
        return 0
    return end_wait(waiting)


def _start_detached(call: Invocation, identifier: str) -> int:
    try:
        call.client.post(f"/containers/{identifier}/start")
    except ApiError as wrong:
        raise start_failed(wrong) from None
    call.streams.line(identifier)
    return 0


RUN = Command(
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    action=run_container,
    least=1,
    most=UNLIMITED,
    interspersed=False,
    error_code=125,
    flags=(
        *CONTAINER,
        Flag(name="detach", short="d", help="Leave the container running in the background and print its id"),
        DETACH_KEYS,
        SIG_PROXY,
    ),
    examples=(
        ("wherry run -it --rm busybox sh", "A shell in a new container that goes when the shell ends"),
        ("wherry run -d --name web -p 8080:80 httpd", "A server in the background, its port published"),
    ),
)
