"""Restart policies: when a container is started again, after how long, and when never."""

from __future__ import annotations

import pytest

from wherry.engine.model import RestartPolicy
from wherry.engine.restart import Backoff, check, next_start, starts_with_daemon
from wherry.errors import InvalidArgument

NEW = Backoff()


def again(policy: RestartPolicy, backoff: Backoff = NEW, *, code: int = 1, ran: float = 0.0, by_hand: bool = False):
    return next_start(policy, backoff, exit_code=code, ran_for_s=ran, stopped_by_hand=by_hand)


def test_the_pause_doubles_to_a_minute_and_begins_anew_after_ten_good_seconds() -> None:
    backoff, pauses = Backoff(), []
    for _ in range(12):
        backoff = again(RestartPolicy(name="always"), backoff)
        pauses.append(backoff.pause_s)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]
    assert again(RestartPolicy(name="always"), backoff, ran=10.0) == Backoff(failures=1, pause_s=0.1)
    assert again(RestartPolicy(name="always"), backoff, ran=9.9).pause_s == 60.0


@pytest.mark.parametrize(("name", "code", "expected"), [
    ("", 1, False), ("no", 1, False), ("always", 0, True), ("always", 1, True), ("unless-stopped", 0, True),
    ("on-failure", 0, False), ("on-failure", 1, True),
])
def test_policies(name, code, expected) -> None:
    assert (again(RestartPolicy(name=name), code=code) is not None) is expected
    assert again(RestartPolicy(name=name), code=code, by_hand=True) is None


def test_on_failure_gives_up_after_so_many_tries() -> None:
    policy, backoff, starts = RestartPolicy(name="on-failure", maximum_retry_count=3), Backoff(), 0
    while (backoff_or_end := again(policy, backoff)) is not None:
        backoff, starts = backoff_or_end, starts + 1
    assert starts == 3


@pytest.mark.parametrize(("name", "by_hand", "code", "expected"), [
    ("always", True, 0, True), ("always", False, 0, True), ("unless-stopped", True, 0, False), ("unless-stopped", False, 0, True),
    ("on-failure", False, 1, True), ("on-failure", False, 0, False), ("on-failure", True, 1, False), ("no", False, 1, False),
])
def test_what_starts_with_the_daemon(name, by_hand, code, expected) -> None:
    policy = RestartPolicy(name=name)
    assert starts_with_daemon(policy, was_running=False, exit_code=code, stopped_by_hand=by_hand) is expected


@pytest.mark.parametrize(("policy", "auto_remove", "words"), [
    (RestartPolicy(name="sometimes"), False, "unknown policy 'sometimes'"),
    (RestartPolicy(name="always", maximum_retry_count=1), False, "can only be used with 'on-failure'"),
    (RestartPolicy(name="on-failure", maximum_retry_count=-1), False, "cannot be negative"),
    (RestartPolicy(name="always"), True, "can't create 'AutoRemove' container with restart policy"),
])
def test_policies_that_make_no_sense(policy, auto_remove, words) -> None:
    with pytest.raises(InvalidArgument, match=words):
        check(policy, auto_remove=auto_remove)
