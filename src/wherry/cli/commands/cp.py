"""`cp`: files between a container and this machine, in both directions, and tar streams."""

from __future__ import annotations

import os

from wherry.cli.client import ApiError, escape
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.jsontext import loads
from wherry.console.streams import write_all
from wherry.console.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.cli.http import Response

SYMLINK, FOLDER = 1 << 27, 1 << 31


def parse_place(text: str) -> tuple[str, str]:
    """(container, path); a local path has no container. A path that begins with `.` or `/` is local."""
    if text.startswith(("/", ".")) or ":" not in text:
        return "", text
    container, _, path = text.partition(":")
    return (container, path) if container else ("", text)


def copy(call: Invocation) -> int:
    """Copies in the direction that the arguments say."""
    source, target = (parse_place(one) for one in call.arguments)
    if source[0] and target[0]:
        raise CommandFailed("copying between containers is not supported")
    if source[0]:
        return from_container(call, source[0], source[1], target[1])
    if target[0]:
        return to_container(call, source[1], target[0], target[1])
    raise CommandFailed("must specify at least one container source")


def _described(answer: Response) -> dict[str, Any]:
    """The header that describes the file: name, size, mode (as Go's FileMode), mtime, linkTarget."""
    from binascii import a2b_base64

    found: dict[str, Any] = loads(a2b_base64(answer.headers.get("x-docker-container-path-stat", "")))
    return found


def stat(call: Invocation, container: str, path: str) -> dict[str, Any]:
    """What is at a path in the container. Raises ApiError."""
    answer = call.client.raw("HEAD", f"/containers/{escape(container)}/archive", {"path": path})
    answer.read()
    call.client.done(answer)
    if answer.status >= 400:
        raise ApiError(answer.status, f"Could not find the file {path} in container {container}")
    return _described(answer)


def _link(path: str, target: str) -> str:
    from wherry.cli.archive.paths import clean

    return clean(target if target.startswith("/") else os.path.join(os.path.dirname(path.rstrip("/")), target))


def from_container(call: Invocation, container: str, path: str, target: str) -> int:
    """Unpacks what is at the path, or writes it to stdout as it comes for `-`."""
    from wherry.cli.archive.paths import CopyEnd, local_target, plan
    from wherry.cli.archive.unpack import unpack

    if target == "-":
        if call.streams.stdout_is_terminal:
            raise CommandFailed("cowardly refusing to copy to a terminal, redirect the output")
        destination = CopyEnd(path="-")
    else:
        destination = local_target(target)
    rebase = ""
    if call.options.on("follow-link"):
        try:
            found = stat(call, container, path)
        except ApiError:
            found = {"mode": 0}
        if found["mode"] & SYMLINK:
            resolved = _link(path, found["linkTarget"])
            rebase = (
                os.path.basename(path.rstrip("/")) if os.path.basename(resolved) != os.path.basename(path.rstrip("/")) else ""
            )
            path = resolved
    answer = call.client.stream("GET", f"/containers/{escape(container)}/archive", {"path": path})
    if target == "-":
        for piece in answer.pieces():
            write_all(call.streams.stdout, piece)
        return 0
    found = _described(answer)
    source = CopyEnd(path=path, exists=True, is_folder=bool(found["mode"] & FOLDER))
    folder, names = plan(source, destination)
    if rebase and names is None:
        names = (os.path.basename(path), rebase)
    count = unpack(answer.pieces(), folder, names)
    _say(call, count, call.arguments[1])
    return 0


def _say(call: Invocation, count: int, where: str) -> None:
    if not call.options.on("quiet") and os.isatty(call.streams.stderr):
        call.streams.error_line(f"Successfully copied {size(count, 3)} to {where}")


def to_container(call: Invocation, source: str, container: str, path: str) -> int:
    """Sends a file, a folder or the tar stream on stdin."""
    from wherry.cli.archive.paths import CopyEnd

    target = CopyEnd(path=path)
    try:
        found = stat(call, container, path)
        if found["mode"] & SYMLINK:
            target = target.replace(path=_link(path, found["linkTarget"]))
            found = stat(call, container, target.path)
    except ApiError as wrong:
        if wrong.status != 404:
            raise
        # Either there is no such path, which is fine, or no such container, which the upload will say.
    else:
        target = target.replace(exists=True, is_folder=bool(found["mode"] & FOLDER))
    counted = [0]
    body, folder = _archive(call, source, target, container)

    def counting() -> Iterator[bytes]:
        for piece in body:
            counted[0] += len(piece)
            yield piece

    query = {"path": folder, "noOverwriteDirNonDir": "true", "copyUIDGID": "true" if call.options.on("archive") else None}
    answer = call.client.stream(
        "PUT", f"/containers/{escape(container)}/archive", query, counting(), {"Content-Type": "application/x-tar"}
    )
    answer.read()
    _say(call, counted[0], f"{container}:{path}")
    return 0


def _archive(call: Invocation, source: str, target: Any, container: str) -> tuple[Iterator[bytes], str]:
    """The tar stream to send, and the folder in which the daemon unpacks it."""
    from wherry.cli.commands.load import file_pieces

    if source == "-":
        if not target.is_folder:
            raise CommandFailed(f'destination "{container}:{target.path}" must be a directory')
        return file_pieces(call.streams.stdin), target.path
    from wherry.cli.archive.pack import END, Packer
    from wherry.cli.archive.paths import local_source, plan, split

    origin = local_source(source, call.options.on("follow-link"))
    folder, names = plan(origin, target)
    own = origin.rebase or split(origin.path)[1]
    name = names[1] if names is not None else own

    def pieces() -> Iterator[bytes]:
        yield from Packer().tree(origin.path.rstrip("/") or "/", name)
        yield END

    return pieces(), folder


CP = Command(
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
    more_usage=("cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",),
    action=copy,
    least=2,
    most=2,
    summary="Copy files between a container and this machine\n\n"
    "`-` as the source reads a tar archive from stdin and unpacks it in a folder of the container.\n"
    "`-` as the target writes a tar archive of the source to stdout.",
    flags=(
        Flag(name="archive", short="a", help="Keep users and groups as they are"),
        Flag(name="follow-link", short="L", help="Copy what a link leads to"),
        Flag(name="quiet", short="q", help="Say nothing of the progress (nothing is said without a terminal, either)"),
    ),
)
