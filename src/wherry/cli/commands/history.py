"""`history`: the layers of an image and what made them."""

from __future__ import annotations

from wherry.cli.client import escape
from wherry.cli.command import Command, Flag, Invocation
from wherry.cli.commands.flags import FORMAT, NO_TRUNC
from wherry.cli.commands.platforms import platform_json
from wherry.cli.output.view import How, View, render
from wherry.console.units import ellipsis, local_iso, short_id, size, span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Item = dict[str, Any]


def _created_by(item: Item, how: How) -> str:
    text = (item["CreatedBy"] or "").replace("\t", " ")
    return ellipsis(text, 45) if how.truncate else text


def _since(item: Item, how: How) -> str:
    if item["Created"] <= 0:
        return "N/A"
    return f"{span(how.now - item['Created'])} ago" if how.extra else local_iso(item["Created"])


VIEW = View(
    fields={
        "Comment": lambda item, _how: item["Comment"],
        "CreatedAt": lambda item, _how: local_iso(item["Created"]) if item["Created"] > 0 else "",
        "CreatedBy": _created_by,
        "CreatedSince": _since,
        "ID": lambda item, how: short_id(item["Id"]) if how.truncate else item["Id"],
        "Size": lambda item, how: size(item["Size"], 3) if how.extra else str(item["Size"]),
    },
    headers={
        "ID": "IMAGE",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
    },
    table=("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    go_type="*formatter.historyContext",
)


def history(call: Invocation) -> int:
    """Prints the history."""
    import time

    options = call.options
    items = call.client.get(
        f"/images/{escape(call.arguments[0], '/:@')}/history", platform=platform_json(options.text("platform"))
    )
    human = options.on("human")
    how = How(truncate=not options.on("no-trunc"), now=time.time(), extra=human)
    if options.on("quiet"):
        call.streams.out("".join(VIEW.fields["ID"](item, how) + "\n" for item in items))
        return 0
    view = VIEW if human else VIEW.replace(headers={**VIEW.headers, "CreatedSince": "CREATED AT"})
    call.streams.out(render(view, items, how, options.text("format")))
    return 0


HISTORY = Command(
    usage="[OPTIONS] IMAGE",
    action=history,
    least=1,
    most=1,
    flags=(
        FORMAT,
        Flag(name="human", short="H", default=True, help="Print sizes and dates for people"),
        NO_TRUNC,
        Flag(name="platform", kind="string", since="1.48", help="Show the history of this platform (os[/arch[/variant]])"),
        Flag(name="quiet", short="q", help="Print identifiers only"),
    ),
)
