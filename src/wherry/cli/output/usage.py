"""One container's counters as the columns of `stats`."""

from __future__ import annotations

from wherry.console.units import binary_size, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Stats = dict[str, Any]


def cpu_share(stats: Stats) -> float:
    """Per cent of one CPU since the sample before."""
    now, before = stats["cpu_stats"], stats["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    count = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ())
    return used / passed * count * 100 if used > 0 and passed > 0 else 0.0


def memory_used(memory: Stats) -> int:
    """Bytes without the page cache that could go at once: cgroup v1 counts it as total_inactive_file, v2 as inactive_file."""
    used = int(memory.get("usage") or 0)
    counters = memory.get("stats") or {}
    cache = counters.get("total_inactive_file", counters.get("inactive_file", 0))
    return used - cache if cache < used else used


def measure(name: str, stats: Stats) -> dict[str, str]:
    """The texts of a row."""
    row = {"container": name, "id": stats.get("id", ""), "name": (stats.get("name") or "").removeprefix("/")}
    memory = stats.get("memory_stats") or {}
    used, limit = memory_used(memory), memory.get("limit") or 0
    blocks = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read = sum(one["value"] for one in blocks if one["op"][:1] in "rR")
    written = sum(one["value"] for one in blocks if one["op"][:1] in "wW")
    networks = (stats.get("networks") or {}).values()
    received, sent = sum(one["rx_bytes"] for one in networks), sum(one["tx_bytes"] for one in networks)
    row.update(
        {
            "cpu": f"{cpu_share(stats):.2f}%",
            "memory": f"{binary_size(used)} / {binary_size(limit)}",
            "memory_share": f"{used / limit * 100 if limit else 0:.2f}%",
            "network": f"{size(received, 3)} / {size(sent, 3)}",
            "block": f"{size(read, 3)} / {size(written, 3)}",
            "pids": str((stats.get("pids_stats") or {}).get("current") or 0),
        }
    )
    return row
