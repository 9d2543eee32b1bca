"""What create refuses, in the words that dockerd 20.10 said when it was asked, and what it only warns of."""

from __future__ import annotations

import pytest

from wherry.engine.model import (
    ContainerConfig,
    DeviceMapping,
    DeviceRequest,
    HealthConfig,
    HostConfig,
    LogConfig,
    Ulimit,
    WeightDevice,
)
from wherry.engine.spec.capabilities import EVERY
from wherry.engine.spec.check import check_create
from wherry.engine.spec.defaults import adapt
from wherry.engine.spec.facts import Facts, parse_list
from wherry.errors import InvalidArgument, Unsupported

FILES = frozenset({"memory.memsw.limit_in_bytes", "memory.swappiness", "memory.oom_control", "memory.soft_limit_in_bytes",
                   "cpu.cfs_quota_us", "blkio.throttle.read_bps_device"})
FACTS = Facts(files=FILES, cpus=(0, 1), capabilities=tuple(name for name in EVERY if name != "CAP_SYS_RESOURCE"),
              hard_limits={"nofile": 1000})
MB = 1 << 20


def check(config=None, host=None, facts=FACTS):
    return check_create(ContainerConfig(**(config or {})), HostConfig(**(host or {})), None, facts)


REFUSED = [
    ({}, {"cap_add": ("NONSENSE",)}, 'invalid CapAdd: unknown capability: "CAP_NONSENSE"'),
    ({"hostname": "x"}, {"uts_mode": "host"}, "conflicting options: hostname and the UTS mode"),
    ({}, {"security_opt": ("nonsense=1",)}, 'invalid --security-opt 2: "nonsense=1"'),
    ({}, {"security_opt": ("nonsense",)}, 'invalid --security-opt 1: "nonsense"'),
    ({}, {"memory": 5 * MB}, "Minimum memory limit allowed is 6MB"),
    ({}, {"memory": 64 * MB, "memory_swap": 32 * MB}, "Minimum memoryswap limit should be larger than memory limit, see usage"),
    ({}, {"memory_swap": 64 * MB}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    ({}, {"memory": 64 * MB, "memory_reservation": 128 * MB},
     "Minimum memory limit can not be less than memory reservation limit, see usage"),
    ({}, {"memory_reservation": MB}, "Minimum memory reservation allowed is 6MB"),
    ({}, {"memory_swappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
    ({}, {"oom_score_adj": 5000}, "Invalid value 5000, range for oom score adj is [-1000, 1000]"),
    ({}, {"nano_cpus": 64 * 10**9}, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
    ({}, {"nano_cpus": 10**9, "cpu_period": 1000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    ({}, {"cpu_period": 10}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    ({}, {"cpu_quota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ({}, {"cpu_realtime_runtime": 10}, "Your kernel does not support CPU real-time scheduler"),
    ({}, {"cpuset_cpus": "0-99"}, "Requested CPUs are not available - requested 0-99, available: 0-1"),
    ({}, {"cpuset_cpus": "xx"}, "Invalid value xx for cpuset cpus: invalid format: xx"),
    ({}, {"cpuset_mems": "7"}, "Requested memory nodes are not available - requested 7, available: 0"),
    ({"working_dir": "rel"}, {}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
    ({}, {"storage_opt": {"size": "1G"}}, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
    ({}, {"isolation": "hyperv"}, "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
    ({}, {"device_requests": (DeviceRequest(count=-1, capabilities=(("gpu",),)),)},
     'could not select device driver "" with capabilities: [[gpu]]'),
    ({}, {"sysctls": {"net.ipv4.ip_forward": "1"}, "network_mode": "host"},
     'sysctl "net.ipv4.ip_forward" not allowed in host network namespace'),
    ({}, {"sysctls": {"kernel.shmmax": "1"}, "ipc_mode": "host"}, 'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace'),
    ({}, {"sysctls": {"vm.swappiness": "1"}}, 'sysctl "vm.swappiness" is not in a separate kernel namespace'),
    ({}, {"ipc_mode": "nonsense"}, "invalid IPC mode: nonsense"),
    ({}, {"pid_mode": "nonsense"}, "invalid PID mode: nonsense"),
    ({}, {"userns_mode": "nonsense"}, "invalid userns mode: nonsense"),
    ({}, {"ulimits": (Ulimit(name="nofile", soft=200, hard=100),)},
     "ulimit soft limit must be less than or equal to hard limit: 200 > 100"),
    ({}, {"ulimits": (Ulimit(name="nofile", soft=1, hard=2000),)},
     ("ulimit nofile: the hard limit 2000 is above the daemon's own hard limit 1000, and this machine does not let it be raised "
     "(CAP_SYS_RESOURCE)")),
    ({}, {"ulimits": (Ulimit(name="spoons", soft=1, hard=2),)}, "invalid ulimit type: spoons"),
    ({}, {"device_cgroup_rules": ("c 1",)}, "invalid device cgroup rule format: 'c 1'"),
    ({}, {"devices": (DeviceMapping(path_on_host="/dev/x", cgroup_permissions="q"),)}, "invalid device mode: q"),
    ({}, {"security_opt": ("apparmor=mine",)},
     "--security-opt apparmor=mine: AppArmor is not enabled on this machine"),
    ({}, {"security_opt": ("label=type:x_t",)}, "--security-opt label=type:x_t: SELinux is not enabled on this machine"),
    ({}, {"cpu_count": 1}, "HostConfig.CpuCount is not supported"),
    ({}, {"shm_size": -1}, "SHM size can not be less than 0"),
    ({}, {"tmpfs": {"/x": "nonsense"}}, 'invalid tmpfs option ["nonsense"]'),
    ({"hostname": "x"}, {"network_mode": "container:y"}, "conflicting options: hostname and the network mode"),
    ({}, {"network_mode": "container:y", "publish_all_ports": True},
     "conflicting options: port publishing and the container type network mode"),
    ({"healthcheck": HealthConfig(interval=5)}, {}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"env": ("=x",)}, {}, "invalid environment variable: =x"),
    ({"stop_signal": "SIGNONSENSE"}, {}, "Invalid signal: SIGNONSENSE"),
]


@pytest.mark.parametrize(("config", "host", "message"), REFUSED)
def test_refused(config, host, message):
    with pytest.raises((InvalidArgument, Unsupported)) as refused:
        check(config, host)
    assert refused.value.message == message


@pytest.mark.parametrize(("host", "warning"), [
    ({"blkio_weight": 5}, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."),
    ({"oom_kill_disable": True}, ("OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
                                 "running out of resources.")),
    ({"kernel_memory": 32 * MB},
     "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded."),
    ({"blkio_weight_device": (WeightDevice(path="/dev/x", weight=1),)},
     "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."),
])
def test_warnings(host, warning):
    assert warning in check(host=host)


def test_what_is_warned_of_is_dropped():
    host = adapt(HostConfig(blkio_weight=5, kernel_memory=32 * MB, memory=64 * MB), FACTS)
    assert (host.blkio_weight, host.kernel_memory, host.memory, host.memory_swap) == (0, 0, 64 * MB, 128 * MB)
    bare = adapt(HostConfig(memory=64 * MB, pids_limit=5), Facts(files=frozenset(), controllers=frozenset()))
    assert (bare.memory, bare.pids_limit) == (0, None)


def test_defaults_as_dockerd_fills_them_in():
    host = adapt(HostConfig(pids_limit=-1, memory_swappiness=-1), FACTS, log=LogConfig(type="json-file", config={}))
    assert (host.shm_size, host.ipc_mode, host.cgroupns_mode, host.network_mode) == (64 * MB, "private", "host", "default")
    assert (host.pids_limit, host.memory_swappiness, host.oom_kill_disable) == (None, None, False)
    assert host.restart_policy.name == "no"
    assert host.log_config.type == "json-file"
    assert "/proc/kcore" in host.masked_paths
    assert adapt(HostConfig(privileged=True), FACTS).masked_paths is None
    on_v2 = adapt(HostConfig(oom_kill_disable=False), Facts(cgroup_version="v2"))
    assert (on_v2.cgroupns_mode, on_v2.oom_kill_disable) == ("private", None)


def test_lists_of_numbers():
    assert parse_list("0-2,7\n") == (0, 1, 2, 7)
    assert parse_list("") == ()
    for bad in ("x", "1-", "-1", "3-1", "1,,2"):
        with pytest.raises(ValueError, match="invalid format"):
            parse_list(bad)
