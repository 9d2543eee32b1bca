"""`wherry-runc restore`: its face is whole, its work is refused by name (see `criu`)."""

from __future__ import annotations

import os

from wherry.errors import Conflict
from wherry.runtime import criu, state
from wherry.runtime.commands import checkpoint, create
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.runtime.main import Context

COMMAND = Command(
    name="restore", usage="make a container of images (refused)", arguments="<container-id>",
    flags=(*checkpoint.FLAGS, *create.FLAGS,
           Flag(names=("detach", "d"), kind="switch", help="do not wait for the container's end"),
           Flag(names=("no-subreaper",), kind="switch", help="do not adopt orphans of the container")))


def run(context: Context) -> NoReturn:
    """Refuses: first what could not be restored anyhow."""
    container_id = context.arguments[0]
    if os.path.exists(state.folder(context.root, container_id) + "/state.json"):
        raise Conflict("container with given ID already exists")
    create.load_config(context)
    criu.refuse(context.criu, "restore")
