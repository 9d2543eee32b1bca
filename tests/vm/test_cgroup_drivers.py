"""wherryd's two cgroup drivers where systemd is process 1 on cgroup v2: which one is taken, and that both do all of their work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from containers_by_api import Api
from wherryd_box import wherryd

from wherry.linux.cgroup.systemd import SYSTEM_BUS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.root, pytest.mark.vm,
    pytest.mark.skipif(not os.path.isdir("/run/systemd/system") or not os.path.exists(SYSTEM_BUS) or os.geteuid() != 0
                       or not os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
                       reason="needs root, cgroup v2, systemd as process 1 and its bus"),
]
ROOT = Path("/sys/fs/cgroup")
FLAGS = {"systemd": (), "cgroupfs": ("--exec-opt", "native.cgroupdriver=cgroupfs")}
# What each field is on v2, and where: docker's numbers, converted as runc converts them.
LIMITS = {
    "Memory": 64 << 20, "MemorySwap": 96 << 20, "MemoryReservation": 32 << 20, "CpuShares": 512, "CpuQuota": 50000,
    "CpuPeriod": 100000, "CpusetCpus": "0", "CpusetMems": "0", "PidsLimit": 19,
}
FILES = {
    "memory.max": f"{64 << 20}", "memory.swap.max": f"{32 << 20}", "memory.low": f"{32 << 20}", "cpu.weight": "20",
    "cpu.max": "50000 100000", "cpuset.cpus": "0", "cpuset.mems": "0", "pids.max": "19",
}
CHANGED = {"Memory": 128 << 20, "MemorySwap": -1, "CpuShares": 1024, "CpuQuota": 25000, "PidsLimit": -1}
FILES_CHANGED = {
    "memory.max": f"{128 << 20}", "memory.swap.max": "max", "cpu.weight": "39", "cpu.max": "25000 100000", "pids.max": "max",
    "cpuset.cpus": "0",
}
UNIT = {"MemoryMax": f"{128 << 20}", "MemorySwapMax": "infinity", "MemoryLow": f"{32 << 20}", "CPUWeight": "39",
        "CPUQuotaPerSecUSec": "250ms", "TasksMax": "infinity", "AllowedCPUs": "0", "Delegate": "yes", "Slice": "system.slice"}


@pytest.fixture(scope="module", params=list(FLAGS))
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with wherryd(*FLAGS[request.param]) as daemon:
        one = Api(daemon)
        one.driver = request.param
        yield one


def folder(api: Api, container: str) -> Path:
    """The container's cgroup on the host."""
    pid = api.state(container)["Pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")
    return ROOT / path.lstrip("/")


def files(place: Path, names: Any) -> dict[str, str]:
    return {name: (place / name).read_text().strip() for name in names}


def shown(unit: str, names: Any) -> dict[str, str]:
    done = subprocess.run(["systemctl", "show", unit, *(f"-p{name}" for name in names)], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_the_driver_is_told_and_containers_are_where_it_puts_them(api: Api) -> None:
    info = api.ask("GET", "/info")
    assert (info["CgroupDriver"], info["CgroupVersion"]) == (api.driver, "2")
    assert "name=cgroupns" in info["SecurityOptions"]
    with api.running() as container:
        place = folder(api, container)
        expected = f"system.slice/wherry-{container}.scope" if api.driver == "systemd" else f"wherry/{container}"
        assert place == ROOT / expected
        assert api.inspect(container)["HostConfig"]["CgroupnsMode"] == "private"
    assert not place.exists()


def test_limits_and_their_update(api: Api) -> None:
    with api.running(host=LIMITS) as container:
        place = folder(api, container)
        assert files(place, FILES) == FILES
        # The container's own cgroup namespace shows it as the root, read-only.
        assert api.exec(container, "sh", "-c", "cat /proc/self/cgroup /sys/fs/cgroup/memory.max") == (0, f"0::/\n{64 << 20}\n")
        code, text = api.exec(container, "sh", "-c", "echo max > /sys/fs/cgroup/pids.max")
        assert code != 0
        assert "Read-only file system" in text
        api.ask("POST", f"/containers/{container}/update", CHANGED)
        assert files(place, FILES_CHANGED) == FILES_CHANGED
        if api.driver == "systemd":
            assert shown(place.name, UNIT) == UNIT
            # What systemd writes again when it reads its units anew is what was asked for last.
            subprocess.run(["systemctl", "daemon-reload"], check=True)
            assert files(place, FILES_CHANGED) == FILES_CHANGED


def test_devices_are_kept_out_and_let_in(api: Api) -> None:
    words = "mknod /dev/k c 1 11; cat /dev/null && head -c 0 /dev/zero && ! head -c 1 /dev/k && head -c 0 /dev/fuse"
    with api.running(host={"Devices": [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}]}
                     ) as container:
        code, text = api.exec(container, "sh", "-c", words)
        assert code == 0, text
        assert "Operation not permitted" in text
        if api.driver == "systemd":
            subprocess.run(["systemctl", "daemon-reload"], check=True)
            assert api.exec(container, "sh", "-c", "head -c 0 /dev/fuse && ! head -c 1 /dev/k")[0] == 0


def test_it_is_paused_killed_and_its_end_for_lack_of_memory_is_told(api: Api) -> None:
    with api.running() as container:
        place = folder(api, container)
        api.ask("POST", f"/containers/{container}/pause", status=204)
        assert "frozen 1" in (place / "cgroup.events").read_text()
        assert api.state(container)["Status"] == "paused"
        api.ask("POST", f"/containers/{container}/unpause", status=204)
        assert "frozen 0" in (place / "cgroup.events").read_text()
        api.ask("POST", f"/containers/{container}/kill", status=204)
        assert api.wait(container) == 137
        assert api.state(container)["OOMKilled"] is False
    container = api.create("tail", "/dev/zero", host={"Memory": 16 << 20, "MemorySwap": 16 << 20})
    try:
        api.start(container)
        assert api.wait(container) == 137
        assert api.state(container)["OOMKilled"] is True
    finally:
        api.remove(container)
    if api.driver == "systemd":
        units = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "wherry-*.scope"],
                               capture_output=True, text=True, check=True)
        assert units.stdout == ""


def test_statistics_have_what_docker_counts_on_v2(api: Api) -> None:
    with api.running("sh", "-c", "cat /bin/busybox > /tmp/x; sleep 1000", host={"Memory": 64 << 20, "PidsLimit": 19}) as container:
        found = api.ask("GET", f"/containers/{container}/stats?stream=0&one-shot=1")
        memory = found["memory_stats"]
        assert memory["limit"] == 64 << 20
        assert 0 < memory["usage"] < 64 << 20
        # From these the client takes the cache off, and by the first it knows v2.
        assert {"inactive_file", "active_anon", "anon", "file", "pgfault"} <= set(memory["stats"])
        assert not {"max_usage", "failcnt"} & set(memory)
        assert found["pids_stats"] == {"current": 1 if found["pids_stats"]["current"] == 1 else 2, "limit": 19}
        cpu = found["cpu_stats"]
        assert cpu["cpu_usage"]["total_usage"] > 0
        assert "percpu_usage" not in cpu["cpu_usage"]
        assert cpu["online_cpus"] == os.cpu_count()
        assert {"io_service_bytes_recursive", "io_serviced_recursive"} <= set(found["blkio_stats"])


def test_namespaces_and_privileges(api: Api) -> None:
    code, text = api.run("sh", "-c", "cat /proc/self/cgroup; grep ' /sys/fs/cgroup ' /proc/mounts", host={"CgroupnsMode": "host"})
    assert code == 0
    assert ("wherry" in text.splitlines()[0], " ro," in text) == (True, True)
    # A privileged container may make cgroups of its own: an engine in it works.
    words = "grep ' /sys/fs/cgroup ' /proc/mounts; mkdir /sys/fs/cgroup/mine && echo $$ > /sys/fs/cgroup/mine/cgroup.procs; cat /proc/self/cgroup"
    code, text = api.run("sh", "-c", words, host={"Privileged": True, "CgroupnsMode": "private"})
    assert code == 0, text
    assert (" rw," in text, text.splitlines()[-1]) == (True, "0::/mine")


def test_a_parent_of_one_s_own(api: Api) -> None:
    if api.driver == "systemd":
        with api.running(host={"CgroupParent": "wherrytest-pods.slice"}) as container:
            assert folder(api, container) == ROOT / f"wherrytest.slice/wherrytest-pods.slice/wherry-{container}.scope"
        message = api.refused("POST", "/containers/create", 400, {"Image": "busybox", "HostConfig": {"CgroupParent": "/mine"}})
        assert message == 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
    else:
        with api.running(host={"CgroupParent": "/wherrytest/pods"}) as container:
            assert folder(api, container) == ROOT / f"wherrytest/pods/{container}"


def test_who_makes_cgroups_below_leaves_none(api: Api) -> None:
    with api.running(host={"Privileged": True, "CgroupnsMode": "private"}) as container:
        place = folder(api, container)
        assert api.exec(container, "sh", "-c", "mkdir -p /sys/fs/cgroup/a/b; sleep 999 & echo $! > /sys/fs/cgroup/a/b/cgroup.procs")[0] == 0
        assert {entry["Name"] if isinstance(entry, dict) else entry[-1] for entry in
                api.ask("GET", f"/containers/{container}/top?ps_args=-o%20pid,args")["Processes"]} >= {"sleep 999"}
    assert not place.exists()
