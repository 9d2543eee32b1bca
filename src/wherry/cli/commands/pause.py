"""`pause` and `unpause`."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import UNLIMITED, Command, Invocation
from wherry.cli.many import for_each

TYPE_CHECKING = False


def _each(call: Invocation, verb: str) -> int:
    def one(name: str) -> str:
        call.client.post(f"/containers/{escape(name)}/{verb}")
        return name

    return for_each(call, call.arguments, one)


PAUSE = Command(usage="CONTAINER [CONTAINER...]", action=lambda call: _each(call, "pause"), least=1, most=UNLIMITED)
UNPAUSE = Command(usage="CONTAINER [CONTAINER...]", action=lambda call: _each(call, "unpause"), least=1, most=UNLIMITED)
