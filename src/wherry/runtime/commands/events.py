"""`wherry-runc events`: what a container uses, as JSON lines, once or again and again; and OOM kills."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.oci import jsontext
from wherry.runtime import container, control, state
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.linux.cgroup import Manager
    from wherry.linux.cgroup.stats import BlkioEntry, MemoryData, Stats
    from wherry.runtime.main import Context

COMMAND = Command(
    name="events", usage="show what a container uses", arguments="<container-id>",
    flags=(Flag(names=("interval",), kind="duration", default="5s", help="time between two lines"),
           Flag(names=("stats",), kind="switch", help="one line, then end")),
    description="Prints a line of type stats every interval, and one of type oom when the kernel kills a process for lack\n"
                "of memory. Ends with the container.")


def run(context: Context) -> int:
    """Prints them."""
    found = container.load(context.root, context.arguments[0])
    seconds = context.flags["interval"]
    if seconds <= 0:
        raise InvalidArgument("duration interval must be greater than 0")
    if not state.is_alive(found.saved):
        raise InvalidArgument(f"container with id {found.id} is not running")
    group = control.group_of(found)
    if context.flags["stats"]:
        _print("stats", found.id, stats_document(group.stats()))
        return 0
    _follow(found, group, seconds)
    return 0


def _follow(found: container.Container, group: Manager, seconds: float) -> None:
    import select

    from wherry.linux import process

    pidfd = process.pidfd_open(found.saved.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    killed = group.oom_count()
    try:
        oom_fd = group.watch_oom()
        poll.register(oom_fd, select.POLLIN)
    except OSError:
        oom_fd = -1
    while True:
        ready = [fd for fd, _ in poll.poll(int(seconds * 1000))]
        if oom_fd in ready:
            os.read(oom_fd, 4096)
            now = group.oom_count()
            if now > killed:
                _print("oom", found.id, None)
            killed = now
        if pidfd in ready:
            return
        if not ready:
            _print("stats", found.id, stats_document(group.stats()))


def _print(kind: str, container_id: str, data: object) -> None:
    document = {"type": kind, "id": container_id, **({"data": data} if data is not None else {})}
    os.write(1, (jsontext.dumps(document) + "\n").encode())


def stats_document(stats: Stats) -> dict[str, Any]:
    """The document of `runc events`, field by field; what is zero or empty is left out where runc leaves it out."""
    cpu, memory, blkio = stats.cpu, stats.memory, stats.blkio
    return {
        "cpu": {
            "usage": _given(
                total=cpu.total_ns, percpu=list(cpu.per_cpu_ns), percpu_kernel=list(cpu.per_cpu_kernel_ns),
                percpu_user=list(cpu.per_cpu_user_ns)) | {"kernel": cpu.kernel_ns, "user": cpu.user_ns},
            "throttling": _given(
                periods=cpu.periods, throttledPeriods=cpu.throttled_periods, throttledTime=cpu.throttled_ns),
        },
        "memory": _given(cache=memory.cache) | {
            "usage": _memory(memory.usage), "swap": _memory(memory.swap), "kernel": _memory(memory.kernel),
            "kernelTCP": _memory(memory.kernel_tcp)} | _given(raw=dict(memory.stat)),
        "pids": _given(current=stats.pids.current, limit=stats.pids.limit),
        "blkio": _given(
            ioServiceBytesRecursive=_blkio(blkio.service_bytes), ioServicedRecursive=_blkio(blkio.serviced),
            ioQueuedRecursive=_blkio(blkio.queued), ioServiceTimeRecursive=_blkio(blkio.service_time),
            ioWaitTimeRecursive=_blkio(blkio.wait_time), ioMergedRecursive=_blkio(blkio.merged),
            ioTimeRecursive=_blkio(blkio.time), sectorsRecursive=_blkio(blkio.sectors)),
        "hugetlb": {
            size: _given(usage=data.usage, max=data.max_usage) | {"failcnt": data.failcnt} for size, data in stats.hugetlb},
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _memory(data: MemoryData) -> dict[str, Any]:
    return {"limit": data.limit, **_given(usage=data.usage, max=data.max_usage), "failcnt": data.failcnt}


def _blkio(entries: tuple[BlkioEntry, ...]) -> list[dict[str, Any]]:
    return [_given(major=one.major, minor=one.minor, op=one.op, value=one.value) for one in entries]


def _given(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
