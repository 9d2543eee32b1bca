"""What a control group used, in the same shape for both versions. Times are nanoseconds, sizes bytes."""

from __future__ import annotations

from wherry.record import Record

UNLIMITED = (1 << 64) - 1
# The counters of v2's `memory.stat` that containerd's clients and Docker's are told, in the order of containerd's message
# (cgroup2/stats/metrics.proto). Kernels have more of them from version to version, and not all of these.
V2_MEMORY = (
    "anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback", "anon_thp",
    "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable", "slab_reclaimable", "slab_unreclaimable",
    "pgfault", "pgmajfault", "workingset_refault", "workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan",
    "pgsteal", "pgactivate", "pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc",
)


class CpuStats(Record):
    """Processor time. `per_cpu_ns` is empty where the kernel does not count it (v2)."""

    total_ns: int = 0
    user_ns: int = 0
    kernel_ns: int = 0
    per_cpu_ns: tuple[int, ...] = ()
    per_cpu_user_ns: tuple[int, ...] = ()
    per_cpu_kernel_ns: tuple[int, ...] = ()
    periods: int = 0
    throttled_periods: int = 0
    throttled_ns: int = 0
    burst_periods: int = 0
    burst_ns: int = 0


class MemoryData(Record):
    """One counter of memory. `limit` is UNLIMITED (2^64 - 1) when there is none on v2; v1 tells its own largest number."""

    usage: int = 0
    max_usage: int = 0
    failcnt: int = 0
    limit: int = 0


class MemoryStats(Record):
    """`stat` is the kernel's `memory.stat`; `swap` counts memory and swap together, as v1 does.

    `events` is v2's `memory.events`: how often there was none left (`oom`), and others.
    """

    usage: MemoryData = MemoryData()
    swap: MemoryData = MemoryData()
    kernel: MemoryData = MemoryData()
    kernel_tcp: MemoryData = MemoryData()
    cache: int = 0
    use_hierarchy: bool = False
    stat: tuple[tuple[str, int], ...] = ()
    events: tuple[tuple[str, int], ...] = ()


class PidsStats(Record):
    """Tasks; a limit of zero is none."""

    current: int = 0
    limit: int = 0


class BlkioEntry(Record):
    """One counter of a block device; `op` is Read, Write, Sync, Async, Discard, Total or empty."""

    major: int
    minor: int
    op: str
    value: int


class BlkioStats(Record):
    """Block I/O, by device; the names are those of cgroup v1's files."""

    service_bytes: tuple[BlkioEntry, ...] = ()
    serviced: tuple[BlkioEntry, ...] = ()
    queued: tuple[BlkioEntry, ...] = ()
    service_time: tuple[BlkioEntry, ...] = ()
    wait_time: tuple[BlkioEntry, ...] = ()
    merged: tuple[BlkioEntry, ...] = ()
    time: tuple[BlkioEntry, ...] = ()
    sectors: tuple[BlkioEntry, ...] = ()


class RdmaEntry(Record):
    """One RDMA device's handles and objects."""

    device: str
    handles: int
    objects: int


class Stats(Record):
    """All of it. `hugetlb` is by page size as the kernel spells it ("2MB")."""

    cpu: CpuStats = CpuStats()
    memory: MemoryStats = MemoryStats()
    pids: PidsStats = PidsStats()
    blkio: BlkioStats = BlkioStats()
    hugetlb: tuple[tuple[str, MemoryData], ...] = ()
    rdma_current: tuple[RdmaEntry, ...] = ()
    rdma_limit: tuple[RdmaEntry, ...] = ()
