"""Who runs when and where: scheduler, I/O priority, memory policy and execution domain of the calling thread."""

from __future__ import annotations

import struct

from wherry.linux import syscall

_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_SHIFT = 13


def set_scheduler(policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int) -> None:
    """Policy and parameters of this thread; times in nanoseconds. man 2 sched_setattr, «struct sched_attr»."""
    attributes = struct.pack("IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period)
    syscall.call("sched_setattr", f"policy={policy} nice={nice} priority={priority}", 0, attributes, 0)


def set_io_priority(io_class: int, level: int) -> None:
    """Class (1 realtime, 2 best effort, 3 idle) and level (0 first … 7) of this thread's I/O. man 2 ioprio_set."""
    syscall.call("ioprio_set", f"class={io_class} level={level}", _IOPRIO_WHO_PROCESS, 0, io_class << _IOPRIO_CLASS_SHIFT | level)


def set_personality(domain: int) -> None:
    """The execution domain (PER_LINUX 0, PER_LINUX32 8), kept across exec. man 2 personality."""
    syscall.call("personality", f"{domain:#x}", domain)


def set_memory_policy(mode: int, nodes: frozenset[int]) -> None:
    """Where this thread's memory comes from: MPOL_… with its MPOL_F_… flags. man 2 set_mempolicy."""
    if not nodes:
        syscall.call("set_mempolicy", f"mode={mode:#x}", mode, None, 0)
        return
    words = max(nodes) // 64 + 1
    mask = sum(1 << node for node in nodes).to_bytes(words * 8, "little")
    # The kernel reads one bit less than it is told: maxnode counts from one.
    syscall.call("set_mempolicy", f"mode={mode:#x} nodes={sorted(nodes)}", mode, mask, words * 64 + 1)
