"""`wherry-runc restore`: refused by name; it needs CRIU, which this runtime does not drive."""

from __future__ import annotations

from wherry.errors import Unsupported
from wherry.runtime.flags import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.runtime.main import Context

COMMAND = Command(name="restore", usage="not supported", arguments="<container-id>")


def run(context: Context) -> NoReturn:
    """Refuses."""
    raise Unsupported(f"restore is not supported: container {context.arguments[0]} stays as it is")
