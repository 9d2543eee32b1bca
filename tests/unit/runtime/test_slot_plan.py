"""Which containers begin as a slot does: decided on plans, without touching anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.layout import Hierarchy, Layout
from wherry.oci.runtime import Config
from wherry.runtime import slothelper
from wherry.runtime.container import CreateRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.runtime.init import InitPlan
    from wherry.runtime.mountplan import MountStep

V1 = Layout(kind="v1", v1=tuple(Hierarchy(names=(name,), mount=f"/sys/fs/cgroup/{name}", own="/") for name in ("devices", "memory")))
V2 = Layout(kind="v2", unified=Hierarchy(names=(), mount="/sys/fs/cgroup", own="/"))
QUIET = ["nosuid", "noexec", "nodev"]


def mount(destination: str, kind: str, source: str = "x", options: list[str] | None = None) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": QUIET if options is None else options}


def bind(destination: str) -> dict[str, Any]:
    return mount(destination, "bind", "/somewhere", ["rbind", "rprivate"])


def document(name: str = "slot-1", *, private: bool = False) -> dict[str, Any]:
    """A config as the engine writes it for a container for which nothing was asked."""
    return {
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "/root-of-it"},
        "mounts": [mount("/proc", "proc"), mount("/dev", "tmpfs", "tmpfs", ["nosuid", "mode=755"]),
                   mount("/dev/pts", "devpts"), mount("/sys", "sysfs", options=[*QUIET, "ro"]),
                   mount("/sys/fs/cgroup", "cgroup", options=[*QUIET, "ro"]), mount("/dev/shm", "tmpfs", "shm", [*QUIET, "size=64m"])],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "network", "uts", "pid", "ipc", *(("cgroup",) if private else ()))],
            "sysctl": {"net.ipv4.ip_unprivileged_port_start": "0"},
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "cgroupsPath": f"/wherry/{name}", "resources": {},
        },
    }


def plan(given: dict[str, Any], layout: Layout = V1, **request: Any) -> InitPlan:
    asked = CreateRequest(id="c", bundle="/bundle", root="/state", **request)
    return slothelper.plan_container(asked, Config.from_json(given), None, layout)


def rest(change: Callable[[dict[str, Any]], object], **request: Any) -> tuple[MountStep, ...] | None:
    """What is left of the plan of a container that was changed so."""
    given = document("c")
    given["mounts"] += [bind("/etc/hosts")]
    change(given)
    return slothelper.remaining(plan(given, **request), plan(document()))


def places(steps: tuple[MountStep, ...] | None) -> list[str] | None:
    return None if steps is None else [one.destination for one in steps]


def test_its_own_mounts_are_left_to_make() -> None:
    assert places(rest(lambda given: given["mounts"].extend([bind("/data"), mount("/run", "tmpfs")]))) == [
        "/proc", "/etc/hosts", "/data", "/run"]


@pytest.mark.parametrize("change", [
    lambda given: given["process"].update(args=["other"], env=["A=1"], cwd="/w", terminal=True, noNewPrivileges=True, oomScoreAdj=5),
    lambda given: given["process"].update(user={"uid": 7, "gid": 7}, rlimits=[{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9}]),
    lambda given: given["process"].update(capabilities={"bounding": ["CAP_KILL"]}),
    lambda given: given.update(hostname="h", domainname="d", annotations={"a": "b"}, root={"path": "/other", "readonly": True}),
    lambda given: given["linux"].update(resources={"memory": {"limit": 1 << 24}, "pids": {"limit": 9}}),
    lambda given: given["mounts"].append(bind("/developers")),
])
def test_a_container_may_have_this_of_its_own(change: Callable[[dict[str, Any]], object]) -> None:
    assert (places(rest(change)) or [])[:2] == ["/proc", "/etc/hosts"]


@pytest.mark.parametrize("change", [
    lambda given: (given["linux"]["namespaces"].remove({"type": "network"}), given["linux"].update(sysctl={})),
    lambda given: given["linux"]["namespaces"].remove({"type": "ipc"}),
    lambda given: given["linux"]["namespaces"].remove({"type": "pid"}),
    lambda given: given["linux"]["namespaces"].append({"type": "cgroup"}),
    lambda given: given["linux"]["namespaces"].append({"type": "time"}),
    lambda given: (given["linux"]["namespaces"].append({"type": "user"}),
                   given["linux"].update(uidMappings=[{"containerID": 0, "hostID": 1000, "size": 10}],
                                         gidMappings=[{"containerID": 0, "hostID": 1000, "size": 10}])),
    lambda given: given["linux"].update(sysctl={}),
    lambda given: given["linux"]["sysctl"].update({"kernel.shmmax": "1"}),
    lambda given: given["linux"].update(maskedPaths=[]),
    lambda given: given["linux"].update(readonlyPaths=["/proc/sys", "/proc/bus"]),
    lambda given: given["linux"].update(devices=[{"path": "/dev/x", "type": "c", "major": 1, "minor": 5}]),
    lambda given: given["linux"].update(rootfsPropagation="shared"),
    lambda given: given["linux"].update(cgroupsPath="/elsewhere/c"),
    lambda given: given["linux"].update(personality={"domain": "LINUX32"}),
    lambda given: given["process"].update(apparmorProfile="docker-default"),
    lambda given: given["process"].update(selinuxLabel="a:b:c"),
    lambda given: given["process"].update(ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0}),
    lambda given: given.update(hooks={"createRuntime": [{"path": "/bin/true"}]}),
    lambda given: given.update(hooks={"startContainer": [{"path": "/bin/true"}]}),
    lambda given: given["mounts"].pop(5),  # /dev/shm
    lambda given: given["mounts"].pop(4),  # /sys/fs/cgroup
    lambda given: given["mounts"][5].update(options=[*QUIET, "size=1m"]),
    lambda given: given["mounts"].insert(0, given["mounts"].pop(3)),  # /sys before /proc
    lambda given: given["mounts"].append(bind("/dev/shm")),
    lambda given: given["mounts"].append(bind("/dev")),
    lambda given: given["mounts"].append(bind("/dev/console/../x")),
    lambda given: given["mounts"].append(bind("/proc/meminfo")),
    lambda given: given["mounts"].append(bind("/sys/kernel")),
    lambda given: given["mounts"].append(bind("/")),
    lambda given: given["mounts"].append(mount("/sys/fs/cgroup", "cgroup")),
    lambda given: given["mounts"].append(mount("/other/proc", "proc")),
    lambda given: given["mounts"][0].update(options=[]),
    lambda given: given["mounts"].pop(0),
    lambda given: given["mounts"].append(mount("/other", "cgroup")),
])
def test_anything_else_is_another_beginning(change: Callable[[dict[str, Any]], object]) -> None:
    assert rest(change) is None


def test_a_root_that_is_not_entered_by_pivot_root_is_another_beginning() -> None:
    assert rest(lambda _given: None, no_pivot=True) is None


@pytest.mark.parametrize("change", [
    lambda given: given["linux"]["namespaces"].append({"type": "network", "path": "/proc/1/ns/net"}),
    lambda given: given["root"].update(path="rootfs"),
    lambda given: given["mounts"].append({**bind("/data"), "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
                                          "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
])
def test_a_plan_that_needs_a_look_at_the_host_is_not_made(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(InvalidArgument):
        rest(change)


def test_a_cgroup_mount_that_shows_a_namespace_is_left_to_the_init() -> None:
    begun = plan(document(private=True), V2)
    assert "/sys/fs/cgroup" not in [one.destination for one in slothelper.ahead(begun)]
    given = document("c", private=True)
    given["mounts"].append(bind("/data"))
    assert places(slothelper.remaining(plan(given, V2), begun)) == ["/proc", "/data", "/sys/fs/cgroup"]
    given["mounts"][4]["options"] = QUIET
    assert slothelper.remaining(plan(given, V2), begun) is None
