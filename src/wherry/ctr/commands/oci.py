"""`oci spec`."""

from __future__ import annotations

from wherry.ctr.command import Command
from wherry.ctr.jsonprint import pretty
from wherry.ctr.spec.default import default

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def spec(call: Invocation) -> None:
    """Prints the configuration that every container begins with."""
    call.streams.line(pretty(default(call.globals.text("namespace"), "")))


SPEC = Command(usage="[arguments...]", action=spec)
