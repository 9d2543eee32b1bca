"""`wherry-runc state`: what a container is at this moment, as the runtime-spec's document."""

from __future__ import annotations

import os

from wherry.oci import jsontext
from wherry.runtime import container
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.runtime.main import Context

COMMAND = Command(
    name="state", usage="show the state of a container", arguments="<container-id>",
    description="Prints the container's state as JSON.")


def run(context: Context) -> int:
    """Prints the state."""
    state = container.state(container.load(context.root, context.arguments[0]))
    os.write(1, jsontext.dumps(state, indent=2).encode())
    return 0
