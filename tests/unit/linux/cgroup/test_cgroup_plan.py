"""Limits of the runtime-spec as writes to control files, both versions."""

from __future__ import annotations

import pytest

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.plan import Step, apply
from wherry.linux.cgroup.plan_v1 import plan_v1
from wherry.linux.cgroup.plan_v2 import io_weight_from_blkio, plan_v2, swap_alone, weight_from_shares


def lines(steps):
    return [str(step) for step in steps]


V1 = [
    ({}, []),
    # What dockerd writes for «nothing asked for».
    ({"memory": {"disableOOMKiller": False}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}}, []),
    ({"memory": {"limit": 64 << 20, "swap": 128 << 20}},
     ["memory.limit_in_bytes = 67108864", "memory.memsw.limit_in_bytes = 134217728"]),
    ({"memory": {"limit": -1}}, ["memory.limit_in_bytes = -1", "memory.memsw.limit_in_bytes = -1"]),
    ({"memory": {"limit": 10, "reservation": 5, "swappiness": 0, "disableOOMKiller": True, "kernel": 7, "kernelTCP": 8}},
     ["memory.limit_in_bytes = 10", "memory.soft_limit_in_bytes = 5", "memory.swappiness = 0", "memory.oom_control = 1"]),
    ({"cpu": {"shares": 512, "period": 50000, "quota": 25000, "burst": 100, "idle": 1}},
     ["cpu.shares = 512", "cpu.cfs_period_us = 50000", "cpu.cfs_quota_us = 25000", "cpu.cfs_burst_us = 100", "cpu.idle = 1"]),
    ({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 10000}}, ["cpu.rt_period_us = 10000", "cpu.rt_runtime_us = 1000"]),
    ({"cpu": {"cpus": "0-1", "mems": "0"}}, ["cpuset.cpus = 0-1", "cpuset.mems = 0"]),
    ({"pids": {"limit": 50}}, ["pids.max = 50"]),
    ({"pids": {"limit": -1}}, ["pids.max = max"]),
    ({"pids": {"limit": 0}}, []),
    ({"blockIO": {"weight": 300, "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
                  "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1024}],
                  "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 10}]}},
     ["blkio.weight = 300", "blkio.weight_device = 8:0 100", "blkio.throttle.read_bps_device = 8:0 1024",
      "blkio.throttle.write_iops_device = 8:16 10"]),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]},
     ["hugetlb.2MB.limit_in_bytes = 4096", "hugetlb.2MB.rsvd.limit_in_bytes = 4096"]),
    ({"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}},
     ["net_cls.classid = 1048577", "net_prio.ifpriomap = eth0 5"]),
    ({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 0}}}, ["rdma.max = mlx5_1 hca_handle=3 hca_object=0"]),
    ({"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "mrw"}]},
     ["devices.deny = a", "devices.allow = c 1:3 rwm"]),
]


@pytest.mark.parametrize(("resources", "expected"), V1)
def test_v1(resources, expected):
    assert lines(plan_v1(resources)) == expected


V2 = [
    ({}, []),
    ({"memory": {"disableOOMKiller": False}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}}, []),
    ({"memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 5}},
     ["memory.swap.max = 67108864", "memory.max = 67108864", "memory.low = 5"]),
    ({"memory": {"limit": 10, "swap": 10}}, ["memory.swap.max = 0", "memory.max = 10"]),
    ({"memory": {"limit": -1}}, ["memory.swap.max = max", "memory.max = max"]),
    ({"memory": {"limit": 10}}, ["memory.max = 10"]),
    ({"cpu": {"shares": 1024}}, ["cpu.weight = 39"]),
    ({"cpu": {"period": 50000, "quota": 25000}}, ["cpu.max = 25000 50000"]),
    ({"cpu": {"quota": -1}}, ["cpu.max = max 100000"]),
    ({"cpu": {"period": 5000}}, ["cpu.max = max 5000"]),
    ({"cpu": {"burst": 5, "idle": 1, "cpus": "0", "mems": "0"}},
     ["cpuset.cpus = 0", "cpuset.mems = 0", "cpu.idle = 1", "cpu.max.burst = 5"]),
    ({"pids": {"limit": -1}}, ["pids.max = max"]),
    ({"blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}],
                  "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
     ["io.bfq.weight = 10", "io.max = 8:0 rbps=7", "io.max = 8:0 wiops=max"]),
    ({"hugepageLimits": [{"pageSize": "1GB", "limit": 1}]}, ["hugetlb.1GB.max = 1", "hugetlb.1GB.rsvd.max = 1"]),
    ({"unified": {"memory.high": "1000", "pids.max": "5"}}, ["memory.high = 1000", "pids.max = 5"]),
]


@pytest.mark.parametrize(("resources", "expected"), V2)
def test_v2(resources, expected):
    assert lines(plan_v2(resources)) == expected


def test_conversions_at_their_ends():
    assert [weight_from_shares(shares) for shares in (0, 2, 1024, 262144)] == [0, 1, 39, 10000]
    assert [io_weight_from_blkio(weight) for weight in (0, 10, 500, 1000)] == [0, 1, 4950, 10000]
    assert [swap_alone(*pair) for pair in ((0, 0), (-1, 5), (0, -1), (9, 5))] == [None, -1, -1, 4]


@pytest.mark.parametrize(("plan", "resources", "message"), [
    (plan_v1, {"unified": {"memory.high": "1"}}, "cannot use unified on cgroup v1"),
    (plan_v1, {"memory": {"swappiness": 101}}, "valid range is 0-100"),
    (plan_v1, {"memory": {"limit": 10, "swap": 5}}, "memory\\+swap limit should be >= memory limit"),
    (plan_v1, {"cpu": {"shares": 1}}, "the minimum allowed cpu-shares is 2"),
    (plan_v1, {"cpu": {"shares": (1 << 18) + 1}}, "the maximum allowed cpu-shares is 262144"),
    (plan_v2, {"memory": {"swap": 5}}, "unable to set swap limit without memory limit"),
    (plan_v2, {"memory": {"limit": 10, "swap": 5}}, "memory\\+swap limit should be >= memory limit"),
    (plan_v2, {"cpu": {"realtimeRuntime": 5}}, "cpu.realtimeRuntime"),
    (plan_v2, {"network": {"classID": 5}}, "network.classID"),
    (plan_v2, {"unified": {"../memory.high": "1"}}, "no slashes"),
    (plan_v1, {"devices": [{"allow": True, "type": "x", "access": "r"}]}, "invalid cgroup device type"),
])
def test_impossible_limits_are_refused(plan, resources, message):
    with pytest.raises(InvalidArgument, match=message):
        plan(resources)


def test_a_step_that_has_to_wait_is_tried_after_the_others(tmp_path, monkeypatch):
    """The kernel compares a limit of memory with that of swap: which has to be raised first depends on what is there."""
    written = []

    def write(path, value):
        written.append((path, value))
        if written.count((path, value)) == 1 and path.endswith("first"):
            raise OSError(22, "Invalid argument", path)

    monkeypatch.setattr("wherry.linux.cgroup.plan.write_file", write)
    steps = [Step(controller="m", file="first", value="1", may_wait=True), Step(controller="m", file="second", value="2")]
    apply(steps, {"m": "x"}.get)
    assert written == [("x/first", "1"), ("x/second", "2"), ("x/first", "1")]


def test_apply_falls_back_passes_over_and_refuses(tmp_path):
    (tmp_path / "blkio.bfq.weight").write_text("")
    apply([Step(controller="blkio", file="blkio.weight", value="5", otherwise=("blkio.bfq.weight", "6")),
           Step(controller="blkio", file="nothing", value="7", if_present=True),
           Step(controller="other", file="nothing", value="7", if_present=True)], {"blkio": str(tmp_path)}.get)
    assert (tmp_path / "blkio.bfq.weight").read_text() == "6"
    with pytest.raises(FileNotFoundError, match="nothing"):
        apply([Step(controller="blkio", file="nothing", value="7")], {"blkio": str(tmp_path)}.get)
    with pytest.raises(InvalidArgument, match="cannot set hugetlb limit: container could not join or create cgroup"):
        apply([Step(controller="hugetlb", file="x", value="7")], {}.get)
