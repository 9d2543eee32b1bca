"""Statistics from cgroup v1's files. A file that the kernel does not have counts as zero."""

from __future__ import annotations

from wherry.linux.cgroup.plan import read_optional
from wherry.linux.cgroup.stats import BlkioEntry, BlkioStats, CpuStats, MemoryData, MemoryStats, PidsStats, RdmaEntry, Stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# USER_HZ, by which cpuacct.stat counts, is 100 on every architecture that Linux has containers on.
NANOSECONDS_PER_TICK = 10_000_000


def read_stats(folders: Mapping[str, str]) -> Stats:
    """What the cgroup with these folders (by controller) used."""
    return Stats(
        cpu=_cpu(folders.get("cpu", ""), folders.get("cpuacct", "")),
        memory=_memory(folders["memory"]) if "memory" in folders else MemoryStats(),
        pids=_pids(folders["pids"]) if "pids" in folders else PidsStats(),
        blkio=_blkio(folders["blkio"]) if "blkio" in folders else BlkioStats(),
        hugetlb=tuple(_huge_pages(folders["hugetlb"])) if "hugetlb" in folders else (),
        rdma_current=rdma(read_optional(f"{folders['rdma']}/rdma.current")) if "rdma" in folders else (),
        rdma_limit=rdma(read_optional(f"{folders['rdma']}/rdma.max")) if "rdma" in folders else ())


def pairs(text: str) -> dict[str, int]:
    """A file of lines `name number`."""
    return {name: int(value) for name, value in (line.split(" ", 1) for line in text.splitlines())}


def _number(path: str) -> int:
    return int(read_optional(path).strip() or 0)


def _cpu(cpu: str, acct: str) -> CpuStats:
    throttling = pairs(read_optional(f"{cpu}/cpu.stat")) if cpu else {}
    times = pairs(read_optional(f"{acct}/cpuacct.stat")) if acct else {}
    user, kernel = _per_cpu(read_optional(f"{acct}/cpuacct.usage_all")) if acct else ((), ())
    return CpuStats(
        total_ns=_number(f"{acct}/cpuacct.usage") if acct else 0,
        user_ns=times.get("user", 0) * NANOSECONDS_PER_TICK, kernel_ns=times.get("system", 0) * NANOSECONDS_PER_TICK,
        per_cpu_ns=tuple(int(one) for one in read_optional(f"{acct}/cpuacct.usage_percpu").split()) if acct else (),
        per_cpu_user_ns=user, per_cpu_kernel_ns=kernel,
        periods=throttling.get("nr_periods", 0), throttled_periods=throttling.get("nr_throttled", 0),
        throttled_ns=throttling.get("throttled_time", 0),
        burst_periods=throttling.get("nr_bursts", 0), burst_ns=throttling.get("burst_time", 0))


def _per_cpu(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rows = [line.split() for line in text.splitlines()[1:]]
    return tuple(int(row[1]) for row in rows), tuple(int(row[2]) for row in rows)


def _memory(folder: str) -> MemoryStats:
    stat = pairs(read_optional(f"{folder}/memory.stat"))
    return MemoryStats(
        usage=_memory_data(folder, "memory."), swap=_memory_data(folder, "memory.memsw."),
        kernel=_memory_data(folder, "memory.kmem."), kernel_tcp=_memory_data(folder, "memory.kmem.tcp."),
        cache=stat.get("cache", 0), stat=tuple(stat.items()),
        use_hierarchy=read_optional(f"{folder}/memory.use_hierarchy").strip() == "1")


def _memory_data(folder: str, prefix: str) -> MemoryData:
    return MemoryData(
        usage=_number(f"{folder}/{prefix}usage_in_bytes"), max_usage=_number(f"{folder}/{prefix}max_usage_in_bytes"),
        failcnt=_number(f"{folder}/{prefix}failcnt"), limit=_number(f"{folder}/{prefix}limit_in_bytes"))


def _pids(folder: str) -> PidsStats:
    limit = read_optional(f"{folder}/pids.max").strip()
    return PidsStats(current=_number(f"{folder}/pids.current"), limit=0 if limit in ("", "max") else int(limit))


def _blkio(folder: str) -> BlkioStats:
    def entries(name: str) -> tuple[BlkioEntry, ...]:
        """The BFQ scheduler's counters where it is at work, else what the throttling layer counted."""
        for file in (f"blkio.bfq.{name}_recursive", f"blkio.{name}_recursive"):
            if found := blkio_entries(read_optional(f"{folder}/{file}")):
                return found
        return blkio_entries(read_optional(f"{folder}/blkio.throttle.{name}_recursive"))

    return BlkioStats(
        service_bytes=entries("io_service_bytes"), serviced=entries("io_serviced"), queued=entries("io_queued"),
        service_time=entries("io_service_time"), wait_time=entries("io_wait_time"), merged=entries("io_merged"),
        time=entries("time"), sectors=entries("sectors"))


def blkio_entries(text: str) -> tuple[BlkioEntry, ...]:
    """Lines `major:minor [op] number`; the last line, a sum without a device, is left out."""
    found = []
    for line in text.splitlines():
        fields = line.replace(":", " ").split()
        if len(fields) == 4:
            found.append(BlkioEntry(major=int(fields[0]), minor=int(fields[1]), op=fields[2], value=int(fields[3])))
        elif len(fields) == 3 and fields[0].isdigit():
            found.append(BlkioEntry(major=int(fields[0]), minor=int(fields[1]), op="", value=int(fields[2])))
    return tuple(found)


def page_sizes(folder: str) -> list[str]:
    """The sizes of huge pages as the control files of this cgroup name them."""
    import os

    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted({name.split(".")[1] for name in names if name.startswith("hugetlb.")})


def _huge_pages(folder: str) -> Iterator[tuple[str, MemoryData]]:
    for size in page_sizes(folder):
        yield size, _memory_data(folder, f"hugetlb.{size}.")


def rdma(text: str) -> tuple[RdmaEntry, ...]:
    """Lines `device hca_handle=N hca_object=N`; `max` is the largest 32 bit number."""
    found = []
    for line in text.splitlines():
        device, *limits = line.split()
        values = dict(one.split("=", 1) for one in limits)
        handles, objects = (2**32 - 1 if values.get(key, "0") == "max" else int(values.get(key, "0"))
                            for key in ("hca_handle", "hca_object"))
        found.append(RdmaEntry(device=device, handles=handles, objects=objects))
    return tuple(found)
