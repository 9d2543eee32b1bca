"""`memory_stats` of `docker stats` on both versions of control groups."""

from __future__ import annotations

from wherry.engine.stats import _memory
from wherry.linux.cgroup.stats import V2_MEMORY, MemoryData, MemoryStats, Stats

USAGE = MemoryData(usage=11, limit=22, max_usage=33, failcnt=2)
STATS = Stats(memory=MemoryStats(usage=USAGE, stat=(("inactive_file", 4), ("zswap", 5)), events=(("max", 7), ("oom", 3))))


def test_on_v1_it_is_what_the_kernel_counts() -> None:
    assert _memory(STATS, unified=False) == {
        "usage": 11, "max_usage": 33, "failcnt": 2, "limit": 22, "stats": {"inactive_file": 4, "zswap": 5}}


def test_on_v2_it_is_what_dockerd_tells_whatever_the_kernel_has() -> None:
    shown = _memory(STATS, unified=True)
    assert shown == {"usage": 11, "failcnt": 3, "limit": 22, "stats": dict.fromkeys(sorted(V2_MEMORY), 0) | {"inactive_file": 4}}
    assert list(shown["stats"]) == sorted(shown["stats"])
