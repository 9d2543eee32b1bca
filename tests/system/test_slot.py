"""A container that was started in a slot is the same as one that was not; what begins otherwise, or loses its slot, runs as well."""

from __future__ import annotations

import difflib
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from containers_by_api import Api, until
from slots_seen import V1, groups, helpers, names, parent, slots
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
# What a container can see of itself, a heading before each part.
LOOK = r"""
exec 2>&1
for one in self/mountinfo self/cgroup self/limits 1/status 1/attr/current 1/oom_score_adj keys kcore timer_list sys/net/ipv4/ip_unprivileged_port_start \
    sys/net/ipv4/ping_group_range sys/kernel/hostname sys/kernel/domainname; do echo "== $one"; cat /proc/$one; done
echo '== names'; hostname; id; pwd; umask; env; cat /etc/hostname | wc -c
echo '== session'; cut -d' ' -f5-8 /proc/1/stat
echo '== descriptors'; ls -l /proc/1/fd > /dev/shm/fds; sed 's/.*[0-9] -> /-> /' /dev/shm/fds; rm /dev/shm/fds
echo '== links'; ip -o link | cut -d: -f2-; ip -o addr show lo
echo '== files'; ls -lan / /dev /dev/pts /dev/shm /sys /sys/fs/cgroup /sys/firmware | sed 's/ \(Nov\|Dec\|Jan\) .*:.. / /'
echo '== tries'; for one in /proc/sys/x /proc/kcore /sys/x /dev/x /x; do touch $one; done; umount /sys
mknod /dev/shm/blk b 8 0; cat /dev/shm/blk; unshare -n true
echo "== end"
"""


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with wherryd() as daemon:
        yield Api(daemon)


def run_one(api: Api, in_slot: bool, *cmd: str, **options: Any) -> str:
    """A container that runs and was started in a slot, or was not."""
    for _ in range(20):  # a slot is made when nobody waits, and on a busy machine that takes its time
        until(lambda: bool(slots(api.daemon)) or not in_slot)
        parked = slots(api.daemon)
        if not in_slot:
            for pid in parked:
                os.kill(pid, signal.SIGKILL)
        container = api.create(*cmd, **options)
        inodes = groups(helpers(parked[0])).values() if in_slot else ()
        api.start(container)
        pid = int(api.state(container)["Pid"])
        # On v1 its cgroups were the slot's. On v2 they never are, and it is only known that its shim had been parked.
        taken = os.stat(folder_of(pid)).st_ino in inodes if V1 else parent(pid) in parked
        if taken == in_slot:
            return container
        api.remove(container)
    raise AssertionError("no container was started that way")


def folder_of(pid: int) -> str:
    """The folder of its cgroup in the hierarchy of the freezer."""
    (path,) = [line.split(":")[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.split(":")[1] == "freezer"]
    return f"/sys/fs/cgroup/freezer{path}"


def plain(text: str, container: str) -> list[str]:
    """A container's view without what differs between any two of them."""
    text = text.replace(container, "ID").replace(container[:12], "SHORT")
    lines = []
    for line in text.splitlines():
        if re.match(r"\d+ \d+ \d+:\d+ ", line):  # mountinfo: numbers of mounts and filesystems, peer groups, the overlay's folders
            line = re.sub(r"^\d+ \d+ (\d+:\d+|\S+) ", "", line)
            line = re.sub(r"(master|shared|propagate_from):\d+", r"\1", line)
            line = re.sub(r"(upperdir|workdir|lowerdir)[+]?=[^, ]*", r"\1", line)
        line = re.sub(r"^( eth0@if)\d+|(02:42:ac:11:00:)..|^(dr-xr-xr-x) +\d+ (.* proc)$", r"\1\2\3\4", line)
        line = re.sub(r"(pipe|socket):\[\d+\]", r"\1", line)
        line = re.sub(r"^(Vm\w+|Rss\w+|Hugetlb\w+|.*ctxt_switches|Mems_allowed\w*|Threads|State|SigQ|Pid|NSpid|NStgid|untag_mask):.*", r"\1", line)
        lines.append(re.sub(r"^total \d+", "total", line))
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("== "):
            parts.append([])
        parts[-1].append(line)
    # The order of mounts is that of their making.
    return [line for part in parts for line in (sorted(part) if part[:1] == ["== self/mountinfo"] else part)]


def printed(api: Api, container: str) -> str:
    """Its output, with and without a terminal."""
    if not api.inspect(container)["Config"]["Tty"]:
        return api.logs(container)
    status, text = api.daemon.get(f"/containers/{container}/logs?stdout=1")
    assert status == 200
    return str((text or b"").decode().replace("\r", ""))


def outside(api: Api, container: str) -> dict[str, Any]:
    """The same container as the host sees it."""
    inspected = api.inspect(container)
    pid = inspected["State"]["Pid"]
    seen: dict[str, Any] = {"mounts": sorted(plain(Path(f"/proc/{pid}/mountinfo").read_text(), container))}
    seen["own namespaces"] = [name for name in sorted(os.listdir(f"/proc/{pid}/ns"))
                              if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")]
    seen["cgroups"] = sorted(Path(f"/proc/{pid}/cgroup").read_text().replace(container, "ID").splitlines())
    seen["status"] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                      if line.startswith(("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp", "Sig", "Shd", "Umask", "Cpus"))]
    seen["status"] = [line for line in seen["status"] if not line.startswith("SigQ")]
    for name in ("limits", "oom_score_adj", "cmdline", "environ", "loginuid", "setgroups", "uid_map", "timerslack_ns"):
        seen[name] = Path(f"/proc/{pid}/{name}").read_bytes().replace(container[:12].encode(), b"SHORT")
    seen["files"] = {fd: re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{pid}/fd")}
    seen |= group_of(pid)
    for name in ("Id", "Created", "Pid", "StartedAt", "FinishedAt", "GraphDriver", "NetworkSettings", "Name", "LogPath", "HostnamePath", "HostsPath",
                 "ResolvConfPath"):
        inspected.pop(name, None)
        inspected["State"].pop(name, None)
    seen["inspected"] = str(inspected).replace(container[:12], "SHORT")
    seen["top"] = [row[7] for row in api.ask("GET", f"/containers/{container}/top")["Processes"]]
    return seen


def group_of(pid: int) -> dict[str, str]:
    """What its cgroups say, but for what was used."""
    said = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for folder in Path("/sys/fs/cgroup").glob("*") if names else ():
            if folder.name.replace("systemd", "name=systemd") not in names.split(",") and folder.name != names:
                continue
            for file in (folder / path.lstrip("/")).iterdir():
                if re.search(r"limit_in_bytes|devices.list|\.max$|cfs_|shares|weight$|swappiness|oom_control|cpuset.(cpus|mems)$|read_only|tasks$", file.name):
                    said[f"{folder.name}/{file.name}"] = str(file.read_text().split() == [str(pid)]) if file.name == "tasks" else file.read_text()
    return said


KINDS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "terminal": {"Tty": True},
    "much of its own": {
        "User": "7:8", "WorkingDir": "/new/place", "Hostname": "named", "Env": ["A=b"],
        "host": {"ReadonlyRootfs": True, "Tmpfs": {"/run": "size=64k"}, "Binds": ["/usr/share:/shared:ro"], "Memory": 64 << 20, "PidsLimit": 50,
                 "NanoCpus": 500000000, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}], "CapDrop": ["KILL"], "CapAdd": ["NET_ADMIN"],
                 "OomScoreAdj": 77, "GroupAdd": ["9"], "SecurityOpt": ["no-new-privileges"], "NetworkMode": "bridge"}},
    "without a filter": {"host": {"SecurityOpt": ["seccomp=unconfined"]}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_container(api: Api, kind: str) -> None:
    options = KINDS[kind]
    seen = []
    for in_slot in (True, False):
        container = run_one(api, in_slot, "sh", "-c", f"{LOOK}\nmkdir /dev/shm/done; exec sleep 1000", **options)
        try:
            until(lambda: "== end" in printed(api, container))  # noqa: B023
            pid = api.state(container)["Pid"]
            until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"))  # noqa: B023
            seen.append((plain(printed(api, container), container), outside(api, container)))
        finally:
            api.remove(container)
    (inside, outer), (inside_plain, outer_plain) = seen
    assert not (different := list(difflib.unified_diff(inside, inside_plain, n=0))), "\n".join(different)
    assert not (named := {name: (outer[name], outer_plain[name]) for name in outer if outer[name] != outer_plain[name]}), named


def test_the_init_is_as_old_as_its_container(api: Api) -> None:
    until(lambda: bool(slots(api.daemon)))
    before = float(Path("/proc/uptime").read_text().split()[0])
    container = run_one(api, True, "sleep", "1000")
    try:
        ticks = int(Path(f"/proc/{api.state(container)['Pid']}/stat").read_text().rpartition(")")[2].split()[19])
        assert ticks / os.sysconf("SC_CLK_TCK") >= before - 0.02
    finally:
        api.remove(container)


def test_nothing_of_the_host_or_of_a_container_is_in_a_slot(api: Api) -> None:
    with api.running():
        (helper,) = helpers(until(lambda: slots(api.daemon))[0])
        mounts = Path(f"/proc/{helper}/mountinfo")
        until(lambda: " - ext" not in mounts.read_text() and " - overlay" not in mounts.read_text())
        assert {line.partition(" - ")[2].split()[0] for line in mounts.read_text().splitlines()} == {
            "tmpfs", "sysfs", "devpts", "mqueue", *(["cgroup"] if V1 else [])}
        for fd in os.listdir(f"/proc/{helper}/fd"):
            assert not os.readlink(f"/proc/{helper}/fd/{fd}").startswith(api.daemon.data_root)


@pytest.mark.parametrize("host", [
    {"Privileged": True}, {"NetworkMode": "host"}, {"PidMode": "host"}, {"IpcMode": "host"}, {"UTSMode": "host"}, {"IpcMode": "shareable"},
    {"ShmSize": 1 << 20}, {"CgroupnsMode": "private"}, {"CgroupParent": "/other-parent"}, {"Devices": [
        {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/own", "CgroupPermissions": "r"}]}, {"Sysctls": {"net.ipv4.ip_forward": "1"}},
    {"Binds": ["/usr/share:/dev/shm"]}, {"MaskedPaths": []}, {"ReadonlyPaths": []}, {"Tmpfs": {"/dev/shm": ""}}, {"Init": False, "CapAdd": ["SYS_ADMIN"]},
], ids=str)
def test_a_container_that_begins_otherwise_runs_as_well_and_leaves_no_slot(api: Api, host: dict[str, Any]) -> None:
    if host.get("NetworkMode") != "host":
        host = {"NetworkMode": "none", **host}
    until(lambda: bool(slots(api.daemon)))
    assert api.run("sh", "-c", "echo so", host=host) == (0, "so\n")
    until(lambda: len(names()) <= 1)


@pytest.mark.parametrize("who", ["shim", "helper", "zygote"])
def test_a_killed_slot_is_no_ones_loss(api: Api, who: str) -> None:
    (shim,) = until(lambda: slots(api.daemon))
    os.kill({"shim": shim, "helper": helpers(shim)[0], "zygote": parent(shim)}[who], signal.SIGKILL)
    assert api.run("echo", "so") == (0, "so\n")
    assert api.run("echo", "so") == (0, "so\n")
    until(lambda: slots(api.daemon) not in ([], [shim]) and len(names()) == V1)
