"""Whether and when a container that ended is started again.

The policies are Docker's: `always` and `unless-stopped` after every end, `on-failure` after a non-zero one and at most
so many times, none of them after a stop by hand. The pause before a start doubles from 100 ms to a minute, and begins
anew once the container has run for ten seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from wherry.engine.model import RestartPolicy

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 60.0
PROVEN_AFTER_S = 10.0


class Backoff(msgspec.Struct, frozen=True):
    """How often a container was started again, and the pause that preceded the last start."""

    failures: int = 0
    pause_s: float = 0.0


def next_start(policy: RestartPolicy, backoff: Backoff, *, exit_code: int, ran_for_s: float,
               stopped_by_hand: bool) -> Backoff | None:
    """The pause to wait before the next start, or None when the container stays down.

    `exit_code` is negative when the container never came to run.
    """
    if stopped_by_hand or policy.name in ("", "no"):
        return None
    if ran_for_s >= PROVEN_AFTER_S:
        backoff = Backoff()
    if policy.name == "on-failure":
        if exit_code == 0:
            return None
        if policy.maximum_retry_count and backoff.failures >= policy.maximum_retry_count:
            return None
    pause = min(max(FIRST_PAUSE_S, backoff.pause_s * 2), LONGEST_PAUSE_S)
    return Backoff(failures=backoff.failures + 1, pause_s=pause)


def starts_with_daemon(policy: RestartPolicy, *, was_running: bool, exit_code: int, stopped_by_hand: bool) -> bool:
    """Whether a container that is down is started when the daemon starts."""
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not stopped_by_hand
    if policy.name == "on-failure":
        return (was_running or exit_code != 0) and not stopped_by_hand
    return False


def check(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raises InvalidArgument for a policy that makes no sense."""
    if policy.name in ("always", "unless-stopped", "no"):
        if policy.maximum_retry_count:
            raise InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'"
                                  + (" and cannot be negative" if policy.maximum_retry_count < 0 else ""))
    elif policy.name == "on-failure":
        if policy.maximum_retry_count < 0:
            raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    elif policy.name:  # without a name the count means nothing
        raise InvalidArgument(f"invalid restart policy: unknown policy '{policy.name}'; "
                              "use one of 'no', 'always', 'on-failure', or 'unless-stopped'")
    if auto_remove and policy.name not in ("", "no"):
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
