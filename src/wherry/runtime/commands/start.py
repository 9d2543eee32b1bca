"""`wherry-runc start`: executes the program of a created container."""

from __future__ import annotations

from wherry.runtime import container
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="start", usage="execute the program of a created container", arguments="<container-id>",
    description="Executes the program that the container's config.json names.")


def run(context: Context) -> int:
    """Starts."""
    container.start(container.load(context.root, context.arguments[0]))
    return 0
