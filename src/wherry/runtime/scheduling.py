"""How the container's program is scheduled: «scheduler», «ioPriority», «personality», «memoryPolicy». Plan, then apply."""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux import scheduling as kernel
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.oci.runtime import IOPriority, MemoryPolicy, Process, Scheduler

# include/uapi/linux/sched.h, ioprio.h, personality.h, mempolicy.h
_POLICIES = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
             "SCHED_DEADLINE": 6}
_SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x1, "SCHED_FLAG_RECLAIM": 0x2, "SCHED_FLAG_DL_OVERRUN": 0x4, "SCHED_FLAG_KEEP_POLICY": 0x8,
    "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_DOMAINS = {"LINUX": 0, "PER_LINUX": 0, "LINUX32": 8, "PER_LINUX32": 8}
_MEMORY_MODES = {"MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
                 "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6}
_MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
_MOST = 8192  # processors and nodes that a kernel can have


class Scheduling(Record):
    """Numbers for the kernel; None: as the caller has it.

    `scheduler`: policy, flags, nice, priority, runtime, deadline, period. `io_priority`: class, level. `memory`: mode with
    flags, nodes.
    """

    scheduler: tuple[int, int, int, int, int, int, int] | None = None
    io_priority: tuple[int, int] | None = None
    personality: int | None = None
    memory: tuple[int, frozenset[int]] | None = None


def plan(process: Process, personality: int | None, memory: MemoryPolicy | None = None) -> Scheduling:
    """What a process is to have, in a domain that is known already. InvalidArgument for what makes no sense."""
    return Scheduling(
        scheduler=plan_scheduler(process.scheduler) if process.scheduler else None,
        io_priority=plan_io_priority(process.io_priority) if process.io_priority else None,
        personality=personality,
        memory=plan_memory(memory) if memory else None)


def plan_scheduler(given: Scheduler) -> tuple[int, int, int, int, int, int, int]:
    """InvalidArgument for what the policy cannot have, as runc says it."""
    policy = given.policy
    if not policy:
        raise InvalidArgument("scheduler policy is required")
    if policy not in _POLICIES:
        raise InvalidArgument(f"invalid scheduler policy: {policy}")
    if not -20 <= given.nice <= 19:
        raise InvalidArgument(f"invalid scheduler.nice: {given.nice}")
    if given.priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        raise InvalidArgument("scheduler.priority can only be specified for SchedFIFO or SchedRR policy")
    if policy != "SCHED_DEADLINE" and (given.runtime or given.deadline or given.period):
        raise InvalidArgument("scheduler runtime/deadline/period can only be specified for SchedDeadline policy")
    flags = 0
    for flag in given.flags:
        if flag not in _SCHEDULER_FLAGS:
            raise InvalidArgument(f"invalid scheduler flag: {flag}")
        flags |= _SCHEDULER_FLAGS[flag]
    return _POLICIES[policy], flags, given.nice, given.priority, given.runtime, given.deadline, given.period


def plan_io_priority(given: IOPriority) -> tuple[int, int]:
    """(class, level). InvalidArgument for others than there are."""
    if not 0 <= given.priority <= 7:
        raise InvalidArgument(f"invalid ioPriority.Priority: {given.priority}")
    if given.io_class not in _IO_CLASSES:
        raise InvalidArgument(f'invalid ioPriority.Class: "{given.io_class}"')
    return _IO_CLASSES[given.io_class], given.priority


def plan_personality(domain: str, flags: tuple[str, ...]) -> int:
    """The execution domain. InvalidArgument for one that the specification does not name, and for flags: it defines none."""
    if domain not in _DOMAINS:
        raise InvalidArgument(f'invalid personality domain "{domain}"')
    if flags:
        raise InvalidArgument(f"invalid personality flag: {flags[0]}")
    return _DOMAINS[domain]


def plan_memory(given: MemoryPolicy) -> tuple[int, frozenset[int]]:
    """(mode with flags, nodes). InvalidArgument for unknown words; what the nodes mean is the kernel's to judge."""
    if given.mode not in _MEMORY_MODES:
        raise InvalidArgument(f'invalid memory policy mode "{given.mode}"')
    mode = _MEMORY_MODES[given.mode]
    for flag in given.flags:
        if flag not in _MEMORY_FLAGS:
            raise InvalidArgument(f'invalid memory policy flag "{flag}"')
        mode |= _MEMORY_FLAGS[flag]
    return mode, parse_list(given.nodes)


def parse_list(text: str) -> frozenset[int]:
    """The numbers of «0-3,7», the format of cpuset(7). InvalidArgument for anything else."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not part.strip() and len(text.split(",")) == 1:
            break
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidArgument(f'invalid list "{text}"')
        start, end = int(first), int(last if dash else first)
        if end < start or end >= _MOST:
            raise InvalidArgument(f'invalid list "{text}"')
        found.update(range(start, end + 1))
    return frozenset(found)


def apply(plan: Scheduling) -> None:
    """For this thread and what it executes. While the process has its rights: a lower nice value needs CAP_SYS_NICE."""
    if plan.personality is not None:
        _do("unable to set personality", lambda: kernel.set_personality(plan.personality or 0))
    if plan.scheduler is not None:
        values = plan.scheduler
        _do("error setting scheduler", lambda: kernel.set_scheduler(*values))
    if plan.io_priority is not None:
        io_class, level = plan.io_priority
        _do("failed to set io priority", lambda: kernel.set_io_priority(io_class, level))
    if plan.memory is not None:
        mode, nodes = plan.memory
        _do("failed to set memory policy", lambda: kernel.set_memory_policy(mode, nodes))


def _do(what: str, step: Callable[[], None]) -> None:
    try:
        step()
    except OSError as error:
        raise OSError(error.errno, f"{what}: {(error.strerror or '').lower()}") from error
