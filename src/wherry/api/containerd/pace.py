"""How soon garbage is collected: containerd's settings of its scheduler, under their names, and what they come to. Pure."""

from __future__ import annotations

from wherry.record import Record

_FIRST_INTERVAL_S = 1.0  # also where the pause is not limited


class Pace(Record):
    """Settings of `--containerd-gc`, with containerd's defaults (config of its plugin `io.containerd.gc.v1.scheduler`).

    `pause_threshold`: the part of all time that collections may take, at most 0.5; 0: they are a second apart.
    `deletion_threshold`: that many removals have one collected without regard to this; 0: no number has.
    `mutation_threshold`: that many changes are as good a reason as one removal; 0: no number is.
    `schedule_delay_s`: what one that is asked for, or beyond a threshold, waits for others to join.
    `startup_delay_s`: when the first one comes, whatever happened; 0: it needs a reason too.
    """

    pause_threshold: float = 0.02
    deletion_threshold: int = 0
    mutation_threshold: int = 100
    schedule_delay_s: float = 0.0
    startup_delay_s: float = 0.1

    def interval_s(self, average_s: float | None) -> float:
        """Time without a collection after one, where they take so long on average (None: there was none)."""
        if average_s is None or self.pause_threshold == 0:
            return _FIRST_INTERVAL_S
        return average_s / self.pause_threshold - average_s

    def is_urgent(self, deletions: int) -> bool:
        """Whether so many removals do not wait for the interval's end."""
        return 0 < self.deletion_threshold <= deletions

    def is_reason(self, deletions: int, mutations: int) -> bool:
        """Whether so many removals and changes are worth a collection."""
        return deletions > 0 or 0 < self.mutation_threshold <= mutations
