"""The life of a container as a table: which event leads from which state to which, and what is refused how.

              start            pause             exit
    created ────────▶ running ◀──────▶ paused ────────▶ exited ─┐
                        │  ▲   unpause                    ▲  │  │ start
                   fall │  │ start                   give │  └──┼──▶ running
                        ▼  │                           up │     │ remove
                     restarting ──────────────────────────┘     ▼
                                              dead ◀───────── removing ──▶ (gone)

`fall` is an exit that the restart policy answers with another start; `fail` is a start that did not come to be.
Everything that changes a state goes through `move`; the errors are Docker's.
"""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from wherry.engine.records import NEVER, State
from wherry.errors import Conflict, Internal, NotModified, WherryError

Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
Event = Literal["start", "fail", "pause", "unpause", "exit", "fall", "give_up", "remove", "remove_failed"]

STATUSES: tuple[Status, ...] = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
EVENTS: tuple[Event, ...] = ("start", "fail", "pause", "unpause", "exit", "fall", "give_up", "remove", "remove_failed")

TABLE: dict[tuple[Status, Event], Status] = {
    ("created", "start"): "running",
    ("created", "fail"): "created",
    ("created", "remove"): "removing",
    ("running", "pause"): "paused",
    ("running", "exit"): "exited",
    ("running", "fall"): "restarting",
    ("paused", "unpause"): "running",
    ("paused", "exit"): "exited",
    ("paused", "fall"): "restarting",
    ("restarting", "start"): "running",
    ("restarting", "fail"): "exited",
    ("restarting", "give_up"): "exited",
    ("exited", "start"): "running",
    ("exited", "fail"): "exited",
    ("exited", "remove"): "removing",
    ("removing", "remove_failed"): "dead",
    ("dead", "remove"): "removing",
}


def move(container_id: str, state: State, event: Event, **details: object) -> State:
    """The state after an event, with further fields changed by `details`. Raises as `refusal` says."""
    status: Status = state.status  # type: ignore[assignment]
    target = TABLE.get((status, event))
    if target is None:
        raise refusal(container_id, status, event)
    return replace(state, **{**_FLAGS[target], **details})


def check(container_id: str, state: State, event: Event) -> None:
    """Raises what `move` would raise, without moving."""
    status: Status = state.status  # type: ignore[assignment]
    if (status, event) not in TABLE:
        raise refusal(container_id, status, event)


def refusal(container_id: str, status: Status, event: Event) -> WherryError:
    """Why an event does not fit a state, in Docker's words."""
    if event == "start":
        if status == "paused":
            return Conflict("cannot start a paused container, try unpause instead")
        if status in ("removing", "dead"):
            return Conflict("container is marked for removal and cannot be started")
        return NotModified(f"container {container_id} is already running")
    if event == "pause":
        return _cannot_pause(container_id, status)
    if event == "unpause":
        return Internal(f"Container {container_id} is not paused")
    if event == "remove":
        return _cannot_remove(container_id, status)
    return Internal(f"container {container_id} is {status}: {event!r} cannot happen to it")


def _cannot_pause(container_id: str, status: Status) -> WherryError:
    if status == "paused":
        return Conflict(f"Container {container_id} is already paused")
    if status == "restarting":
        return Conflict(f"Container {container_id} is restarting, wait until the container is running")
    return Conflict(f"Container {container_id} is not running")


def _cannot_remove(container_id: str, status: Status) -> WherryError:
    if status == "removing":
        return Conflict(f"removal of container {container_id} is already in progress")
    advice = "Unpause and then stop the container before attempting removal or force remove"
    if status != "paused":
        advice = "Stop the container before attempting removal or force remove"
    return Conflict(f"You cannot remove a {status} container {container_id}. {advice}")


def require_running(container_id: str, state: State, reference: str = "") -> None:
    """Raises Conflict unless the container's processes run and are not frozen (what exec needs).

    `reference` is what the client calls the container: Docker repeats it when it is paused, and only then.
    """
    if state.status == "paused":
        raise Conflict(f"Container {reference or container_id} is paused, unpause the container before exec")
    if state.status == "restarting":
        raise Conflict(f"Container {container_id} is restarting, wait until the container is running")
    if state.status != "running":
        raise Conflict(f"Container {container_id} is not running")


# The flags by which dockerd writes each state; created and exited differ by the time of the last start.
_OFF = {"running": False, "paused": False, "restarting": False, "removal_in_progress": False, "dead": False}
_FLAGS: dict[Status, dict[str, object]] = {
    "created": {**_OFF, "pid": 0},
    "running": {**_OFF, "running": True},
    "paused": {**_OFF, "running": True, "paused": True},
    "restarting": {**_OFF, "running": True, "restarting": True, "pid": 0},
    "removing": {**_OFF, "removal_in_progress": True},
    "exited": {**_OFF, "pid": 0},
    "dead": {**_OFF, "dead": True},
}


def loaded(state: State, *, alive: bool, finished_at: str) -> State:
    """What a state on disk means after the daemon was away: running only if its processes still are."""
    if state.status == "removing":
        return replace(state, **_FLAGS["dead"])
    if not state.running or alive:
        return state
    return replace(state, **_FLAGS["exited"], started_at=state.started_at if state.started_at != NEVER else finished_at,
                   finished_at=finished_at)
