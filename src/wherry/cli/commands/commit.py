"""`commit`: an image of a container's changes."""

from __future__ import annotations

from wherry.cli.command import Command, Flag, Invocation
from wherry.cli.images import named

TYPE_CHECKING = False


def commit(call: Invocation) -> int:
    """Makes the image and prints its id."""
    options = call.options
    repository = tag = None
    if len(call.arguments) > 1 and call.arguments[1]:
        reference = named(call.arguments[1])
        repository, tag = reference.familiar_name, (reference.tag or "latest")
    query = {
        "container": call.arguments[0],
        "repo": repository,
        "tag": tag,
        "comment": options.text("message"),
        "author": options.text("author"),
        "changes": options.many("change") or None,
        "pause": None if options.on("pause") else False,
    }
    found = call.client.call("POST", "/commit", query)
    call.streams.line(found["Id"])
    return 0


COMMIT = Command(
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    action=commit,
    least=1,
    most=2,
    flags=(
        Flag(name="author", short="a", kind="string", help='Author ("John Hannibal Smith <hannibal@a-team.com>")'),
        Flag(name="change", short="c", kind="list", help="Apply an instruction of a Dockerfile to the image"),
        Flag(name="message", short="m", kind="string", help="Message of the commit"),
        Flag(name="pause", short="p", default=True, help="Freeze the container meanwhile"),
    ),
)
