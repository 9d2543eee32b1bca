"""`import`: an image from the tar archive of a file system."""

from __future__ import annotations

import os

from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import PLATFORM
from wherry.cli.commands.load import file_pieces
from wherry.cli.images import named
from wherry.cli.output.progress import ProgressError, ProgressScreen
from wherry.cli.words import os_error

TYPE_CHECKING = False


def import_image(call: Invocation) -> int:
    """Sends the archive (the daemon fetches a URL itself) and prints the image's id."""
    options, streams = call.options, call.streams
    source = call.arguments[0]
    repository = tag = None
    if len(call.arguments) > 1 and call.arguments[1]:
        reference = named(call.arguments[1])
        repository, tag = reference.familiar_name, reference.tag or None
    body = None
    name = source
    if source == "-":
        body = file_pieces(streams.stdin)
    elif not source.startswith(("http://", "https://", "ftp://")):
        name = "-"
        try:
            body = file_pieces(os.open(source, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as wrong:
            raise CommandFailed(os_error(wrong)) from None
    query = {
        "fromSrc": name,
        "repo": f"{repository}:{tag}" if tag else repository,
        "message": options.text("message") or None,
        "changes": options.many("change") or None,
        "platform": options.text("platform").lower() or None,
    }
    answer = call.client.stream("POST", "/images/create", query, body, {"Content-Type": "text/plain"})
    try:
        ProgressScreen(streams.out, streams.size()[1] if streams.stdout_is_terminal else 0).show_all(answer.values())
    except ProgressError as wrong:
        raise CommandFailed(wrong.message) from None
    return 0


IMPORT = Command(
    usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    action=import_image,
    least=1,
    most=2,
    flags=(
        Flag(name="change", short="c", kind="list", help="Apply an instruction of a Dockerfile to the image"),
        Flag(name="message", short="m", kind="string", help="Message to keep with the image"),
        PLATFORM,
    ),
)
