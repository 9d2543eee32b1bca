"""`docker stats`: what a container uses now, and a second ago."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from wherry.engine.records import NEVER, timestamp
from wherry.linux.cgroup.stats import V2_MEMORY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.engine.cgroups import Cgroups
    from wherry.engine.container import Container
    from wherry.engine.pool import Pool
    from wherry.linux.cgroup.stats import BlkioEntry, Stats

PERIOD_S = 1.0
_NET_FIELDS = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
_NET_COLUMNS = (0, 1, 2, 3, 8, 9, 10, 11)  # of /proc/<pid>/net/dev, proc(5)


class StatsRoom:
    """Asks what containers use. `unified`: on cgroup v2, where dockerd tells less than on v1, and clients know it by that."""

    def __init__(self, pool: Pool, cgroups: Cgroups, *, unified: bool) -> None:
        self._unified = unified
        self._pool = pool
        self._cgroups = cgroups

    async def stream(self, container: Container) -> AsyncIterator[dict[str, Any]]:
        """One sample a second, each with the one before it, until the container is removed."""
        before: dict[str, Any] | None = None
        removed = container.removed()
        try:
            while not removed.done():
                now = await self._sample(container)
                yield _with_previous(now, before)
                before = now
                await asyncio.wait([removed], timeout=PERIOD_S)
        finally:
            removed.cancel()

    async def once(self, container: Container, *, one_shot: bool) -> dict[str, Any]:
        """A single sample; without `one_shot` after a second, with the one before it."""
        before = None
        if not one_shot and container.state.running:
            before = await self._sample(container)
            await asyncio.sleep(PERIOD_S)
        return _with_previous(await self._sample(container), before)

    async def _sample(self, container: Container) -> dict[str, Any]:
        if not container.state.running or container.shim is None:
            return _empty(container)
        try:
            return await self._pool.run(self._read, container, container.shim.pid)
        except (FileNotFoundError, ProcessLookupError):
            return _empty(container)  # it ended meanwhile

    def _read(self, container: Container, pid: int) -> dict[str, Any]:
        stats = self._cgroups.stats(container)
        return {
            **_empty(container),
            "read": timestamp(time.time_ns()),
            "pids_stats": {"current": stats.pids.current, **({"limit": stats.pids.limit} if stats.pids.limit else {})},
            "blkio_stats": _blkio_v2(stats) if self._unified else _blkio(stats),
            "cpu_stats": _cpu(stats),
            "memory_stats": _memory(stats, unified=self._unified),
            **networks(f"/proc/{pid}/net/dev", container),
        }


def _empty(container: Container) -> dict[str, Any]:
    cpu = {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
           "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}}
    return {"read": NEVER, "preread": NEVER, "pids_stats": {}, "blkio_stats": _blkio(None), "num_procs": 0,
            "storage_stats": {}, "cpu_stats": cpu, "precpu_stats": cpu, "memory_stats": {},
            "name": container.record.name, "id": container.id}


def _with_previous(now: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
    if before is None or before["read"] == NEVER:
        return now
    return {**now, "preread": before["read"], "precpu_stats": before["cpu_stats"]}


def _cpu(stats: Stats) -> dict[str, Any]:
    usage: dict[str, Any] = {"total_usage": stats.cpu.total_ns}
    if stats.cpu.per_cpu_ns:
        usage["percpu_usage"] = list(stats.cpu.per_cpu_ns)
    usage |= {"usage_in_kernelmode": stats.cpu.kernel_ns, "usage_in_usermode": stats.cpu.user_ns}
    return {"cpu_usage": usage, "system_cpu_usage": system_cpu_ns(), "online_cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
            "throttling_data": {"periods": stats.cpu.periods, "throttled_periods": stats.cpu.throttled_periods,
                                "throttled_time": stats.cpu.throttled_ns}}


def _memory(stats: Stats, *, unified: bool) -> dict[str, Any]:
    usage, total = stats.memory.usage, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shown: dict[str, Any] = {"usage": usage.usage}
    counters = dict(stats.memory.stat)
    if usage.max_usage and not unified:
        shown["max_usage"] = usage.max_usage
    if failures := dict(stats.memory.events).get("oom", 0) if unified else usage.failcnt:
        shown["failcnt"] = failures
    if unified:
        counters = {name: counters.get(name, 0) for name in sorted(V2_MEMORY)}
    return {**shown, "stats": counters, "limit": min(usage.limit or total, total)}


def _blkio(stats: Stats | None) -> dict[str, Any]:
    if stats is None:
        return dict.fromkeys(("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive",
                              "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
                              "io_time_recursive", "sectors_recursive"))
    blkio = stats.blkio
    return {
        "io_service_bytes_recursive": _entries(blkio.service_bytes),
        "io_serviced_recursive": _entries(blkio.serviced),
        "io_queue_recursive": _entries(blkio.queued),
        "io_service_time_recursive": _entries(blkio.service_time),
        "io_wait_time_recursive": _entries(blkio.wait_time),
        "io_merged_recursive": _entries(blkio.merged),
        "io_time_recursive": _entries(blkio.time),
        "sectors_recursive": _entries(blkio.sectors),
    }


def _blkio_v2(stats: Stats) -> dict[str, Any]:
    """Bytes read and written; on v2 dockerd has no other counters, and writes the operations small."""
    used = [one.replace(op=one.op.lower()) for one in stats.blkio.service_bytes if one.op in ("Read", "Write")]
    return {**_blkio(None), "io_service_bytes_recursive": _entries(tuple(used)) or None}


def _entries(entries: tuple[BlkioEntry, ...]) -> list[dict[str, Any]]:
    return [{"major": one.major, "minor": one.minor, "op": one.op, "value": one.value} for one in entries]


def networks(path: str, container: Container) -> dict[str, Any]:
    """The interfaces' counters by name (`eth0`), nothing for a container without a network of its own."""
    if container.host.network_mode == "host" or container.host.network_mode.startswith("container:"):
        return {}
    with open(path, encoding="ascii") as file:
        rows = [line.partition(":") for line in file.readlines()[2:]]
    found = {}
    for name, _, counters in rows:
        columns = counters.split()
        if name.strip() != "lo":
            found[name.strip()] = {field: int(columns[at]) for field, at in zip(_NET_FIELDS, _NET_COLUMNS, strict=True)}
    return {"networks": found} if found else {}


def system_cpu_ns() -> int:
    """What all processors have done since boot, as Docker counts it: the first seven columns of `cpu` in /proc/stat."""
    with open("/proc/stat", encoding="ascii") as file:
        columns = file.readline().split()[1:8]
    return sum(int(column) for column in columns) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
