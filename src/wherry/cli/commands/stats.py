"""`stats`: what containers use, once or as a screen that renews itself."""

from __future__ import annotations

from wherry.cli.client import ApiError, escape
from wherry.cli.command import UNLIMITED, Command, Flag, Invocation
from wherry.cli.commands.flags import FORMAT, NO_TRUNC
from wherry.cli.output.usage import measure
from wherry.cli.output.view import How, View, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = dict[str, Any]

GONE = "--"
CLEAR_SCREEN, HOME, CLEAR_LINE, CLEAR_REST = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"

VIEW = View(
    fields={
        "BlockIO": lambda row, _how: row.get("block", GONE),
        "CPUPerc": lambda row, _how: row.get("cpu", GONE),
        "Container": lambda row, _how: row["container"],
        "ID": lambda row, how: row.get("id", GONE)[:12] if how.truncate else row.get("id", GONE),
        "MemPerc": lambda row, _how: row.get("memory_share", GONE),
        "MemUsage": lambda row, _how: row.get("memory", f"{GONE} / {GONE}"),
        "Name": lambda row, _how: row.get("name", GONE),
        "NetIO": lambda row, _how: row.get("network", GONE),
        "PIDs": lambda row, _how: row.get("pids", GONE),
    },
    headers={
        "Container": "CONTAINER",
        "Name": "NAME",
        "ID": "CONTAINER ID",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
    table=("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
    go_type="*container.statsContext",
)


def _names(call: Invocation) -> list[str]:
    if call.arguments:
        return list(call.arguments)
    return [item["Id"] for item in call.client.get("/containers/json", all=call.options.on("all") or None)]


def _once(call: Invocation, names: list[str]) -> tuple[list[Row], list[str]]:
    """A row per container, all asked at the same time (the daemon measures for a second), and what went wrong."""
    answers = []
    failed = []
    for name in names:
        try:
            answers.append((name, call.client.stream("GET", f"/containers/{escape(name)}/stats", {"stream": False})))
        except ApiError as wrong:
            failed.append(wrong.message)
    rows = []
    for name, answer in answers:
        found = next(iter(answer.values()), None)
        rows.append(measure(name, found) if isinstance(found, dict) else {"container": name})
    return rows, failed


def show_stats(call: Invocation) -> int:
    """Prints the table once, or again and again."""
    options, streams = call.options, call.streams
    template = options.text("format") or call.config.text("statsFormat")
    how = How(truncate=not options.on("no-trunc"))
    once = options.on("no-stream")
    if not once and streams.stdout_is_terminal:
        streams.out(CLEAR_SCREEN)
    while True:
        names = _names(call)
        rows, failed = _once(call, names) if names else ([], [])
        if failed and call.arguments:
            streams.error_line("\n".join(failed))
            return 1
        text = render(VIEW, rows, how, template)
        if once:
            streams.out(text)
            return 0
        if streams.stdout_is_terminal:
            streams.out(HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in text.splitlines()) + CLEAR_REST)
        else:
            streams.out(text)
        if not names:
            import time

            time.sleep(0.5)


STATS = Command(
    usage="[OPTIONS] [CONTAINER...]",
    action=show_stats,
    most=UNLIMITED,
    flags=(
        Flag(name="all", short="a", help="Show containers that do not run, too"),
        FORMAT,
        Flag(name="no-stream", help="Print once and end"),
        NO_TRUNC,
    ),
)
