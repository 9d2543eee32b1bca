"""Flags of `docker run`, seen from inside the container: unmodified command lines on wherryd, and on dockerd beside it.

A row is what is asked for, the command that looks, and what it must see. Each runs on all boxes: a row that the real
dockerd does not pass would be wrong.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from clients import DOCKERS
from real_dockerd import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net]


class Box(NamedTuple):
    """A command line and the daemon it talks to."""

    client: str
    socket: str
    name: str

    def run(self, *words: str, code: int = 0) -> str:
        """What it printed; both outputs when it was to fail."""
        done = subprocess.run([self.client, "-H", self.socket, *words], capture_output=True, timeout=60)
        assert done.returncode == code, (words, done)
        return (done.stdout + (done.stderr if code else b"")).decode()


@pytest.fixture(scope="module")
def sockets() -> Iterator[dict[str, str]]:
    with wherryd() as ours, dockerd() as theirs:
        yield {"wherryd": ours.socket, "dockerd": theirs.socket}


@pytest.fixture(params=["docker20-wherryd", "docker28-wherryd", "docker20-dockerd"])
def box(request: pytest.FixtureRequest, sockets: dict[str, str]) -> Box:
    client, _, daemon = request.param.partition("-")
    if not os.access(DOCKERS[client], os.X_OK):
        pytest.skip(f"needs {DOCKERS[client]}")
    return Box(DOCKERS[client], sockets[daemon], daemon)


CAPABILITIES = "grep CapEff /proc/self/status"
CGROUP = "/sys/fs/cgroup"
on_v1 = pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory"), reason="needs cgroup v1 controllers")

SEEN = [
    # flags, command (a shell line), what is printed (a regular expression for all of it)
    ("-e A=1 -e B=x=y", "echo $A $B", "1 x=y\n"),
    ("-w /a/b/c", "pwd", "/a/b/c\n"),
    ("-u nobody", "id", r"uid=65534\(nobody\) gid=65534\(nogroup\) groups=65534\(nogroup\)\n"),
    ("-u 1234:50", "id", r"uid=1234 gid=50\(staff\)( groups=50\(staff\))?\n"),
    ("-u daemon:staff", "id -u; id -g", "1\n50\n"),
    ("-u 1234 --group-add staff --group-add 777", "id -G", "0 50 777\n"),
    ("-v /anonymous", "mount | grep -c ' /anonymous '", "1\n"),
    ("-v named:/n", "touch /n/x; ls /n", "x\n"),
    ("--mount type=volume,src=filled,dst=/etc", "ls /etc/passwd", "/etc/passwd\n"),
    ("--mount type=volume,src=bare,dst=/etc,volume-nocopy", "ls /etc/passwd 2>&1 | grep -c 'No such'", "1\n"),
    ("--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "ls -ld /t | cut -c1-10; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2",
     "drwx------\n1024\n"),
    ("--tmpfs /t:size=64k,mode=1770", "ls -ld /t | cut -c1-10; mount | grep ' /t ' | grep -o 'size=64k'", "drwxrwx--T\nsize=64k\n"),
    ("--read-only", "touch /x 2>&1; touch /dev/shm/x && echo can", "touch: /x: Read-only file system\ncan\n"),
    ("--hostname h1 --domainname d.org", "hostname; cat /proc/sys/kernel/domainname; tail -1 /etc/hosts | cut -f2", "h1\nd.org\nh1.d.org h1\n"),
    ("--add-host a:1.2.3.4", "grep 1.2.3.4 /etc/hosts", "1.2.3.4\ta\n"),
    ("--add-host g:host-gateway", "[ $(awk '$2==\"g\"{print $1}' /etc/hosts) = $(ip route | awk '/default/{print $3}') ] && echo same", "same\n"),
    ("--dns 9.9.9.9 --dns-search x.org --dns-option ndots:3", "sort /etc/resolv.conf | grep -v '^#'",
     "(?s)nameserver 9.9.9.9\noptions ndots:3\nsearch x.org\n"),
    ("--network none", "ls /sys/class/net", "lo\n"),
    ("--network host", "[ -e /sys/class/net/eth0 ] || echo none", "none\n"),
    ("--mac-address 02:42:00:00:00:09", "cat /sys/class/net/eth0/address", "02:42:00:00:00:09\n"),
    ("--cap-drop ALL", CAPABILITIES, "CapEff:\t0000000000000000\n"),
    ("--cap-drop ALL --cap-add net_raw --cap-add CAP_CHOWN", CAPABILITIES, "CapEff:\t0000000000002001\n"),
    ("", CAPABILITIES, "CapEff:\t00000000a80425fb\n"),
    ("-u nobody", CAPABILITIES, "CapEff:\t0000000000000000\n"),
    ("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"),
    ("--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0\n"),
    ("", "grep Seccomp: /proc/self/status", "Seccomp:\t2\n"),
    ("--ulimit nofile=100:200 --ulimit core=0", "ulimit -Sn; ulimit -Hn; ulimit -c", "100\n200\n0\n"),
    pytest.param("--memory 20m --memory-reservation 10m", f"cat {CGROUP}/memory/memory.limit_in_bytes {CGROUP}/memory/memory.soft_limit_in_bytes",
                 "20971520\n10485760\n", marks=on_v1),
    pytest.param("--cpus 0.5", f"cat {CGROUP}/cpu/cpu.cfs_quota_us {CGROUP}/cpu/cpu.cfs_period_us", "50000\n100000\n", marks=on_v1),
    pytest.param("--cpu-shares 77", f"cat {CGROUP}/cpu/cpu.shares", "77\n", marks=on_v1),
    pytest.param("--cpuset-cpus 0", f"cat {CGROUP}/cpuset/cpuset.cpus", "0\n", marks=on_v1),
    pytest.param("--pids-limit 33", f"cat {CGROUP}/pids/pids.max", "33\n", marks=on_v1),
    ("--shm-size 2m", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "2048\n"),
    ("--sysctl net.ipv4.ip_unprivileged_port_start=77", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "77\n"),
    ("--oom-score-adj 500", "cat /proc/self/oom_score_adj", "500\n"),
    ("--pid host", "[ $(ls -d /proc/[0-9]* | wc -l) -gt 3 ] && echo many", "many\n"),
    ("--init", "cat /proc/1/comm", "docker-init\n"),
    ("--platform linux/amd64", "uname -m", "x86_64\n"),
    ("--pull never", "echo here", "here\n"),
    ("--log-driver none", "echo still", "still\n"),
]


@pytest.mark.parametrize(("flags", "command", "seen"), SEEN)
def test_the_effect_is_real(box: Box, flags: str, command: str, seen: str) -> None:
    printed = box.run("run", "--rm", *flags.split(), "busybox", "sh", "-c", command)
    if "--init" in flags:
        printed = re.sub(r"^tini$", "docker-init", printed, flags=re.MULTILINE)
    assert re.fullmatch(seen, printed), printed


REFUSED = [
    # flags, exit code, in the message
    ("-u nope", 125, "unable to find user nope: no matching entries in passwd file"),
    ("-v rel/path:/n", 125, "includes invalid characters for a local volume name"),
    ("-v /etc:/m:bogus", 125, "invalid mode: bogus"),
    ("--mount type=bind,src=/nonexistent,dst=/f", 125, 'invalid mount config for type "bind": bind source path does not exist: /nonexistent'),
    ("--network nope", 125, "network nope not found"),
    ("--cap-add BOGUS", 125, 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
    ("--memory 1m", 125, "Minimum memory limit allowed is 6MB"),
    ("--memory-swap 10m", 125, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    ("--cpus 100", 125, "Range of CPUs is from 0.01 to"),
    ("--cpuset-cpus 77", 125, "Requested CPUs are not available - requested 77, available:"),
    ("--cpus 0.5 --cpu-quota 1000", 125, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ("--oom-score-adj 5000", 125, "Invalid value 5000, range for oom score adj is [-1000, 1000]"),
    ("--stop-signal BOGUS", 125, "nvalid signal: BOGUS"),
    ("--device /dev/nope", 127, 'error gathering device information while adding custom device "/dev/nope": no such file or directory'),
    ("--uts host --hostname x", 125, "conflicting options: hostname and the UTS mode"),
    ("--network container:nope", 125, "No such container: nope"),
    ("--volumes-from nope", 125, "No such container: nope"),
    ("--log-opt bogus=1", 125, "unknown log opt 'bogus' for json-file log driver"),
    ("--name bad~name", 125, "Invalid container name (bad~name), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    ("-p 80:80 -p 80:81", 125, "Bind for 0.0.0.0:80 failed: port is already allocated"),
    ("--storage-opt size=1G", 125, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"),
    ("--entrypoint /nope", 127, 'exec: "/nope": stat /nope: no such file or directory'),
    ("--entrypoint /etc", 126, 'exec: "/etc": permission denied'),
    ("-v /etc/passwd:/etc", 125, "Are you trying to mount a directory onto a file (or vice-versa)?"),
]


@pytest.mark.parametrize(("flags", "code", "message"), REFUSED)
def test_a_refusal_names_its_reason(box: Box, flags: str, code: int, message: str) -> None:
    before = box.run("ps", "-aq")
    assert message in box.run("run", "--rm", *flags.split(), "busybox", "true", code=code)
    assert box.run("ps", "-aq") == before


def test_binds_show_the_host_s_files(box: Box, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine\n")
    assert box.run("run", "--rm", "-v", f"{tmp_path}:/m:ro", "busybox", "sh", "-c", "cat /m/f; touch /m/x 2>&1; true") == \
        "mine\ntouch: /m/x: Read-only file system\n"
    box.run("run", "--rm", "--mount", f"type=bind,src={tmp_path},dst=/m", "busybox", "touch", "/m/made")
    assert (tmp_path / "made").exists()
    box.run("run", "--rm", "-v", f"{tmp_path}/new/folder:/m", "busybox", "true")
    assert (tmp_path / "new/folder").is_dir()


def test_stop_signal_and_timeout(box: Box) -> None:
    box.run("run", "-d", "--name", "polite", "--stop-signal", "USR1", "--stop-timeout", "20", "busybox", "sh", "-c",
            "trap 'echo got; exit 3' USR1; echo up; while :; do sleep 0.05; done")
    while "up" not in box.run("logs", "polite"):
        pass
    box.run("stop", "polite")
    assert box.run("logs", "polite") == "up\ngot\n"
    assert box.run("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}} {{.Config.StopSignal}} {{.Config.StopTimeout}}", "polite") == \
        "3 exited USR1 20\n"
    box.run("rm", "polite")


def test_log_rotation(box: Box) -> None:
    box.run("run", "--name", "noisy", "--log-opt", "max-size=20k", "--log-opt", "max-file=3", "busybox", "seq", "2000")
    lines = box.run("logs", "noisy").split()
    assert lines[-1] == "2000"
    assert 200 < len(lines) < 2000
    assert lines == [str(number) for number in range(2001 - len(lines), 2001)]
    assert box.run("logs", "--tail", "3", "noisy") == "1998\n1999\n2000\n"
    box.run("rm", "noisy")


@pytest.mark.skipif(not os.path.exists("/sys/fs/cgroup/memory"), reason="needs cgroup v1 controllers")
def test_an_oom_kill_is_told(box: Box) -> None:
    box.run("run", "--name", "greedy", "--memory", "16m", "--memory-swap", "16m", "busybox", "tail", "/dev/zero", code=137)
    assert box.run("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}", "greedy") == "true 137 exited\n"
    box.run("rm", "greedy")


def test_health_is_reported(box: Box) -> None:
    box.run("run", "-d", "--name", "well", "--health-cmd", "test -e /ok", "--health-interval", "200ms", "--health-retries", "1",
            "busybox", "sleep", "1000")
    for change, status in (("true", "unhealthy"), ("touch /ok", "healthy")):
        box.run("exec", "well", "sh", "-c", change)
        while box.run("inspect", "-f", "{{.State.Health.Status}}", "well") != status + "\n":
            pass
    assert f"({status})" in box.run("ps", "-f", "health=healthy", "--format", "{{.Status}}")
    box.run("rm", "-f", "well")
