"""How a container's state is put into words: `Up 5 minutes (healthy)`, `Exited (0) 3 seconds ago`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.engine.records import nanoseconds

if TYPE_CHECKING:
    from wherry.engine.records import State

# (below so many seconds, seconds per unit, the unit's name), as Docker rounds: down, but hours to the nearest.
_HOUR, _DAY = 3600, 86400


def duration(seconds: float) -> str:
    """A span of time for people, in Docker's words."""
    whole = int(seconds)
    minutes, hours = whole // 60, int(seconds / _HOUR + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return _count(whole, "second")
    if minutes < 60:
        return "About a minute" if minutes == 1 else _count(minutes, "minute")
    if hours < 48:
        return "About an hour" if hours == 1 else _count(hours, "hour")
    if hours < 24 * 7 * 2:
        return _count(hours // 24, "day")
    if hours < 24 * 30 * 2:
        return _count(hours // 24 // 7, "week")
    if hours < 24 * 365 * 2:
        return _count(hours // 24 // 30, "month")
    return _count(int(seconds / _DAY) // 365, "year")


def describe(state: State, now_ns: int) -> str:
    """The STATUS column of `ps` at a moment of the wall clock."""
    status = state.status
    if plain := {"created": "Created", "removing": "Removal In Progress", "dead": "Dead"}.get(status):
        return plain
    if status in ("restarting", "exited"):
        return f"{status.title()} ({state.exit_code}) {_since(state.finished_at, now_ns)} ago"
    if status == "paused":
        return f"Up {_since(state.started_at, now_ns)} (Paused)"
    up = f"Up {_since(state.started_at, now_ns)}"
    health = state.health.status if state.health else ""
    if health in ("", "none"):
        return up
    return f"{up} (health: starting)" if health == "starting" else f"{up} ({health})"


def _since(moment: str, now_ns: int) -> str:
    return duration(max(0, now_ns - nanoseconds(moment)) / 1e9)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
