"""`wherry-runc resume`: thaws a container."""

from __future__ import annotations

from wherry.runtime import container
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(name="resume", usage="let the processes of a paused container go on", arguments="<container-id>")


def run(context: Context) -> int:
    """Thaws."""
    container.resume(container.load(context.root, context.arguments[0]))
    return 0
