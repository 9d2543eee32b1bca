"""`wherry-runc ps`: the processes of a container, by the host's ps."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, Unavailable
from wherry.linux.process import describe_end
from wherry.linux.program import run as run_program
from wherry.oci import jsontext
from wherry.runtime import container
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from wherry.runtime.main import Context

COMMAND = Command(
    name="ps", usage="list the processes of a container", arguments="<container-id> [ps options]", maximum=None, runs_words=True,
    flags=(Flag(names=("format", "f"), kind="text", default="table", help="table (what ps prints) or json (the pids)"),),
    description="Options after the id go to ps; -ef if none are given.")


def run(context: Context) -> int:
    """Prints them."""
    pids = container.processes(container.load(context.root, context.arguments[0]))
    if context.flags["format"] == "json":
        os.write(1, (jsontext.dumps(list(pids) or None) + "\n").encode())
        return 0
    if context.flags["format"] != "table":
        raise InvalidArgument("invalid format option")
    text = only(_ps(context.arguments[1:] or ("-ef",)), pids)
    os.write(1, text.encode())
    return 0


def only(text: str, pids: Collection[int]) -> str:
    """The head of ps's output and the lines of these processes. Unavailable when there is no column PID."""
    lines = text.splitlines()
    try:
        column = lines[0].split().index("PID")
    except (IndexError, ValueError):
        raise Unavailable("couldn't find PID field in ps output") from None
    kept = [lines[0]]
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _ps(options: tuple[str, ...]) -> str:
    code, text = run_program(("ps", *options))
    if code:
        raise Unavailable(f"{describe_end(code)}: {text.strip()}")
    return text
