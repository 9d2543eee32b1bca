"""`network ls`."""

from __future__ import annotations

from wherry.cli.client import filters_json
from wherry.cli.command import Command, Invocation
from wherry.cli.commands.flags import FILTER, FORMAT, NO_TRUNC, QUIET
from wherry.cli.output.view import How, View, render
from wherry.console.units import short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Item = dict[str, Any]


def go_time(text: str) -> str:
    """An RFC 3339 time as Go's Time.String writes it."""
    date, _, clock = text.partition("T")
    body, zone, name = clock, "+0000", "UTC"
    if clock.endswith("Z"):
        body = clock[:-1]
    elif len(clock) > 6 and clock[-6] in "+-":
        body, zone = clock[:-6], clock[-6:].replace(":", "")
        name = zone
    return f"{date} {body} {zone} {name}"


def truth(value: object) -> str:
    """`true` or `false`."""
    return "true" if value else "false"


VIEW = View(
    fields={
        "CreatedAt": lambda item, _how: go_time(item["Created"]),
        "Driver": lambda item, _how: item["Driver"],
        "ID": lambda item, how: short_id(item["Id"]) if how.truncate else item["Id"],
        "IPv4": lambda item, _how: truth(item.get("EnableIPv4")),
        "IPv6": lambda item, _how: truth(item.get("EnableIPv6")),
        "Internal": lambda item, _how: truth(item.get("Internal")),
        "Labels": lambda item, _how: ",".join(sorted(f"{key}={value}" for key, value in (item.get("Labels") or {}).items())),
        "Name": lambda item, _how: item["Name"],
        "Scope": lambda item, _how: item["Scope"],
    },
    headers={
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv4": "IPV4",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
    methods={"Label": lambda item, _how, arguments: (item.get("Labels") or {}).get(arguments[0], "")},
    table=("ID", "Name", "Driver", "Scope"),
    go_type="*network.networkContext",
    raw="network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
)


def list_networks(call: Invocation) -> int:
    """Prints the networks in order of their names."""
    options = call.options
    items = call.client.get("/networks", filters=filters_json(options.many("filter")))
    items.sort(key=lambda item: natural(item["Name"]))
    template = options.text("format") or ("" if options.on("quiet") else call.config.text("networksFormat"))
    how = How(truncate=not options.on("no-trunc"))
    if options.on("quiet"):
        call.streams.out("".join(VIEW.fields["ID"](item, how) + "\n" for item in items))
        return 0
    call.streams.out(render(VIEW, items, how, template))
    return 0


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that orders `a2` before `a10`."""
    parts: list[tuple[int, int, str]] = []
    at = 0
    while at < len(text):
        end = at
        while end < len(text) and text[end].isdecimal() == text[at].isdecimal():
            end += 1
        piece = text[at:end]
        parts.append((0, int(piece), piece) if piece.isdecimal() else (1, 0, piece))
        at = end
    return parts


LS = Command(usage="[OPTIONS]", action=list_networks, flags=(FILTER, FORMAT, NO_TRUNC, QUIET))
