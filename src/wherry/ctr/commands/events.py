"""`events`."""

from __future__ import annotations

from wherry.ctr.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation


def events(call: Invocation) -> None:
    """Prints a line for each event, by filters, until it is stopped or the daemon ends."""
    from wherry.ctr.eventtext import text
    from wherry.ctr.values import moment_spoken

    for envelope in call.client.events.Subscribe(filters=call.arguments):
        body = f" {text(envelope.event)}" if envelope.HasField("event") else ""
        call.streams.line(f"{moment_spoken(envelope.timestamp)} {envelope.namespace} {envelope.topic}{body}")


EVENTS = Command(usage="[arguments...]", action=events)
