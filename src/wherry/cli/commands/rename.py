"""`rename`."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, CommandFailed, Invocation
from wherry.errors import WherryError

TYPE_CHECKING = False


def rename(call: Invocation) -> int:
    """Renames one container."""
    old, new = (one.strip() for one in call.arguments)
    if not old or not new:
        raise CommandFailed("Error: Neither old nor new names may be empty")
    try:
        call.client.call("POST", f"/containers/{escape(old)}/rename", {"name": new})
    except WherryError as wrong:
        call.streams.error_line(wrong.message)
        raise CommandFailed(f"Error: failed to rename container named {old}") from None
    return 0


RENAME = Command(usage="CONTAINER NEW_NAME", action=rename, least=2, most=2)
