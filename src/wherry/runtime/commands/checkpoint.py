"""`wherry-runc checkpoint`: refused by name; it needs CRIU, which this runtime does not drive."""

from __future__ import annotations

from wherry.errors import Unsupported
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.runtime.main import Context

COMMAND = Command(name="checkpoint", usage="not supported", arguments="<container-id>")


def run(context: Context) -> NoReturn:
    """Refuses."""
    raise Unsupported(f"checkpoint is not supported: container {context.arguments[0]} stays as it is")
