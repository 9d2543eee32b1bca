"""`save`: images as an archive."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.platforms import platform_json
from wherry.cli.output.tofile import check_target, write_to

TYPE_CHECKING = False


def save(call: Invocation) -> int:
    """Writes the archive to a file or to stdout."""
    target = call.options.text("output")
    if not target and call.streams.stdout_is_terminal:
        raise CommandFailed("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    check_target(target, "failed to save image: ")
    platform = platform_json(call.options.text("platform"))
    if len(call.arguments) == 1:
        answer = call.client.stream("GET", f"/images/{escape(call.arguments[0], '/:@')}/get", {"platform": platform})
    else:
        answer = call.client.stream("GET", "/images/get", {"names": list(call.arguments), "platform": platform})
    write_to(call.streams, target, answer.pieces())
    return 0


SAVE = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    action=save,
    least=1,
    most=UNLIMITED,
    flags=(
        Flag(name="output", short="o", kind="string", help="Write to a file instead of stdout"),
        Flag(name="platform", kind="string", since="1.48", help="Save only the images of this platform (os[/arch[/variant]])"),
    ),
)
