"""Statistics from cgroup v2's files, in the shape that v1 gave them. A file that the kernel does not have counts as zero."""

from __future__ import annotations

from wherry.linux.cgroup.plan import read_optional
from wherry.linux.cgroup.stats import UNLIMITED, BlkioEntry, BlkioStats, CpuStats, MemoryData, MemoryStats, PidsStats, Stats
from wherry.linux.cgroup.stats_v1 import page_sizes, pairs, rdma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def read_stats(folder: str) -> Stats:
    """What the cgroup used."""
    return Stats(
        cpu=_cpu(folder), memory=_memory(folder), pids=_pids(folder), blkio=_io(read_optional(f"{folder}/io.stat")),
        hugetlb=tuple(_huge_pages(folder)),
        rdma_current=rdma(read_optional(f"{folder}/rdma.current")), rdma_limit=rdma(read_optional(f"{folder}/rdma.max")))


def _number(path: str) -> int:
    text = read_optional(path).strip() or "0"
    return UNLIMITED if text == "max" else int(text)


def _cpu(folder: str) -> CpuStats:
    stat = pairs(read_optional(f"{folder}/cpu.stat"))
    return CpuStats(
        total_ns=stat.get("usage_usec", 0) * 1000, user_ns=stat.get("user_usec", 0) * 1000,
        kernel_ns=stat.get("system_usec", 0) * 1000, periods=stat.get("nr_periods", 0),
        throttled_periods=stat.get("nr_throttled", 0), throttled_ns=stat.get("throttled_usec", 0) * 1000,
        burst_periods=stat.get("nr_bursts", 0), burst_ns=stat.get("burst_usec", 0) * 1000)


def _memory(folder: str) -> MemoryStats:
    stat = pairs(read_optional(f"{folder}/memory.stat"))
    events = pairs(read_optional(f"{folder}/memory.events"))
    usage, limit = _number(f"{folder}/memory.current"), _number(f"{folder}/memory.max")
    swap_usage, swap_limit = _number(f"{folder}/memory.swap.current"), _number(f"{folder}/memory.swap.max")
    return MemoryStats(
        # memory.peak is there since Linux 5.19.
        usage=MemoryData(usage=usage, limit=limit, max_usage=_number(f"{folder}/memory.peak"), failcnt=events.get("max", 0)),
        # v1 counts swap together with memory, and so do those who read this.
        swap=MemoryData(usage=usage + swap_usage, limit=min(limit + swap_limit, UNLIMITED)),
        kernel=MemoryData(usage=stat.get("kernel", 0)), kernel_tcp=MemoryData(usage=stat.get("sock", 0)),
        cache=stat.get("file", 0), stat=tuple(stat.items()), use_hierarchy=True,
        events=tuple(events.items()))


def _pids(folder: str) -> PidsStats:
    limit = _number(f"{folder}/pids.max")
    return PidsStats(current=_number(f"{folder}/pids.current"), limit=0 if limit == UNLIMITED else limit)


def _io(text: str) -> BlkioStats:
    """`io.stat`: lines `major:minor rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…`; other keys are left out."""
    size: list[BlkioEntry] = []
    count: list[BlkioEntry] = []
    for line in text.splitlines():
        device, *fields = line.split()
        if ":" not in device:
            continue
        major, minor = (int(number) for number in device.split(":"))
        for name, _, value in (field.partition("=") for field in fields):
            for key, target, op in (("rbytes", size, "Read"), ("wbytes", size, "Write"), ("dbytes", size, "Discard"),
                                    ("rios", count, "Read"), ("wios", count, "Write"), ("dios", count, "Discard")):
                if name == key:
                    target.append(BlkioEntry(major=major, minor=minor, op=op, value=int(value)))
    return BlkioStats(service_bytes=tuple(size), serviced=tuple(count))


def _huge_pages(folder: str) -> Iterator[tuple[str, MemoryData]]:
    for size in page_sizes(folder):
        events = pairs(read_optional(f"{folder}/hugetlb.{size}.events"))
        yield size, MemoryData(usage=_number(f"{folder}/hugetlb.{size}.current"), limit=_number(f"{folder}/hugetlb.{size}.max"),
                               failcnt=events.get("max", 0))
