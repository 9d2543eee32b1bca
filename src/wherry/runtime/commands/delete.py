"""`wherry-runc delete`: removes what a container has left."""

from __future__ import annotations

from wherry.errors import NotFound
from wherry.runtime import container
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="delete", usage="remove a stopped container", arguments="<container-id>",
    flags=(Flag(names=("force", "f"), kind="switch", help="kill the container first; no error if there is none"),),
    description="Removes the container's cgroups and its state; the bundle stays.")


def run(context: Context) -> int:
    """Removes."""
    try:
        found = container.load(context.root, context.arguments[0])
    except NotFound:
        if context.flags["force"]:
            container.delete_ruin(context.root, context.arguments[0])
            return 0
        raise
    for failure in container.delete(found, force=context.flags["force"]):
        context.log.write("warning", failure)
    return 0
