"""`containers create`."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed
from wherry.ctr.commands.container_flags import CONTAINER_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def create(call: Invocation) -> None:
    """Makes a container without a task."""
    from wherry.ctr.create import create as make

    if call.options.given("config"):
        if len(call.arguments) > 1:
            raise CommandFailed("with spec config file, only container id should be provided: invalid argument")
        if not call.argument(0):
            raise CommandFailed("container id must be provided: invalid argument")
    elif not call.argument(0):
        raise CommandFailed("image ref must be provided: invalid argument")
    elif not call.argument(1):
        raise CommandFailed("container id must be provided: invalid argument")
    make(call, running=False)


CREATE = Command(usage="[flags] Image|RootFS CONTAINER [COMMAND] [ARG...]", action=create, flags=CONTAINER_FLAGS)
