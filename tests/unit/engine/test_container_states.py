"""The table of states: every pair of state and event moves as listed, or is refused with the documented error."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from wherry.engine.records import NEVER, State
from wherry.engine.states import EVENTS, STATUSES, TABLE, check, loaded, move, refusal, require_running
from wherry.errors import Conflict, Internal, NotModified

STARTED = "2026-01-02T03:04:05Z"

STATES = {
    "created": State(),
    "running": State(running=True, pid=7, started_at=STARTED),
    "paused": State(running=True, paused=True, pid=7, started_at=STARTED),
    "restarting": State(running=True, restarting=True, started_at=STARTED),
    "removing": State(removal_in_progress=True, started_at=STARTED),
    "exited": State(started_at=STARTED, exit_code=3),
    "dead": State(dead=True, started_at=STARTED),
}


def test_every_state_is_recognised() -> None:
    assert {name: state.status for name, state in STATES.items()} == {name: name for name in STATUSES}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("event", EVENTS)
def test_each_pair_moves_or_is_refused(status, event) -> None:
    state = STATES[status]
    if (status, event) in TABLE:
        details = {"started_at": STARTED} if event == "start" else {}
        after = move("x", state, event, **details)
        assert after.status == TABLE[status, event]
        check("x", state, event)
    else:
        with pytest.raises(type(refusal("x", status, event))):
            move("x", state, event)
        with pytest.raises((Conflict, Internal, NotModified)):
            check("x", state, event)


def test_a_failed_first_start_leaves_it_created_with_its_exit_code() -> None:
    after = move("x", STATES["created"], "fail", exit_code=127, error="not found")
    assert (after.status, after.exit_code, after.error, after.started_at) == ("created", 127, "not found", NEVER)


@pytest.mark.parametrize(("status", "event", "kind", "words"), [
    ("running", "start", NotModified, "already running"),
    ("paused", "start", Conflict, "cannot start a paused container, try unpause instead"),
    ("dead", "start", Conflict, "container is marked for removal and cannot be started"),
    ("created", "pause", Conflict, "Container x is not running"),
    ("paused", "pause", Conflict, "Container x is already paused"),
    ("restarting", "pause", Conflict, "Container x is restarting, wait until the container is running"),
    ("running", "unpause", Internal, "Container x is not paused"),
    ("running", "remove", Conflict, "You cannot remove a running container x. Stop the container before attempting removal or force remove"),
    ("paused", "remove", Conflict, "You cannot remove a paused container x. Unpause and then stop the container"),
    ("removing", "remove", Conflict, "removal of container x is already in progress"),
])
def test_refusals_have_dockers_words(status, event, kind, words) -> None:
    error = refusal("x", status, event)
    assert type(error) is kind
    assert words in error.message


def test_exec_needs_processes_that_run() -> None:
    require_running("x", STATES["running"])
    for status in set(STATUSES) - {"running"}:
        with pytest.raises(Conflict):
            require_running("x", STATES[status])


def test_what_a_state_on_disk_means_after_the_daemon_was_away() -> None:
    for status in ("running", "paused", "restarting"):
        assert loaded(STATES[status], alive=False, finished_at="2026-01-03T00:00:00Z").status == "exited"
        assert loaded(STATES[status], alive=True, finished_at="") is STATES[status]
    assert loaded(STATES["removing"], alive=False, finished_at="").status == "dead"
    assert loaded(STATES["exited"], alive=False, finished_at="") == STATES["exited"]
    never = replace(STATES["running"], started_at=NEVER)
    assert loaded(never, alive=False, finished_at="2026-01-03T00:00:00Z").status == "exited"
