"""`linux.resources` but for the devices: what a HostConfig limits, in the runtime-spec's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.engine.model import Resources

_CPU_PERIOD_US = 100_000


def resources(host: Resources, numbers: Mapping[str, tuple[int, int]] | None = None) -> dict[str, Any]:
    """The limits of a container; zero and unset ones are left out, or are the zeros that every runtime takes for «unset».

    `numbers`: the block devices' numbers by path; without them (at an update) limits of devices are left out: they stay.
    """
    found: dict[str, Any] = {"memory": _memory(host), "cpu": _cpu(host), "blockIO": _block_io(host, numbers or {})}
    if host.pids_limit:
        found["pids"] = {"limit": host.pids_limit if host.pids_limit > 0 else -1}
    return found


def _memory(host: Resources) -> dict[str, Any]:
    memory: dict[str, Any] = {"disableOOMKiller": bool(host.oom_kill_disable)}
    # -1 for swap, «no limit», is what the kernel does without a word.
    sizes = {"limit": host.memory, "swap": host.memory_swap, "reservation": host.memory_reservation,
             "kernel": host.kernel_memory, "kernelTCP": host.kernel_memory_tcp}
    memory |= {key: value for key, value in sizes.items() if value > 0}
    if host.memory_swappiness is not None and host.memory_swappiness >= 0:
        memory["swappiness"] = host.memory_swappiness
    return memory


def _cpu(host: Resources) -> dict[str, Any]:
    cpu: dict[str, Any] = {"shares": host.cpu_shares}
    if host.nano_cpus > 0:
        cpu["period"] = _CPU_PERIOD_US
        cpu["quota"] = host.nano_cpus * _CPU_PERIOD_US // 1_000_000_000
    given = {"period": host.cpu_period, "quota": host.cpu_quota, "realtimePeriod": host.cpu_realtime_period,
             "realtimeRuntime": host.cpu_realtime_runtime, "cpus": host.cpuset_cpus, "mems": host.cpuset_mems}
    return cpu | {key: value for key, value in given.items() if value}


def _block_io(host: Resources, numbers: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    io: dict[str, Any] = {"weight": host.blkio_weight}
    weights = [{"major": numbers[one.path][0], "minor": numbers[one.path][1], "weight": one.weight}
               for one in host.blkio_weight_device or () if one.path in numbers]
    if weights:
        io["weightDevice"] = weights
    for key, limits in (("throttleReadBpsDevice", host.blkio_device_read_bps),
                        ("throttleWriteBpsDevice", host.blkio_device_write_bps),
                        ("throttleReadIOPSDevice", host.blkio_device_read_iops),
                        ("throttleWriteIOPSDevice", host.blkio_device_write_iops)):
        rates = [{"major": numbers[one.path][0], "minor": numbers[one.path][1], "rate": one.rate}
                 for one in limits or () if one.path in numbers]
        if rates:
            io[key] = rates
    return io
