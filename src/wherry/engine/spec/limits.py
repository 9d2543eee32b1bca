"""Limits of memory, CPU, tasks and block I/O, against what this kernel can do.

What makes no sense is refused, what the kernel cannot limit is dropped with a warning. The rules and words are dockerd's:
scripts match on them. `supported` drops, `check_limits` refuses and tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from wherry.engine.model import Resources
from wherry.engine.spec.facts import parse_list
from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from wherry.engine.spec.facts import Facts

AnyResources = TypeVar("AnyResources", bound=Resources)

_MEGABYTE = 1 << 20
_NO_OOM_KILLER = ("OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
                  "running out of resources.")
_CPU = 1_000_000_000  # NanoCpus of one


class _Drop(msgspec.Struct, frozen=True):
    """A limit that needs any of these control files (with a slash: controllers), else it is dropped with a warning."""

    fields: tuple[str, ...]
    any_of: tuple[str, ...]
    warning: str


_UNMOUNTED = "or the cgroup is not mounted."
_DROPS = (
    _Drop(("memory", "memory_swap"), ("memory/",),
          f"Your kernel does not support memory limit capabilities {_UNMOUNTED} Limitation discarded."),
    _Drop(("memory_swap",), ("memory.memsw.limit_in_bytes", "memory.swap.max"),
          f"Your kernel does not support swap limit capabilities {_UNMOUNTED} Memory limited without swap."),
    _Drop(("memory_swappiness",), ("memory.swappiness",),
          f"Your kernel does not support memory swappiness capabilities {_UNMOUNTED} Memory swappiness discarded."),
    _Drop(("memory_reservation",), ("memory.soft_limit_in_bytes", "memory.low"),
          f"Your kernel does not support memory soft limit capabilities {_UNMOUNTED} Limitation discarded."),
    _Drop(("kernel_memory",), ("memory.kmem.limit_in_bytes",),
          f"Your kernel does not support kernel memory limit capabilities {_UNMOUNTED} Limitation discarded."),
    _Drop(("kernel_memory_tcp",), ("memory.kmem.tcp.limit_in_bytes",),
          f"Your kernel does not support kernel memory TCP limit capabilities {_UNMOUNTED} Limitation discarded."),
    _Drop(("oom_kill_disable",), ("memory.oom_control",),
          "Your kernel does not support OomKillDisable. OomKillDisable discarded."),
    _Drop(("pids_limit",), ("pids/",),
          f"Your kernel does not support PIDs limit capabilities {_UNMOUNTED} PIDs limit discarded."),
    _Drop(("cpu_shares",), ("cpu/",), f"Your kernel does not support CPU shares {_UNMOUNTED} Shares discarded."),
    _Drop(("cpu_period", "cpu_quota"), ("cpu.cfs_quota_us", "cpu.max"),
          "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."),
    _Drop(("cpuset_cpus", "cpuset_mems"), ("cpuset/",), f"Your kernel does not support cpuset {_UNMOUNTED} Cpuset discarded."),
    _Drop(("blkio_weight",), ("blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"),
          f"Your kernel does not support Block I/O weight {_UNMOUNTED} Weight discarded."),
    _Drop(("blkio_weight_device",), ("blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"),
          f"Your kernel does not support Block I/O weight_device {_UNMOUNTED} Weight-device discarded."),
    *(_Drop((field,), ("blkio.throttle.read_bps_device", "io.max"), f"Your kernel does not support {text}")
      for field, text in (
          ("blkio_device_read_bps", f"BPS Block I/O read limit {_UNMOUNTED} Block I/O BPS read limit discarded."),
          ("blkio_device_write_bps", f"BPS Block I/O write limit {_UNMOUNTED} Block I/O BPS write limit discarded."),
          ("blkio_device_read_iops", f"IOPS Block read limit {_UNMOUNTED} Block I/O IOPS read limit discarded."),
          ("blkio_device_write_iops", f"IOPS Block write limit {_UNMOUNTED} Block I/O IOPS write limit discarded."))),
)


def supported(host: AnyResources, facts: Facts) -> tuple[AnyResources, tuple[str, ...]]:
    """A copy without what this machine cannot limit, and a warning for each thing dropped."""
    warnings = []
    changes: dict[str, Any] = {}
    for drop in _DROPS:
        if any(_has(facts, name) for name in drop.any_of):
            continue
        given = [name for name in drop.fields if name not in changes and _is_given(name, getattr(host, name))]
        if given:
            warnings.append(drop.warning)
            changes |= {name: _NOTHING.get(name, type(getattr(host, name))()) for name in given}
    return (replace(host, **changes) if changes else host), tuple(warnings)


# What «not given» is for the fields where it is not zero; swap without a limit is written as -1.
_NOTHING: dict[str, Any] = {"memory_swap": -1, "memory_swappiness": None, "oom_kill_disable": None, "pids_limit": None}


def _has(facts: Facts, name: str) -> bool:
    return name[:-1] in facts.controllers if name.endswith("/") else name in facts.files


def _is_given(name: str, value: Any) -> bool:
    if name in ("memory_swap", "memory_swappiness", "pids_limit"):
        return value is not None and value > 0
    return bool(value)


def check_limits(host: Resources, facts: Facts) -> tuple[str, ...]:
    """Raises InvalidArgument in dockerd's words for the first limit that makes no sense; gives the warnings."""
    left, warnings = supported(host, facts)
    extra: list[str] = []
    for check in (_memory, _kernel_memory, _cpu, _real_time, _cpuset, _block_io):
        extra += check(left, facts)
    if host.kernel_memory > 0:
        extra.append("Specifying a kernel memory limit is deprecated and will be removed in a future release.")
    return (*warnings, *extra)


def _memory(host: Resources, _: Facts) -> list[str]:
    limit, swap, reservation = host.memory, host.memory_swap, host.memory_reservation
    if limit != 0 and limit < 6 * _MEGABYTE:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if limit > 0 and 0 < swap < limit:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if limit == 0 and swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if host.memory_swappiness is not None and not -1 <= host.memory_swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {host.memory_swappiness}, valid memory swappiness range is 0-100")
    if 0 < reservation < 6 * _MEGABYTE:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if limit > 0 and limit < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.oom_kill_disable and limit == 0:
        return [_NO_OOM_KILLER]
    return []


def _kernel_memory(host: Resources, _: Facts) -> list[str]:
    if 0 < host.kernel_memory < 4 * _MEGABYTE:
        raise InvalidArgument("Minimum kernel memory limit allowed is 4MB")
    return []


def _cpu(host: Resources, facts: Facts) -> list[str]:
    count = len(facts.cpus)
    if host.nano_cpus > 0 and host.cpu_period > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.nano_cpus > 0 and host.cpu_quota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if host.nano_cpus > 0 and not facts.files & {"cpu.cfs_quota_us", "cpu.max"}:
        raise InvalidArgument(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted")
    # The quota is counted in periods of 100 ms, and the kernel takes none below 1 ms.
    if host.nano_cpus < 0 or 0 < host.nano_cpus < _CPU // 100 or host.nano_cpus > count * _CPU:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host.cpu_period != 0 and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if host.cpu_shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer")
    return []


def _real_time(host: Resources, facts: Facts) -> list[str]:
    asked = host.cpu_realtime_period != 0 or host.cpu_realtime_runtime != 0
    if asked and "cpu.rt_runtime_us" not in facts.files:
        raise InvalidArgument("Your kernel does not support CPU real-time scheduler")
    if host.cpu_realtime_period < 0 or host.cpu_realtime_runtime < 0:
        raise InvalidArgument("cpu real-time period and runtime must not be negative")
    if host.cpu_realtime_period and host.cpu_realtime_runtime > host.cpu_realtime_period:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")
    return []


def _cpuset(host: Resources, facts: Facts) -> list[str]:
    for text, have, word, thing in ((host.cpuset_cpus, facts.cpus, "cpus", "CPUs"),
                                    (host.cpuset_mems, facts.memory_nodes, "mems", "memory nodes")):
        try:
            wanted = parse_list(text)
        except ValueError as error:
            raise InvalidArgument(f"Invalid value {text} for cpuset {word}: {error}") from None
        if not set(wanted) <= set(have):
            raise InvalidArgument(f"Requested {thing} are not available - requested {text}, available: {_ranges(have)}")
    return []


def _ranges(numbers: tuple[int, ...]) -> str:
    """Numbers as the kernel lists them: `0-3,8`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _block_io(host: Resources, _: Facts) -> list[str]:
    if host.blkio_weight and not 10 <= host.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    for one in host.blkio_weight_device or ():
        if not 10 <= one.weight <= 1000:
            raise InvalidArgument(f"Range of blkio weight is from 10 to 1000: {one.path}")
    return []
