"""`create`: makes a container without starting it."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command, Invocation
from wherry.cli.create.container import body_of, create
from wherry.cli.create.flags import CONTAINER

TYPE_CHECKING = False


def create_container(call: Invocation) -> int:
    """Makes the container and prints its id."""
    call.streams.line(create(call, body_of(call, run=False)))
    return 0


CREATE = Command(
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    action=create_container,
    flags=CONTAINER,
    least=1,
    most=UNLIMITED,
    interspersed=False,
)
