"""Waiting for a container: `not-running`, `next-exit`, `removed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.engine.container import Ended
from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    import asyncio

    from wherry.engine.container import Container

CONDITIONS = ("", "not-running", "next-exit", "removed")


def begin(container: Container, condition: str) -> asyncio.Future[Ended] | Ended:
    """The end to wait for, or the end itself where the condition holds already.

    The subscription stands when this returns: nothing that happens afterwards is missed. Raises InvalidArgument for
    an unknown condition.
    """
    if condition not in CONDITIONS:
        raise InvalidArgument(f'invalid condition: "{condition}"')
    if condition == "removed":
        return container.removed()
    if condition == "next-exit" or container.state.running:
        return container.exited()
    return Ended(container.state.exit_code, container.state.error)
