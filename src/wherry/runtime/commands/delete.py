"""`wherry-runc delete`: removes what a container has left."""

from __future__ import annotations

from wherry.errors import NotFound
from wherry.runtime import container, state
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="delete", usage="remove a stopped container", arguments="<container-id>",
    flags=(Flag(names=("force", "f"), kind="switch", help="kill the container first; no error if there is none"),
           Flag(names=("regex", "r"), kind="switch", help="the id is a regular expression: every container it finds, as crun")),
    description="Removes the container's cgroups and its state; the bundle stays.")


def run(context: Context) -> int:
    """Removes."""
    given = context.arguments[0]
    for container_id in state.matching_ids(context.root, given) if context.flags["regex"] else (given,):
        _delete(context, container_id)
    return 0


def _delete(context: Context, container_id: str) -> None:
    try:
        found = container.load(context.root, container_id)
    except NotFound:
        if not context.flags["force"]:
            raise
        container.delete_ruin(context.root, container_id)
        return
    for failure in container.delete(found, force=context.flags["force"]):
        context.log.write("warning", failure)
