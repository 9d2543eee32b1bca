"""`wherry-runc list`: the containers of a state folder."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, NotFound
from wherry.oci import jsontext
from wherry.runtime import container, state
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from wherry.runtime.main import Context

COMMAND = Command(
    name="list", usage="list the containers of a state folder", arguments="", minimum=0, maximum=0,
    flags=(Flag(names=("format", "f"), kind="text", default="table", help="table or json"),
           Flag(names=("quiet", "q"), kind="switch", help="only the ids")))

_HEAD = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(context: Context) -> int:
    """Prints them."""
    found = []
    for container_id in state.list_ids(context.root):
        try:
            document = container.state(container.load(context.root, container_id))
        except NotFound:
            continue  # removed meanwhile
        found.append({**document, "owner": owner(f"{context.root}/{container_id}")})
    if context.flags["quiet"]:
        text = "".join(f"{one['id']}\n" for one in found)
    elif context.flags["format"] == "table":
        text = table([_HEAD, *(tuple(str(one[name.lower()]) for name in _HEAD) for one in found)])
    elif context.flags["format"] == "json":
        text = jsontext.dumps(found) + "\n" if found else "null\n"
    else:
        raise InvalidArgument("invalid format option")
    os.write(1, text.encode())
    return 0


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Columns at least twelve wide with three spaces between, as Go's tabwriter makes them for runc."""
    widths = [max(12, *(len(row[column]) + 3 for row in rows)) for column in range(len(rows[0]) - 1)]
    return "".join("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] + "\n" for row in rows)


def owner(place: str) -> str:
    """The name of the user to whom a container's folder belongs; the number where there is no name."""
    uid = os.stat(place).st_uid
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"#{uid}"
