"""wherry-runc beside runc and crun on pure cgroup v2, with both drivers: the same files, units, refusals, views from inside."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import WHERRY, bundle_of_busybox, configure  # noqa: F401 (a fixture)
from containers_by_api import until

from wherry.linux.cgroup.systemd import SYSTEM_BUS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.root, pytest.mark.vm, pytest.mark.peer,
    pytest.mark.skipif(not os.path.isdir("/run/systemd/system") or not os.path.exists(SYSTEM_BUS) or os.geteuid() != 0
                       or not os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
                       reason="needs root, cgroup v2, systemd as process 1 and its bus"),
]
FUSE, KMSG = (10, 229), (1, 11)
RESOURCES = {
    "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20}, "pids": {"limit": 19},
    "cpu": {"shares": 512, "quota": 52500, "period": 100000, "cpus": "0", "mems": "0"},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
    "unified": {"memory.high": f"{48 << 20}", "memory.min": "4096"},
    "devices": [{"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": FUSE[0], "minor": FUSE[1], "access": "rwm"}],
}
PROPERTIES = ("Slice", "Delegate", "CPUWeight", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "MemoryMax", "MemoryLow", "MemoryMin",
              "MemorySwapMax", "MemoryHigh", "TasksMax", "AllowedCPUs", "AllowedMemoryNodes", "IOWeight", "DevicePolicy",
              "DefaultDependencies", "ActiveState")
FILES = ("memory.max", "memory.low", "memory.high", "memory.min", "memory.swap.max", "pids.max", "cpu.weight", "cpu.max",
         "cpuset.cpus", "cpuset.mems", "io.weight", "io.max", "hugetlb.2MB.max")
UPDATE = ("--memory", f"{80 << 20}", "--memory-swap", f"{160 << 20}", "--cpu-share", "1024", "--cpu-quota", "30000",
          "--pids-limit", "23")
INSIDE = """cat /proc/self/cgroup; grep -c . /sys/fs/cgroup/cgroup.procs; cat /sys/fs/cgroup/memory.max; mkdir /sys/fs/cgroup/x
for node in "%d %d" "%d %d"; do mknod /dev/k c $node && head -c 0 /dev/k; rm -f /dev/k; done 2>&1
grep -o ' / /sys/fs/cgroup .*rw' /proc/self/mountinfo"""


class Runtime:
    """One runtime with one cgroup driver, and one container's name."""

    def __init__(self, program: str, driver: str, place: Path) -> None:
        self.name = f"life-{os.getpid()}"
        self.place = place
        self.root = f"/run/v2-{os.getpid()}-{driver}-{Path(program).name}"
        self.words = [program, "--root", self.root, *(["--systemd-cgroup"] if driver == "systemd" else [])]
        self.unit = f"wtest-{self.name}.scope"
        self.path = f"wtest-pods.slice:wtest:{self.name}" if driver == "systemd" else f"/wtest-pods/{self.name}"
        below = f"wtest.slice/wtest-pods.slice/{self.unit}" if driver == "systemd" else self.path[1:]
        self.folder = Path("/sys/fs/cgroup", below)

    def call(self, *words: str) -> tuple[int, str]:
        """Exit status and output."""
        with open(self.place / "out", "w+") as output:
            done = subprocess.run([*self.words, *words], cwd=self.place, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  timeout=120, check=False)
            output.seek(0)
            return done.returncode, output.read()

    def ok(self, *words: str) -> str:
        """The output of a call that must work."""
        code, text = self.call(*words)
        assert code == 0, (self.words[0], words, text)
        return text

    def configure(self, *args: str, resources: dict[str, Any] | None = None, without: tuple[str, ...] = (),
                  **process: Any) -> None:
        """Writes config.json; `without` names namespaces that the container does not have."""
        configure(self.place, *args, **process)
        config = json.loads((self.place / "config.json").read_text())
        linux = config["linux"]
        linux.update(cgroupsPath=self.path, resources=resources or {})
        linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] not in without]
        if "cgroup" not in without:
            linux["namespaces"].append({"type": "cgroup"})
        for name in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][name] = ["CAP_MKNOD", "CAP_DAC_OVERRIDE"]
        (self.place / "config.json").write_text(json.dumps(config))

    def seen(self) -> dict[str, str]:
        """The control files, and what systemd says of the scope."""
        found = {name: (self.folder / name).read_text().strip() for name in FILES}
        return found | self.shown() if self.unit == self.folder.name else found

    def shown(self) -> dict[str, str]:
        words = ["systemctl", "show", self.unit, *(f"-p{name}" for name in PROPERTIES)]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def clear(self) -> None:
        self.call("delete", "--force", self.name)
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["systemctl", "stop", self.unit, "wtest.slice"], capture_output=True, check=False)
        if self.folder.exists():  # crun leaves it when a limit is refused
            self.folder.rmdir()


@pytest.fixture(params=["cgroupfs", "systemd"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def runtimes(bundle: Path, driver: str) -> Iterator[dict[str, Runtime]]:
    """Those that are there: ours always."""
    programs = {"wherry": WHERRY, "runc": "runc", "crun": "crun"}
    found = {name: Runtime(program, driver, bundle) for name, program in programs.items() if shutil.which(program)}
    yield found
    for one in found.values():
        one.clear()


def has_statistics(one: Runtime) -> None:
    """Of ours alone: runc 1.1.5 does not always come back from `events --stats` on a busy machine."""
    data = json.loads(one.ok("events", "--stats", one.name))["data"]
    assert data["pids"] == {"current": 1, "limit": 19}
    assert (data["memory"]["usage"]["limit"], data["memory"]["swap"]["limit"]) == (64 << 20, 96 << 20)
    assert data["cpu"]["usage"]["total"] > 0
    assert {"anon", "file", "kernel_stack", "pgfault"} <= set(data["memory"]["raw"])
    assert data["hugetlb"]["2MB"]["failcnt"] == 0


def live(one: Runtime, statistics: bool = False) -> dict[str, Any]:
    """A whole life: what is seen at each stop."""
    one.configure("sleep", "1000", resources=RESOURCES)
    one.ok("create", one.name)
    seen: dict[str, Any] = {"created": one.seen()}
    one.ok("start", one.name)
    if statistics:
        has_statistics(one)
    seen["inside"] = one.call("exec", one.name, "sh", "-c", INSIDE % (*FUSE, *KMSG))
    one.ok("update", *UPDATE, one.name)
    seen["updated"] = one.seen()
    if one.unit == one.folder.name:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        seen["reloaded"] = one.seen()
    one.ok("pause", one.name)
    seen["paused"] = ((one.folder / "cgroup.freeze").read_text(), json.loads(one.ok("state", one.name))["status"])
    one.ok("resume", one.name)
    seen["resumed"] = ((one.folder / "cgroup.freeze").read_text(), json.loads(one.ok("state", one.name))["status"])
    one.ok("kill", one.name, "KILL")
    until(lambda: json.loads(one.ok("state", one.name))["status"] == "stopped")
    one.ok("delete", one.name)
    seen["deleted"] = (one.folder.exists(), one.shown()["ActiveState"])
    return seen


def test_a_whole_life_as_with_runc(runtimes: dict[str, Runtime]) -> None:
    ours = live(runtimes["wherry"], statistics=True)
    assert ours["created"]["memory.swap.max"] == f"{32 << 20}"
    assert (ours["created"]["cpu.max"], ours["updated"]["cpu.max"]) == ("52500 100000", "30000 100000")
    assert ours["deleted"] == (False, "inactive")
    assert "0::/\n" in ours["inside"][1]
    assert ours["inside"][1].count("Operation not permitted") == 1
    assert live(runtimes["runc"]) == ours
    # With systemd crun 1.8 writes limits that systemd takes back, and freezes elsewhere.
    if runtimes["crun"].unit != runtimes["crun"].folder.name:
        theirs = live(runtimes["crun"])
        same = ("created", "updated", "paused", "resumed", "deleted")
        assert {name: theirs[name] for name in same} == {name: ours[name] for name in same}


@pytest.mark.parametrize("driver", ["systemd"])
def test_burst_and_idle(runtimes: dict[str, Runtime]) -> None:
    """Which runc 1.1 does not know; systemd does not either, and they are not lost."""
    one, found = runtimes["wherry"], []
    for cpu in ({"quota": 50000, "period": 100000, "burst": 20000}, {"idle": 1}):
        one.configure("true", resources={"cpu": cpu})
        one.ok("create", one.name)
        found.append([(one.folder / file).read_text() for file in ("cpu.max", "cpu.max.burst", "cpu.idle")])
        one.ok("delete", "--force", one.name)
    assert found == [["50000 100000\n", "20000\n", "0\n"], ["max 100000\n", "0\n", "1\n"]]


REFUSED: dict[str, dict[str, Any]] = {
    "swap alone": {"memory": {"swap": 96 << 20}}, "less swap than memory": {"memory": {"limit": 64 << 20, "swap": 32 << 20}},
    "no such processor": {"cpu": {"cpus": "77"}},
    "no such page size": {"hugepageLimits": [{"pageSize": "3MB", "limit": 4 << 20}]},
    "no such disk": {"blockIO": {"throttleReadBpsDevice": [{"major": 99, "minor": 9, "rate": 1 << 20}]}},
    "a way out": {"unified": {"../x": "1"}}, "no such controller": {"unified": {"nosuch.file": "1"}},
    "no such file": {"unified": {"memory.nosuch": "1"}},
}


# Some that runc finds before it starts a container we find when its cgroup is made.
WHERE = "unable to start container process: error during container init: error setting cgroup config for procHooks process: "


def refusal(one: Runtime, resources: dict[str, Any]) -> tuple[int, str, bool]:
    """Exit status, the words (without moments and ways of opening), whether a cgroup is left."""
    one.configure("true", resources=resources)
    code, text = one.call("create", one.name)
    words = re.sub(r'time="[^"]*" ', "", text.splitlines()[-1] if text else "")
    return code, words.replace(WHERE, "").replace("'", '\\"'), one.folder.exists()


@pytest.mark.parametrize("driver", ["cgroupfs"])
def test_limits_that_cannot_be_are_refused_as_runc_refuses_them(runtimes: dict[str, Runtime]) -> None:
    ours = {name: refusal(runtimes["wherry"], resources) for name, resources in REFUSED.items()}
    theirs = {name: refusal(runtimes["runc"], resources) for name, resources in REFUSED.items()}
    assert ours == theirs


VIEW = """cat /proc/self/cgroup; grep ' /sys/fs/cgroup ' /proc/self/mountinfo | sed 's/^[0-9]* [0-9]* [0-9:]* //'
ls /sys/fs/cgroup | head -n 3"""


@pytest.mark.parametrize("driver", ["cgroupfs"])
@pytest.mark.parametrize("without", [(), ("cgroup",)], ids=["own namespace", "the machine's"])
def test_the_cgroup_mount_from_inside(runtimes: dict[str, Runtime], without: tuple[str, ...]) -> None:
    found = {}
    for name in ("wherry", "runc"):
        one = runtimes[name]
        one.configure("sh", "-c", VIEW, without=without)
        found[name] = one.ok("run", one.name)
    assert found["wherry"] == found["runc"]


@pytest.mark.parametrize("driver", ["cgroupfs"])
def test_all_processes_are_killed_where_the_pid_namespace_is_the_machine_s(runtimes: dict[str, Runtime]) -> None:
    for name in ("runc", "wherry"):
        one = runtimes[name]
        one.configure("sh", "-c", "sleep 998 & sleep 999 & wait", without=("pid",))
        one.ok("run", "-d", one.name)
        until(lambda: len((one.folder / "cgroup.procs").read_text().split()) == 3)  # noqa: B023 (asked at once)
        one.ok("kill", "--all", one.name, "KILL")
        until(lambda: (one.folder / "cgroup.procs").read_text() == "")  # noqa: B023
        one.ok("delete", one.name)
        assert not one.folder.exists()


@pytest.mark.parametrize("driver", ["systemd"])
def test_what_a_killed_create_leaves_is_removed_by_force(runtimes: dict[str, Runtime]) -> None:
    """However far it came: then there is no scope, no cgroup, no process, and the name is free."""
    one = runtimes["wherry"]
    one.configure("sleep", "1000")
    process = subprocess.Popen([*one.words, "create", one.name], cwd=one.place, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: one.folder.exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    one.call("delete", "--force", one.name)
    assert not one.folder.exists()
    assert one.shown()["ActiveState"] == "inactive"
    one.ok("create", one.name)
    one.ok("delete", "--force", one.name)
    assert not one.folder.exists()


DELEGATED = """set -e; cd {place}; {runtime} spec --rootless
place=/sys/fs/cgroup$(sed s/^0::// /proc/self/cgroup); mkdir $place/me; echo $$ > $place/me/cgroup.procs
echo +memory +pids +cpu > $place/cgroup.subtree_control
python3 - $place/box <<X
import json, sys
config = json.load(open("config.json"))
config["process"].update(terminal=False, args=["sleep", "1000"])
config["root"]["path"] = "{rootfs}"
config["linux"].update(cgroupsPath=sys.argv[1].removeprefix("/sys/fs/cgroup"))
config["linux"].update(resources={{"memory": {{"limit": 67108864}}, "pids": {{"limit": 19}}}})
json.dump(config, open("config.json", "w"))
X
{runtime} --root $XDG_RUNTIME_DIR/{name} run -d box < /dev/null > out 2>&1 || {{ cat out; exit 1; }}
cd $place/box; cat memory.max pids.max; stat -c %U .
{runtime} --root $XDG_RUNTIME_DIR/{name} pause box; cat cgroup.freeze
{runtime} --root $XDG_RUNTIME_DIR/{name} resume box; cat cgroup.freeze
{runtime} --root $XDG_RUNTIME_DIR/{name} exec box cat /proc/self/cgroup
cd /; {runtime} --root $XDG_RUNTIME_DIR/{name} delete --force box; ls -d $place/box 2>&1 | grep -c 'No such file'"""


@pytest.fixture
def user() -> Iterator[list[str]]:
    """The words that run a command in a scope of its own of the user «tester», who has a systemd."""
    if subprocess.run(["id", "tester"], capture_output=True, check=False).returncode:
        pytest.skip("needs the virtual machine's user")
    subprocess.run(["loginctl", "enable-linger", "tester"], check=True)
    until(lambda: Path("/run/user/1000/bus").exists())
    yield ["setpriv", "--reuid=1000", "--regid=1000", "--init-groups",
           "env", "XDG_RUNTIME_DIR=/run/user/1000", "HOME=/home/tester",
           "systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes", "sh", "-c"]
    subprocess.run(["loginctl", "disable-linger", "tester"], check=False)


def test_an_ordinary_user_with_delegated_cgroups(bundle: Path, user: list[str]) -> None:
    """Limits, pausing and further processes in a cgroup below the user's own systemd, as with runc."""
    found = {}
    for name, runtime in (("wherry", WHERRY), ("runc", "runc")):
        place = Path(f"/home/tester/{name}")
        place.mkdir()
        shutil.chown(place, "tester")
        script = DELEGATED.format(place=place, runtime=runtime, name=name, rootfs=bundle / "rootfs")
        done = subprocess.run([*user, script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        found[name] = [re.sub(r"run-\w+\.scope", "run.scope", line) for line in done.stdout.splitlines()]
        shutil.rmtree(place)
    assert found["wherry"][:5] == [f"{64 << 20}", "19", "tester", "1", "0"]
    assert found["wherry"] == found["runc"]
