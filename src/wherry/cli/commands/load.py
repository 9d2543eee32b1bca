"""`load`: images from an archive."""

from __future__ import annotations

import os

from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.platforms import platform_json
from wherry.cli.output.progress import ProgressError, ProgressScreen
from wherry.cli.words import os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def file_pieces(fd: int) -> Iterator[bytes]:
    """The rest of a file, piece by piece."""
    while piece := os.read(fd, 1 << 18):
        yield piece


def load(call: Invocation) -> int:
    """Sends the archive and shows what the daemon says about it."""
    options, streams = call.options, call.streams
    fd = streams.stdin
    if options.text("input"):
        try:
            fd = os.open(options.text("input"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as wrong:
            raise CommandFailed(os_error(wrong)) from None
    elif streams.stdin_is_terminal:
        raise CommandFailed("requested load from stdin, but stdin is empty")
    quiet = options.on("quiet") or not streams.stdout_is_terminal
    query = {"quiet": quiet, "platform": platform_json(options.text("platform"))}
    answer = call.client.stream("POST", "/images/load", query, file_pieces(fd), {"Content-Type": "application/x-tar"})
    if not answer.headers.get("content-type", "").startswith("application/json"):
        streams.out(answer.read().decode("utf-8", "replace"))
        return 0
    try:
        ProgressScreen(streams.out, streams.size()[1] if streams.stdout_is_terminal else 0).show_all(answer.values())
    except ProgressError as wrong:
        raise CommandFailed(wrong.message) from None
    return 0


LOAD = Command(
    usage="[OPTIONS]",
    action=load,
    flags=(
        Flag(name="input", short="i", kind="string", help="Read the archive from a file instead of stdin"),
        Flag(name="platform", kind="string", since="1.48", help="Load only the images of this platform (os[/arch[/variant]])"),
        Flag(name="quiet", short="q", help="Show no progress"),
    ),
)
