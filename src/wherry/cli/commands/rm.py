"""`rm`: removes containers."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.many import for_each

TYPE_CHECKING = False


def remove(call: Invocation) -> int:
    """Removes each container."""
    options = call.options
    query = {"v": options.on("volumes") or None, "link": options.on("link") or None, "force": options.on("force") or None}

    def one(name: str) -> str:
        bare = name.strip("/")
        if not bare:
            raise CommandFailed("container name cannot be empty")
        call.client.call("DELETE", f"/containers/{escape(bare)}", query)
        return bare if name.startswith("/") else name

    return for_each(call, call.arguments, one)


RM = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    action=remove,
    least=1,
    most=UNLIMITED,
    flags=(
        Flag(name="force", short="f", help="Kill it when it runs"),
        Flag(name="link", short="l", help="Remove this link, not the container"),
        Flag(name="volumes", short="v", help="Remove its anonymous volumes, too"),
    ),
)
