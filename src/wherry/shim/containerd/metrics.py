"""What a container uses, as the metrics that containerd's clients know: `io.containerd.cgroups.v1.Metrics` and `v2`.

Source: containerd's cgroups, `cgroup1/stats/metrics.proto` and `cgroup2/stats/metrics.proto`.
"""

from __future__ import annotations

from wherry.linux.cgroup.stats import UNLIMITED, V2_MEMORY
from wherry.shim.containerd.protobuf import STRING, UINT, Field, Message, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.linux.cgroup.stats import BlkioEntry, MemoryData, Stats


def _uints(*names: str, first: int = 1) -> tuple[Field, ...]:
    return tuple(Field(first + number, name, UINT) for number, name in enumerate(names))


_BASE = (
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
)
_V2_EVENTS = ("low", "high", "max", "oom", "oom_kill")
_V1_MEMORY = (*_BASE, "hierarchical_memory_limit", "hierarchical_memsw_limit", *("total_" + name for name in _BASE))

_Pids = Message("PidsStat", *_uints("current", "limit"))
_Rdma = Message("RdmaEntry", Field(1, "device", STRING), *_uints("hca_handles", "hca_objects", first=2))
_RdmaStat = Message("RdmaStat", Field(1, "current", _Rdma, repeated=True), Field(2, "limit", _Rdma, repeated=True))

_Entry = Message("MemoryEntry", *_uints("limit", "usage", "max", "failcnt"))
_V1Memory = Message(
    "MemoryStat",
    *_uints(*_V1_MEMORY),
    *(Field(33 + number, name, _Entry) for number, name in enumerate(("usage", "swap", "kernel", "kernel_tcp"))),
)
_Usage = Message("CPUUsage", *_uints("total", "kernel", "user"), Field(4, "per_cpu", UINT, repeated=True))
_Throttle = Message("Throttle", *_uints("periods", "throttled_periods", "throttled_time"))
_Blkio = Message("BlkIOEntry", Field(1, "op", STRING), Field(2, "device", STRING), *_uints("major", "minor", "value", first=3))
_BLKIO = ("service_bytes", "serviced", "queued", "service_time", "wait_time", "merged", "time", "sectors")
_V1 = Message(
    "io.containerd.cgroups.v1.Metrics",
    Field(1, "hugetlb", Message("HugetlbStat", *_uints("usage", "max", "failcnt"), Field(4, "pagesize", STRING)), repeated=True),
    Field(2, "pids", _Pids),
    Field(3, "cpu", Message("CPUStat", Field(1, "usage", _Usage), Field(2, "throttling", _Throttle))),
    Field(4, "memory", _V1Memory),
    Field(
        5, "blkio", Message("BlkIOStat", *(Field(1 + number, name, _Blkio, repeated=True) for number, name in enumerate(_BLKIO)))
    ),
    Field(6, "rdma", _RdmaStat),
)

_V2 = Message(
    "io.containerd.cgroups.v2.Metrics",
    Field(1, "pids", _Pids),
    Field(
        2,
        "cpu",
        Message("CPUStat", *_uints("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec")),
    ),
    Field(4, "memory", Message("MemoryStat", *_uints(*V2_MEMORY, "usage", "usage_limit", "swap_usage", "swap_limit"))),
    Field(5, "rdma", _RdmaStat),
    Field(
        6,
        "io",
        Message(
            "IOStat",
            Field(1, "usage", Message("IOEntry", *_uints("major", "minor", "rbytes", "wbytes", "rios", "wios")), repeated=True),
        ),
    ),
    Field(7, "hugetlb", Message("HugeTlbStat", *_uints("current", "max"), Field(3, "pagesize", STRING)), repeated=True),
    Field(8, "memory_events", Message("MemoryEvents", *_uints(*_V2_EVENTS))),
)


def pack(stats: Stats, is_v2: bool) -> dict[str, Any]:
    """The Any of a StatsResponse."""
    message, values = (_V2, _v2(stats)) if is_v2 else (_V1, _v1(stats))
    return {"type_url": message.name, "value": encode(message, values)}


def _v1(stats: Stats) -> dict[str, Any]:
    memory, cpu = stats.memory, stats.cpu
    known = dict(memory.stat)
    return {
        **_common(stats),
        "hugetlb": [
            {"usage": one.usage, "max": one.max_usage, "failcnt": one.failcnt, "pagesize": size} for size, one in stats.hugetlb
        ],
        "cpu": {
            "usage": {"total": cpu.total_ns, "kernel": cpu.kernel_ns, "user": cpu.user_ns, "per_cpu": list(cpu.per_cpu_ns)},
            "throttling": {
                "periods": cpu.periods,
                "throttled_periods": cpu.throttled_periods,
                "throttled_time": cpu.throttled_ns,
            },
        },
        "memory": {
            **{name: known.get(name, 0) for name in _V1_MEMORY},
            "usage": _entry(memory.usage),
            "swap": _entry(memory.swap),
            "kernel": _entry(memory.kernel),
            "kernel_tcp": _entry(memory.kernel_tcp),
        },
        "blkio": {name: [_blkio_entry(one) for one in getattr(stats.blkio, name)] for name in _BLKIO},
    }


def _v2(stats: Stats) -> dict[str, Any]:
    memory, cpu = stats.memory, stats.cpu
    known = dict(memory.stat)
    swap_limit = (
        UNLIMITED if UNLIMITED in (memory.swap.limit, memory.usage.limit) else max(0, memory.swap.limit - memory.usage.limit)
    )
    return {
        **_common(stats),
        "hugetlb": [{"current": one.usage, "max": one.limit or one.max_usage, "pagesize": size} for size, one in stats.hugetlb],
        "cpu": {
            "usage_usec": cpu.total_ns // 1000,
            "user_usec": cpu.user_ns // 1000,
            "system_usec": cpu.kernel_ns // 1000,
            "nr_periods": cpu.periods,
            "nr_throttled": cpu.throttled_periods,
            "throttled_usec": cpu.throttled_ns // 1000,
        },
        "memory": {
            **{name: known.get(name, 0) for name in V2_MEMORY},
            "usage": memory.usage.usage,
            "usage_limit": memory.usage.limit,
            "swap_usage": max(0, memory.swap.usage - memory.usage.usage),
            "swap_limit": swap_limit,
        },
        "io": {"usage": _io(stats)},
        "memory_events": dict(memory.events),
    }


def _common(stats: Stats) -> dict[str, Any]:
    def rdma(entries: Any) -> list[dict[str, Any]]:
        return [{"device": one.device, "hca_handles": one.handles, "hca_objects": one.objects} for one in entries]

    return {
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit},
        "rdma": {"current": rdma(stats.rdma_current), "limit": rdma(stats.rdma_limit)},
    }


def _io(stats: Stats) -> list[dict[str, int]]:
    devices: dict[tuple[int, int], dict[str, int]] = {}
    names = {
        ("service_bytes", "Read"): "rbytes",
        ("service_bytes", "Write"): "wbytes",
        ("serviced", "Read"): "rios",
        ("serviced", "Write"): "wios",
    }
    for group in ("service_bytes", "serviced"):
        for one in getattr(stats.blkio, group):
            name = names.get((group, one.op))
            if name:
                devices.setdefault((one.major, one.minor), {"major": one.major, "minor": one.minor})[name] = one.value
    return list(devices.values())


def _entry(data: MemoryData) -> dict[str, int]:
    return {"limit": data.limit, "usage": data.usage, "max": data.max_usage, "failcnt": data.failcnt}


def _blkio_entry(one: BlkioEntry) -> dict[str, Any]:
    return {"op": one.op, "major": one.major, "minor": one.minor, "value": one.value}
