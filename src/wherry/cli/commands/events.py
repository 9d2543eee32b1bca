"""`events`: what happens in the daemon, as it happens."""

from __future__ import annotations

from wherry.cli.client import filters_json
from wherry.cli.command import Command, CommandFailed, Flag, Invocation
from wherry.cli.commands.flags import FILTER
from wherry.cli.output.moments import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def text_of(event: dict[str, Any]) -> str:
    """One event as a line: time, type, action, id, attributes."""
    import time

    nanoseconds = event.get("timeNano") or 0
    seconds = nanoseconds // 10**9 if nanoseconds else event.get("time") or 0
    moment = time.localtime(seconds)
    zone = time.strftime("%z", moment)
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    text = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{nanoseconds % 10**9:09d}{zone}"
    text += f" {event['Type']} {event['Action']} {event['Actor']['ID']}"
    attributes = event["Actor"].get("Attributes") or {}
    if attributes:
        text += " (" + ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes)) + ")"
    return text


def watch(call: Invocation) -> int:
    """Prints events until there are no more to come."""
    options, streams = call.options, call.streams
    query: dict[str, Any] = {"filters": filters_json(options.many("filter"))}
    for name in ("since", "until"):
        if options.text(name):
            try:
                query[name] = timestamp(options.text(name))
            except ValueError as wrong:
                raise CommandFailed(f'invalid value for "{name}": {wrong}') from None
    template = options.text("format").strip()
    parsed = None
    if template and template != "json":
        from wherry.cli.template import TemplateError, parse

        if template.startswith("table"):
            raise CommandFailed("error parsing format: table is not supported with the --format option for events", 64)
        try:
            parsed = parse(template)
        except TemplateError as wrong:
            raise CommandFailed(f"Error parsing format: {wrong.message}", 64) from None
    from wherry.cli.jsontext import dumps

    for event in call.client.stream("GET", "/events", query).values():
        if parsed is not None:
            from wherry.cli.template import TemplateError

            try:
                streams.line(parsed.execute(event))
            except TemplateError as wrong:
                raise CommandFailed(wrong.message) from None
        else:
            streams.line(dumps(event) if template else text_of(event))
    return 0


EVENTS = Command(
    usage="[OPTIONS]",
    action=watch,
    flags=(
        FILTER,
        Flag(
            name="format",
            kind="string",
            help="Print by a template of your own:\n'json':             one JSON object per line\n"
            "'TEMPLATE':         each event by this Go template",
        ),
        Flag(name="since", kind="string", help="From this time on"),
        Flag(name="until", kind="string", help="Up to this time"),
    ),
)
