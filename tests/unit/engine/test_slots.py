"""For which containers a slot is worth while, by the config that the engine makes for them."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.engine.model import ContainerConfig, HostConfig
from wherry.engine.options import EngineOptions
from wherry.engine.slots import begins_alike, common_config, kernel_part
from wherry.engine.spec.capabilities import EVERY
from wherry.engine.spec.config import oci_config
from wherry.engine.spec.defaults import adapt
from wherry.engine.spec.devices import look_up
from wherry.engine.spec.facts import Facts
from wherry.engine.spec.places import Places, User

FACTS = Facts(capabilities=EVERY)
OPTIONS = EngineOptions(data_root="/d", run_folder="/r")


def begins(**asked: Any) -> bool:
    host = adapt(HostConfig(**asked), FACTS, shm_size=OPTIONS.default_shm_size_bytes, ipc_mode=OPTIONS.default_ipc_mode,
                 cgroupns_mode=OPTIONS.cgroupns_mode)
    config = oci_config(ContainerConfig(cmd=("x",), env=("A=b",), hostname="web"), host, places=Places(rootfs="/x", cgroups_path="/wherry/x"),
                        facts=FACTS, user=User(uid=1), found=look_up(host))
    return begins_alike(kernel_part(config), kernel_part(common_config(OPTIONS, FACTS)))


@pytest.mark.parametrize("asked", [
    {}, {"network_mode": "bridge"}, {"memory": 64 << 20, "pids_limit": 10}, {"readonly_rootfs": True, "cgroup_parent": "/mine"},
    {"security_opt": ("seccomp=unconfined",)},
])
def test_what_begins_like_most(asked: dict[str, Any]) -> None:
    assert begins(**asked)


@pytest.mark.parametrize("asked", [
    {"privileged": True}, {"network_mode": "host"}, {"pid_mode": "host"}, {"ipc_mode": "host"}, {"uts_mode": "host"},
    {"sysctls": {"net.ipv4.ip_forward": "1"}}, {"masked_paths": ()}, {"cap_add": ("SYS_ADMIN",)},
    {"security_opt": ('seccomp={"defaultAction": "SCMP_ACT_ALLOW"}',)},
])
def test_what_does_not(asked: dict[str, Any]) -> None:
    assert not begins(**asked)
