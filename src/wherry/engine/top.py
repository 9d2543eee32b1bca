"""`docker top`: the host's ps, filtered by a container's pids."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from wherry.engine.states import require_running
from wherry.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection

    from wherry.engine.cgroups import Cgroups
    from wherry.engine.container import Container
    from wherry.engine.events import Events
    from wherry.engine.pool import Pool

DEFAULT_ARGUMENTS = "-ef"


class Top:
    """Lists the processes of containers."""

    def __init__(self, pool: Pool, cgroups: Cgroups, events: Events) -> None:
        self._pool = pool
        self._cgroups = cgroups
        self._events = events

    async def top(self, container: Container, arguments: str) -> dict[str, Any]:
        """`Titles` and `Processes`. Raises Conflict unless it runs, Internal with the first line of what ps complains."""
        if not container.state.paused:
            require_running(container.id, container.state)
        words = arguments.split() or [DEFAULT_ARGUMENTS]
        pids = await self._pool.run(self._cgroups.processes, container)
        output = await self._pool.run_long(_run_ps, words, pids)
        found = parse(output, frozenset(pids))
        self._events.publish("container", "top", container.id, container.attributes())
        return found


def _run_ps(words: list[str], pids: Collection[int]) -> str:
    """What ps prints of these processes; of all, where its options do not go together with a list of them."""
    done = _ps(*words, f"-q{','.join(map(str, pids))}")
    if done.returncode:
        done = _ps(*words)
    if done.returncode:
        raise Internal(f"ps: {(done.stderr.splitlines() or ['failed'])[0]}")
    return done.stdout


def _ps(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["ps", *words], capture_output=True, check=False, text=True, errors="replace", timeout=30)
    except FileNotFoundError:
        raise Internal('ps: exec: "ps": executable file not found in $PATH') from None


def parse(output: str, pids: frozenset[int]) -> dict[str, Any]:
    """The table that ps printed, as titles and rows. Raises InvalidArgument when it has no PID column."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    at = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > at and fields[at].isdecimal() and int(fields[at]) in pids:
            rows.append(fields)
    return {"Processes": rows, "Titles": titles}
