"""`linux.resources` of the runtime-spec as writes to cgroup v1's files: pure.

Zero means «not given» where the specification's users (Docker, Podman) send zeros for it: only what is asked for is written.
What the kernel no longer has is passed over as runc does: `memory.kernel`, `memory.kernelTCP`, `memory.useHierarchy`.

Sources: runtime-spec config-linux «Control groups», the kernel's cgroup-v1/*.rst.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.devices import device_set, plan_list
from wherry.linux.cgroup.plan import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

LEAST_SHARES, MOST_SHARES = 2, 1 << 18  # the kernel's MIN_SHARES and MAX_SHARES


def plan_v1(resources: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps for a new cgroup (for one in use the devices differ: see `devices.plan_list`).

    Raises InvalidArgument for values that no kernel takes and for `unified`, which is v2's.
    """
    if resources.get("unified"):
        raise InvalidArgument("invalid configuration: cannot use unified on cgroup v1")
    return tuple(step for part in (_cpuset, _cpu, _memory, _pids, _block_io, _huge_pages, _network, _rdma)
                 for step in part(resources)) + plan_devices(resources)


def plan_devices(resources: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps for the devices of a new cgroup; none where no rule is given."""
    rules = resources.get("devices")
    return plan_list(device_set(rules)) if rules else ()


def _section(resources: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return resources.get(name) or {}


def _memory(resources: Mapping[str, Any]) -> Iterator[Step]:
    memory = _section(resources, "memory")
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if swap and limit > 0 and 0 < swap < limit:
        raise InvalidArgument(f"memory+swap limit should be >= memory limit ({swap} < {limit})")
    if limit:
        yield Step(controller="memory", file="memory.limit_in_bytes", value=str(limit), may_wait=True)
    # Without a limit of memory there is none of swap; on kernels without swap accounting the file is missing.
    if swap or limit == -1:
        yield Step(controller="memory", file="memory.memsw.limit_in_bytes", value=str(swap or -1), may_wait=True,
                   if_present=(swap or -1) == -1)
    if memory.get("reservation"):
        yield Step(controller="memory", file="memory.soft_limit_in_bytes", value=str(memory["reservation"]))
    swappiness = memory.get("swappiness")
    if swappiness is not None and swappiness not in (-1, 2**64 - 1):
        if not 0 <= swappiness <= 100:
            raise InvalidArgument(f"invalid memory swappiness value: {swappiness} (valid range is 0-100)")
        yield Step(controller="memory", file="memory.swappiness", value=str(swappiness))
    if memory.get("disableOOMKiller"):
        yield Step(controller="memory", file="memory.oom_control", value="1")


def _cpu(resources: Mapping[str, Any]) -> Iterator[Step]:
    cpu = _section(resources, "cpu")
    if shares := cpu.get("shares"):
        # The kernel would take the nearest that it knows, silently; runc reads it back and refuses.
        if shares < LEAST_SHARES:
            raise InvalidArgument(f"the minimum allowed cpu-shares is {LEAST_SHARES}")
        if shares > MOST_SHARES:
            raise InvalidArgument(f"the maximum allowed cpu-shares is {MOST_SHARES}")
    for key, file in (("shares", "cpu.shares"), ("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us"),
                      ("period", "cpu.cfs_period_us"), ("quota", "cpu.cfs_quota_us")):
        if cpu.get(key):
            yield Step(controller="cpu", file=file, value=str(cpu[key]), may_wait=key != "shares")
    for key, file in (("burst", "cpu.cfs_burst_us"), ("idle", "cpu.idle")):
        if cpu.get(key) is not None:
            yield Step(controller="cpu", file=file, value=str(cpu[key]), may_wait=key == "burst", if_present=not cpu[key])


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
    # The CFQ scheduler and its files ended with Linux 5.0; BFQ has its own.
    if io.get("weight"):
        weight = str(io["weight"])
        yield Step(controller="blkio", file="blkio.weight", value=weight, otherwise=("blkio.bfq.weight", weight))
    if io.get("leafWeight"):
        yield Step(controller="blkio", file="blkio.leaf_weight", value=str(io["leafWeight"]))
    for one in io.get("weightDevice") or ():
        device = f"{one['major']}:{one['minor']}"
        if one.get("weight"):
            value = f"{device} {one['weight']}"
            yield Step(controller="blkio", file="blkio.weight_device", value=value, otherwise=("blkio.bfq.weight_device", value))
        if one.get("leafWeight"):
            yield Step(controller="blkio", file="blkio.leaf_weight_device", value=f"{device} {one['leafWeight']}")
    for key, file in (("throttleReadBpsDevice", "read_bps_device"), ("throttleWriteBpsDevice", "write_bps_device"),
                      ("throttleReadIOPSDevice", "read_iops_device"), ("throttleWriteIOPSDevice", "write_iops_device")):
        for one in io.get(key) or ():
            yield Step(controller="blkio", file=f"blkio.throttle.{file}", value=f"{one['major']}:{one['minor']} {one['rate']}")


def _huge_pages(resources: Mapping[str, Any]) -> Iterator[Step]:
    for one in resources.get("hugepageLimits") or ():
        size, limit = one["pageSize"], str(one["limit"])
        yield Step(controller="hugetlb", file=f"hugetlb.{size}.limit_in_bytes", value=limit)
        yield Step(controller="hugetlb", file=f"hugetlb.{size}.rsvd.limit_in_bytes", value=limit, if_present=True)


def _network(resources: Mapping[str, Any]) -> Iterator[Step]:
    network = _section(resources, "network")
    if network.get("classID"):
        yield Step(controller="net_cls", file="net_cls.classid", value=str(network["classID"]))
    for one in network.get("priorities") or ():
        yield Step(controller="net_prio", file="net_prio.ifpriomap", value=f"{one['name']} {one['priority']}")


def _rdma(resources: Mapping[str, Any]) -> Iterator[Step]:
    yield from rdma_steps(resources)


def rdma_steps(resources: Mapping[str, Any]) -> Iterator[Step]:
    """`rdma.max`, the same in both versions."""
    for device, limit in _section(resources, "rdma").items():
        parts = [f"{name}={limit[key]}" for key, name in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
                 if limit.get(key) is not None]
        if parts:
            yield Step(controller="rdma", file="rdma.max", value=" ".join([device, *parts]))
