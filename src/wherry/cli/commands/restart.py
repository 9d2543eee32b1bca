"""`restart`: stop and start."""

from __future__ import annotations

from wherry.cli.command import UNLIMITED, Command
from wherry.cli.commands.stop import FLAGS, end_each

RESTART = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    action=lambda call: end_each(call, "restart"),
    flags=FLAGS,
    least=1,
    most=UNLIMITED,
)
