"""`pull`: an image from a registry."""

from __future__ import annotations

from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import CONTENT_TRUST, PLATFORM
from wherry.cli.images import named, pull

TYPE_CHECKING = False


def pull_image(call: Invocation) -> int:
    """Pulls and shows how it goes."""
    options, streams = call.options, call.streams
    reference = named(call.arguments[0])
    every = options.on("all-tags")
    quiet = options.on("quiet")
    if every and (reference.tag or reference.digest):
        raise CommandFailed("tag can't be used with --all-tags/-a")
    if not every and not (reference.tag or reference.digest):
        reference = reference.with_default_tag()
        if not quiet:
            streams.line(f"Using default tag: {reference.tag}")
    platform = options.text("platform") or call.environment.get("DOCKER_DEFAULT_PLATFORM", "")
    columns = streams.size()[1] if streams.stdout_is_terminal else 0
    pull(call, reference, platform=platform, every=every, write=None if quiet else streams.out, columns=columns)
    streams.line(reference.canonical())
    return 0


PULL = Command(
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    action=pull_image,
    least=1,
    most=1,
    flags=(
        Flag(name="all-tags", short="a", help="Fetch every tag of the repository"),
        CONTENT_TRUST,
        PLATFORM,
        Flag(name="quiet", short="q", help="Say only what was fetched"),
    ),
)
