"""`linux.resources` of the runtime-spec as writes to cgroup v2's files: pure.

The specification counts as v1 does; the conversions to v2's units are those that every runtime makes, so that the same
container has the same limits whoever starts it. v2 has no word for `memory.swappiness` and `memory.disableOOMKiller`: these do
nothing there, as with runc and crun. Devices are not files on v2: see `bpf.py`.

Sources: runtime-spec config-linux «Control groups» and «Unified», the kernel's cgroup-v2.rst.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.plan import Step
from wherry.linux.cgroup.plan_v1 import rdma_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

DEFAULT_PERIOD_US = 100000


def plan_v2(resources: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps, in order; files named in `unified` come last, so they win.

    Raises InvalidArgument for values that no kernel takes and for limits that v2 does not have (real-time CPU, network classes).
    """
    return tuple(step for part in (_cpuset, _cpu, _memory, _pids, _block_io, _huge_pages, rdma_steps, _refused, _unified)
                 for step in part(resources))


def weight_from_shares(shares: int) -> int:
    """`cpu.weight` (1 to 10000) for v1's `cpu.shares` (2 to 262144); 0 stays 0."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142 if shares else 0


def io_weight_from_blkio(weight: int) -> int:
    """`io.weight` (1 to 10000) for v1's `blkio.weight` (10 to 1000); 0 stays 0."""
    return 1 + (weight - 10) * 9999 // 990 if weight else 0


def swap_alone(swap: int, memory: int) -> int | None:
    """`memory.swap.max` (-1: no limit) for v1's sum of memory and swap; None where nothing is asked for."""
    if memory == -1 and swap == 0:
        return -1
    if swap == 0:
        return None
    if swap == -1:
        return -1
    if memory in (0, -1):
        raise InvalidArgument("unable to set swap limit without memory limit")
    if memory < 0 or swap < 0:
        raise InvalidArgument(f"invalid memory or swap limit: {memory}, {swap}")
    if swap < memory:
        raise InvalidArgument("memory+swap limit should be >= memory limit")
    return swap - memory


def _section(resources: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return resources.get(name) or {}


def _number(value: int) -> str:
    return "max" if value == -1 else str(value)


def _memory(resources: Mapping[str, Any]) -> Iterator[Step]:
    memory = _section(resources, "memory")
    limit = memory.get("limit") or 0
    swap = swap_alone(memory.get("swap") or 0, limit)
    if swap is not None:
        # Without CONFIG_SWAP the file is missing, which means no swap at all.
        yield Step(controller="memory", file="memory.swap.max", value=_number(swap), if_present=swap in (-1, 0))
    if limit:
        yield Step(controller="memory", file="memory.max", value=_number(limit))
    if memory.get("reservation"):
        yield Step(controller="memory", file="memory.low", value=_number(memory["reservation"]))


def _cpu(resources: Mapping[str, Any]) -> Iterator[Step]:
    cpu = _section(resources, "cpu")
    if cpu.get("shares"):
        yield Step(controller="cpu", file="cpu.weight", value=str(weight_from_shares(cpu["shares"])))
    if cpu.get("idle") is not None:
        yield Step(controller="cpu", file="cpu.idle", value=str(cpu["idle"]), if_present=not cpu["idle"])
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if cpu.get("burst") is not None:
        yield Step(controller="cpu", file="cpu.max.burst", value=str(cpu["burst"]), may_wait=True, if_present=not cpu["burst"])
    if quota or period:
        value = f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD_US}"
        yield Step(controller="cpu", file="cpu.max", value=value, may_wait=True)


def _cpuset(resources: Mapping[str, Any]) -> Iterator[Step]:
    cpu = _section(resources, "cpu")
    for key, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if cpu.get(key):
            yield Step(controller="cpuset", file=file, value=cpu[key])


def _pids(resources: Mapping[str, Any]) -> Iterator[Step]:
    if limit := _section(resources, "pids").get("limit"):
        yield Step(controller="pids", file="pids.max", value=str(limit) if limit > 0 else "max")


def _block_io(resources: Mapping[str, Any]) -> Iterator[Step]:
    io = _section(resources, "blockIO")
    if weight := io.get("weight"):
        yield Step(controller="io", file="io.bfq.weight", value=str(weight),
                   otherwise=("io.weight", f"default {io_weight_from_blkio(weight)}"))
    for one in io.get("weightDevice") or ():
        if one.get("weight"):
            device = f"{one['major']}:{one['minor']}"
            yield Step(controller="io", file="io.bfq.weight", value=f"{device} {one['weight']}",
                       otherwise=("io.weight", f"{device} {io_weight_from_blkio(one['weight'])}"))
    for key, name in (("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
                      ("throttleReadIOPSDevice", "riops"), ("throttleWriteIOPSDevice", "wiops")):
        for one in io.get(key) or ():
            # v1 says «no limit» with zero.
            rate = one["rate"] or "max"
            yield Step(controller="io", file="io.max", value=f"{one['major']}:{one['minor']} {name}={rate}")


def _huge_pages(resources: Mapping[str, Any]) -> Iterator[Step]:
    for one in resources.get("hugepageLimits") or ():
        size, limit = one["pageSize"], str(one["limit"])
        yield Step(controller="hugetlb", file=f"hugetlb.{size}.max", value=limit)
        yield Step(controller="hugetlb", file=f"hugetlb.{size}.rsvd.max", value=limit, if_present=True)


def _refused(resources: Mapping[str, Any]) -> Iterator[Step]:
    cpu, network = _section(resources, "cpu"), _section(resources, "network")
    for given, name in ((cpu.get("realtimeRuntime"), "cpu.realtimeRuntime"), (cpu.get("realtimePeriod"), "cpu.realtimePeriod"),
                        (network.get("classID"), "network.classID"), (network.get("priorities"), "network.priorities")):
        if given:
            raise InvalidArgument(f"cannot set {name}: cgroup v2 does not have it")
    return iter(())


def _unified(resources: Mapping[str, Any]) -> Iterator[Step]:
    for file, value in (resources.get("unified") or {}).items():
        if "/" in file or "." not in file:
            raise InvalidArgument(f'unified resource "{file}" must be a file name (no slashes)')
        yield Step(controller=file.split(".", 1)[0], file=file, value=value)
