"""`push`: an image to a registry."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import CONTENT_TRUST
from wherry.cli.commands.platforms import platform_json
from wherry.cli.credentials import auth_headers
from wherry.cli.images import named
from wherry.cli.output.progress import ProgressError, ProgressScreen

TYPE_CHECKING = False


def push(call: Invocation) -> int:
    """Pushes and shows how it goes."""
    options, streams = call.options, call.streams
    reference = named(call.arguments[0])
    every, quiet = options.on("all-tags"), options.on("quiet")
    if every and (reference.tag or reference.digest):
        raise CommandFailed("tag can't be used with --all-tags/-a")
    if not every and not reference.tag:
        reference = reference.with_default_tag()
        if not quiet:
            streams.line(f"Using default tag: {reference.tag}")
    query = {"tag": None if every else reference.tag, "platform": platform_json(options.text("platform"))}
    answer = call.client.stream(
        "POST",
        f"/images/{escape(reference.familiar_name, '/:')}/push",
        query,
        headers=auth_headers(call.config, reference.domain),
    )
    columns = streams.size()[1] if streams.stdout_is_terminal else 0
    try:
        ProgressScreen(streams.out if not quiet else lambda _text: None, columns).show_all(answer.values())
    except ProgressError as wrong:
        raise CommandFailed(wrong.message) from None
    if quiet:
        streams.line(reference.canonical())
    return 0


PUSH = Command(
    usage="[OPTIONS] NAME[:TAG]",
    action=push,
    least=1,
    most=1,
    flags=(
        Flag(name="all-tags", short="a", help="Send every tag of the repository"),
        CONTENT_TRUST,
        Flag(name="platform", kind="string", since="1.46", help="Send only this platform (os[/arch[/variant]])"),
        Flag(name="quiet", short="q", help="Say only what was sent"),
    ),
)
