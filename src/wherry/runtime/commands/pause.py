"""`wherry-runc pause`: freezes a container."""

from __future__ import annotations

from wherry.runtime import container
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(name="pause", usage="freeze all processes of a container", arguments="<container-id>")


def run(context: Context) -> int:
    """Freezes."""
    container.pause(container.load(context.root, context.arguments[0]))
    return 0
