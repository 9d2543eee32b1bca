"""Every field of ContainerConfig and HostConfig does something, or is refused by name: none is read and forgotten.

A field that is not zero must change the OCI config, or be refused by `check_create`, or be used by the room that is named here;
of that one the text is searched, so a name that goes stale fails.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields, replace

import wherry.engine
from wherry.engine import model
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.engine.spec.capabilities import EVERY
from wherry.engine.spec.check import check_create
from wherry.engine.spec.config import oci_config
from wherry.engine.spec.devices import Device, Found
from wherry.engine.spec.facts import Facts
from wherry.engine.spec.places import Places, User
from wherry.errors import InvalidArgument, Unsupported

ENGINE = Path(wherry.engine.__file__).parent
FILES = frozenset({"memory.memsw.limit_in_bytes", "memory.swappiness", "memory.oom_control", "memory.kmem.limit_in_bytes",
                   "memory.kmem.tcp.limit_in_bytes", "memory.soft_limit_in_bytes", "cpu.cfs_quota_us", "cpu.rt_runtime_us",
                   "blkio.weight", "blkio.throttle.read_bps_device"})
FACTS = Facts(files=FILES, capabilities=EVERY, cpus=tuple(range(64)), memory_nodes=(0, 1))
DISK = "/dev/disk"
FOUND = Found(devices=(), numbers={DISK: (8, 0)})
CONFIG = ContainerConfig(cmd=("sh",))
HOST = HostConfig(network_mode="bridge", ipc_mode="private", cgroupns_mode="host", shm_size=1 << 20)
BIG = 1 << 30
THROTTLE = (model.ThrottleDevice(path=DISK, rate=5),)

# field → a value that is not zero, and what else must be set for it to make sense
CONFIG_SAMPLES = {
    "hostname": "box", "domainname": "example.org", "tty": True, "env": ("A=1",), "cmd": ("other",), "working_dir": "/w",
    "entrypoint": ("/bin/x",),
}
HOST_SAMPLES = {
    "cpu_shares": 5, "memory": BIG, "nano_cpus": 10**9, "blkio_weight": 20, "cpu_period": 5000, "cpu_quota": 5000,
    "cpu_realtime_period": 5000, "cpu_realtime_runtime": 50, "cpuset_cpus": "0", "cpuset_mems": "1", "kernel_memory": BIG,
    "kernel_memory_tcp": BIG, "memory_reservation": BIG, "memory_swap": 2 * BIG, "memory_swappiness": 5, "oom_kill_disable": True,
    "pids_limit": 5, "cpu_count": 1, "cpu_percent": 1, "io_maximum_iops": 1, "io_maximum_bandwidth": 1, "cgroup": "x",
    "blkio_weight_device": (model.WeightDevice(path=DISK, weight=20),), "blkio_device_read_bps": THROTTLE,
    "blkio_device_write_bps": THROTTLE, "blkio_device_read_iops": THROTTLE, "blkio_device_write_iops": THROTTLE,
    "device_cgroup_rules": ("c 42:* r",), "device_requests": (model.DeviceRequest(count=1),),
    "ulimits": (model.Ulimit(name="nofile", soft=1, hard=2),), "console_size": (1, 2), "annotations": {"a": "b"},
    "cap_add": ("NET_ADMIN",), "cap_drop": ("KILL",), "cgroupns_mode": "private", "ipc_mode": "none", "oom_score_adj": 5,
    "pid_mode": "host", "privileged": True, "readonly_rootfs": True, "security_opt": ("no-new-privileges",),
    "tmpfs": {"/t": ""}, "uts_mode": "host", "shm_size": 5, "sysctls": {"net.ipv4.ip_forward": "1"}, "links": ("a:b",),
    "masked_paths": (), "readonly_paths": (), "init": True, "network_mode": "host", "isolation": "hyperv",
    "storage_opt": {"size": "1G"}, "userns_mode": "remap",
}
TOGETHER = {"console_size": {"tty": True}, "memory_swap": {"memory": BIG}, "oom_kill_disable": {"memory": BIG}}
# field → the module of the engine that uses it
ELSEWHERE = {
    "user": "bundle", "exposed_ports": "connections", "open_stdin": "starting", "stdin_once": "starting", "healthcheck": "health",
    "image": "creation", "volumes": "mounts", "network_disabled": "connections", "stop_signal": "lifecycle",
    "stop_timeout": "lifecycle", "labels": "merge", "shell": "merge", "on_build": "merge",
    "binds": "mounts", "log_config": "logconfig", "port_bindings": "connections", "restart_policy": "creation",
    "auto_remove": "ending", "volume_driver": "mounts", "volumes_from": "mounts", "dns": "namefiles", "dns_options": "namefiles",
    "dns_search": "namefiles", "extra_hosts": "namefiles", "group_add": "bundle", "publish_all_ports": "connections",
    "runtime": "starting", "mounts": "mounts", "cgroup_parent": "cgroups", "links": "links",
}
# Kept and shown; whoever starts the container asks to be attached, or writes the file, himself, and escaped arguments are a matter of
# Windows. Docker's daemon does as much.
KEPT = {"attach_stdin", "attach_stdout", "attach_stderr", "container_id_file", "args_escaped"}
# Looked up on the machine: `devices.look_up`, tested below. Where the network room is told of it is its own business.
LOOKED_UP = {"devices"}


def config_of(config, host):
    return oci_config(config, host, facts=FACTS, found=FOUND, user=User(),
                      places=Places(rootfs="/r", cgroups_path="/c", init_path="/sbin/tini"))


def refusal(config, host):
    try:
        check_create(config, host, None, FACTS)
    except (InvalidArgument, Unsupported) as error:
        return error.message
    return ""


def is_effective(before, after):
    return config_of(*before) != config_of(*after)


@pytest.mark.parametrize("name", [field.name for field in fields(ContainerConfig)])
def test_container_config(name):
    if name in ELSEWHERE:
        assert f".{name}" in (ENGINE / f"{ELSEWHERE[name]}.py").read_text()
    elif name == "mac_address":
        assert any(".mac_address" in path.read_text() for path in ENGINE.glob("*.py"))
    elif name not in KEPT:
        changed = replace(CONFIG, **{name: CONFIG_SAMPLES[name]})
        assert is_effective((CONFIG, HOST), (changed, HOST)) or refusal(changed, HOST)


@pytest.mark.parametrize("name", [field.name for field in fields(HostConfig)])
def test_host_config(name):
    if name in ELSEWHERE:
        assert f".{name}" in (ENGINE / f"{ELSEWHERE[name]}.py").read_text()
    elif name not in KEPT | LOOKED_UP:
        others = TOGETHER.get(name, {})
        config = replace(CONFIG, **{key: value for key, value in others.items() if key == "tty"})
        host = replace(HOST, **{key: value for key, value in others.items() if key != "tty"})
        changed = replace(host, **{name: HOST_SAMPLES[name]})
        refused = refusal(config, changed)
        assert refused or is_effective((config, host), (config, changed))


def test_a_device_has_its_node_and_its_rule():
    found = Found(devices=(Device(path="/dev/x", kind="c", major=1, minor=3, mode=0o660, access="r"),))
    document = oci_config(CONFIG, HOST, facts=FACTS, found=found, user=User(), places=Places(rootfs="/r", cgroups_path="/c"))
    assert document["linux"]["devices"][0]["path"] == "/dev/x"
    assert document["linux"]["resources"]["devices"][-1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_zero_is_accepted():
    """Clients send every field with its zero value."""
    assert refusal(CONFIG, HostConfig()) == ""
    assert check_create(CONFIG, HostConfig(), None, FACTS) == ()
