"""The words of «scheduler», «ioPriority», «personality» and «memoryPolicy» as numbers for the kernel."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidArgument
from wherry.oci.runtime import IOPriority, MemoryPolicy, Scheduler
from wherry.runtime import scheduling


def test_words_become_numbers() -> None:
    assert scheduling.plan_scheduler(Scheduler(policy="SCHED_RR", priority=3, flags=("SCHED_FLAG_RESET_ON_FORK",))) == (2, 1, 0, 3, 0, 0, 0)
    assert scheduling.plan_scheduler(Scheduler(policy="SCHED_DEADLINE", runtime=1, deadline=2, period=3)) == (6, 0, 0, 0, 1, 2, 3)
    assert scheduling.plan_io_priority(IOPriority(io_class="IOPRIO_CLASS_BE", priority=7)) == (2, 7)
    assert scheduling.plan_personality("LINUX32", ()) == scheduling.plan_personality("PER_LINUX32", ()) == 8
    policy = MemoryPolicy(mode="MPOL_BIND", nodes="0-1,4", flags=("MPOL_F_STATIC_NODES",))
    assert scheduling.plan_memory(policy) == (2 | 1 << 15, frozenset({0, 1, 4}))
    assert scheduling.parse_list("") == frozenset()


@pytest.mark.parametrize(("given", "message"), [
    (Scheduler(policy=""), "policy is required"), (Scheduler(policy="SCHED_X"), "invalid scheduler policy: SCHED_X"),
    (Scheduler(policy="SCHED_OTHER", nice=20), "invalid scheduler.nice: 20"), (Scheduler(policy="SCHED_OTHER", priority=1), "only be specified"),
    (Scheduler(policy="SCHED_FIFO", runtime=1), "only be specified"), (Scheduler(policy="SCHED_IDLE", flags=("X",)), "invalid scheduler flag: X"),
])
def test_what_a_scheduler_cannot_have(given: Scheduler, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        scheduling.plan_scheduler(given)


def test_other_words_are_refused_by_name() -> None:
    for io_class, priority in (("IOPRIO_CLASS_BE", 8), ("IOPRIO_CLASS_BE", -1), ("X", 1)):
        with pytest.raises(InvalidArgument, match="ioPriority"):
            scheduling.plan_io_priority(IOPriority(io_class=io_class, priority=priority))
    with pytest.raises(InvalidArgument, match='personality domain "BSD"'):
        scheduling.plan_personality("BSD", ())
    with pytest.raises(InvalidArgument, match="personality flag: X"):
        scheduling.plan_personality("LINUX", ("X",))
    for mode, flags in (("MPOL_X", ()), ("MPOL_BIND", ("MPOL_F_X",))):
        with pytest.raises(InvalidArgument, match="_X"):
            scheduling.plan_memory(MemoryPolicy(mode=mode, flags=flags))
    for text in ("1-", "a", "3-1", ",", "1,,2", "8192"):
        with pytest.raises(InvalidArgument, match="invalid list"):
            scheduling.parse_list(text)
