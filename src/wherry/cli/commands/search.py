"""`search`: images on Docker Hub."""

from __future__ import annotations

from wherry.cli.client import filters_json
from wherry.cli.command import Command, Flag, Invocation
from wherry.cli.commands.flags import FILTER, FORMAT, NO_TRUNC
from wherry.cli.credentials import auth_headers
from wherry.cli.output.view import How, View, render
from wherry.console.units import ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _description(item: dict[str, Any], how: How) -> str:
    text = (item.get("description") or "").replace("\n", " ").replace("\r", " ")
    return ellipsis(text, 45) if how.truncate else text


VIEW = View(
    fields={
        "Description": _description,
        "IsAutomated": lambda item, _how: "[OK]" if item.get("is_automated") else "",
        "IsOfficial": lambda item, _how: "[OK]" if item.get("is_official") else "",
        "Name": lambda item, _how: item["name"],
        "StarCount": lambda item, _how: str(item.get("star_count") or 0),
    },
    headers={
        "Name": "NAME",
        "Description": "DESCRIPTION",
        "StarCount": "STARS",
        "IsOfficial": "OFFICIAL",
        "IsAutomated": "AUTOMATED",
    },
    table=("Name", "Description", "StarCount", "IsOfficial"),
    go_type="*formatter.searchContext",
)


def search(call: Invocation) -> int:
    """Prints what the daemon found."""
    options = call.options
    query = {"term": call.arguments[0], "limit": options.number("limit") or None, "filters": filters_json(options.many("filter"))}
    items = call.client.call("GET", "/images/search", query, headers=auth_headers(call.config, "docker.io"))
    call.streams.out(render(VIEW, items or [], How(truncate=not options.on("no-trunc")), options.text("format")))
    return 0


SEARCH = Command(
    usage="[OPTIONS] TERM",
    action=search,
    least=1,
    most=1,
    flags=(FILTER, FORMAT, Flag(name="limit", kind="int", help="At most so many results"), NO_TRUNC),
)
