"""Further processes by wherry-runc beside Debian's runc, descriptors passed on, statistics; and what a killed creator leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from beside_runc import RUNTIMES, WHERRY, bundle_of_busybox, call, configure, needs, sleeping  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]
LOOK = "id; cat /proc/self/cwd/etc/none 2>&1; env | grep -v SHLVL; grep -E 'Cap|NoNew|Groups' /proc/self/status"
KILLS_PER_CALL = 4


def root_of(runtime: str) -> str:
    return f"/run/beside-{os.getpid()}-{Path(runtime).name}"


@pytest.fixture(scope="module")
def running(bundle: Path) -> Iterator[Path]:
    needs("runc")
    with sleeping(bundle) as one:
        yield one


def warned_first(code: int, text: str) -> tuple[int, str]:
    """By runc, warnings of its child go another way than the program's output, and arrive sometimes behind it."""
    return code, "\n".join(sorted(text.split("\n"), key=lambda line: not line.startswith("time level=warning")))


def same(bundle: Path, *words: str) -> tuple[int, str]:
    ours, theirs = (call(runtime, bundle, "exec", *words) for runtime in (WHERRY, "runc"))
    assert (words, *warned_first(*ours)) == (words, *warned_first(*theirs))
    return ours


def capabilities(*names: str) -> dict[str, list[str]]:
    return {kind: list(names) for kind in ("bounding", "effective", "permitted")}


@pytest.mark.parametrize("change", [
    {}, {"user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 6]}}, {"user": None}, {"cwd": None}, {"args": None}, {"args": []},
    {"env": None, "args": ["/bin/sh", "-c", "id"]}, {"env": ["PATH=/bin", "A"]}, {"cwd": "/nope"}, {"args": ["nosuch"]},
    {"capabilities": capabilities("CAP_KILL", "CAP_CHOWN")}, {"capabilities": capabilities("CAP_KILL", "CAP_NOPE")},
    # Not RLIMIT_NOFILE: a Go program may put that one back after it was set.
    {"args": ["sh", "-c", "ulimit -c; ulimit -Hc; grep NoNew /proc/self/status"], "noNewPrivileges": True,
     "rlimits": [{"type": "RLIMIT_CORE", "soft": 51200, "hard": 102400}]}],
    ids=str)
def test_process_from_a_file(running: Path, change: dict[str, Any]) -> None:
    given = {"args": ["sh", "-c", LOOK], "env": ["PATH=/bin", "Q=1"], "cwd": "/tmp", "user": {"uid": 0, "gid": 0}, **change}
    (running / "p.json").write_text(json.dumps({name: value for name, value in given.items() if value is not None}))
    same(running, "-p", "p.json", "x")


def test_flags(running: Path) -> None:
    for words in (("-g", "100"), ("-g=100", "-g", "101"), ("--additional-gids", "7"), ("-u", "1000"), ("-u", "1000:7"), ("-u", "1:x"),
                  ("-u", "user"), ("-u", "-1"), ("-u", ":5"), ("--cwd", "/tmp"), ("--cwd", "tmp"), ("--cwd", "/nope"), ("-e", "A"),
                  ("-e", "A=b", "-e", "A=c"), ("-c", "CAP_NET_ADMIN"), ("--cap", "NET_ADMIN"), ("--no-new-privs",), ("-d", "-t"),
                  ("--console-socket", "/no"), ("--console-socket", "/no", "-d", "-t"), ("-p", "nope.json")):
        same(running, *words, "x", "sh", "-c", LOOK)


def test_programs_that_are_none_and_exit_codes(running: Path) -> None:
    for words in ((), ("nosuch",), ("/nosuch",), ("./nosuch",), ("/etc/passwd",), ("/bin",), ("bin",), ("/bin/garbage",), ("",),
                  ("sh", "-c", "exit 255"), ("sh", "-c", "exit 127"), ("sh", "-c", "kill -TERM $$")):
        same(running, "x", *words)
    assert same(running, "-d", "x", "nosuch")[0] == 255


def test_a_pid_file_that_cannot_be_leaves_no_process(running: Path) -> None:
    for runtime in RUNTIMES:
        code, text = call(runtime, running, "exec", "-d", "--pid-file", "/no/such", "x", "sleep", "1000")
        assert code == 255
        assert "no such file or directory" in text
        assert len(json.loads(call(runtime, running, "ps", "-f", "json", "x")[1])) == 1
        assert call(runtime, running, "exec", "-d", "--pid-file", str(running / "pid"), "x", "sleep", "1000") == (0, "")
        pid = int((running / "pid").read_text())
        assert pid in json.loads(call(runtime, running, "ps", "-f", "json", "x")[1])
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def test_a_terminal_goes_to_the_console_socket(running: Path, tmp_path: Path) -> None:
    for runtime in RUNTIMES:
        path = tmp_path / Path(runtime).name
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(30)
            assert call(runtime, running, "exec", "-d", "-t", "--console-socket", str(path), "x", "sh", "-c", "read it; tty; echo $it; sleep 1000") == (0, "")
            connection, _ = listener.accept()
        with connection:
            fds = socket.recv_fds(connection, 4096, 1)[1]
        with open(fds[0], "r+b", buffering=0) as master:
            master.write(b"typed\n")
            text = b""
            while text.count(b"typed") < 2:
                text += master.read(4096)
        assert b"/dev/pts/" in text


def test_paused(running: Path) -> None:
    for runtime in RUNTIMES:
        assert call(runtime, running, "pause", "x") == (0, "")
        code, text = call(runtime, running, "exec", "x", "true")
        assert code == 255
        assert "cannot exec in a paused container (use --ignore-paused to override)" in text
        assert call(runtime, running, "resume", "x") == (0, "")
        assert call(runtime, running, "exec", "--ignore-paused", "x", "sh", "-c", "exit 7") == (7, "")


@pytest.mark.parametrize("listen", [0, 2])
def test_descriptors_passed_on(bundle: Path, listen: int) -> None:
    """$LISTEN_FDS counts only with $LISTEN_PID, which is the runtime's own: a shell sets it before it becomes the runtime."""
    needs("runc", "bash")
    configure(bundle, "sh", "-c", "for n in 3 4 5 6; do [ -e /proc/$$/fd/$n ] && echo $n; done; env | grep LISTEN")
    seen = []
    for pid in ("$$", "1"):
        for runtime in RUNTIMES:
            script = f"exec 3</dev/zero 4<&3 5<&3 6<&-; export LISTEN_FDS={listen} LISTEN_PID={pid}; exec \"$@\""
            done = subprocess.run(
                ["bash", "-c", script, "bash", runtime, "--root", root_of(runtime), "run", "--preserve-fds", "1", "fds"], cwd=bundle,
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
            seen.append((sorted(done.stdout.split()), done.stderr))
    assert seen[1] == seen[0]
    assert seen[3] == seen[2]
    assert seen[2] == (["3"], "")
    if listen:
        assert seen[0] == (["3", "4", "5", "LISTEN_FDS=2", "LISTEN_PID=1"], "")


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value[:1]] if isinstance(value, list) else type(value).__name__


def test_events_have_the_same_shape(running: Path) -> None:
    documents = []
    for runtime in RUNTIMES:
        document = json.loads(subprocess.run(
            [runtime, "--root", root_of(runtime), "events", "--stats", "x"], capture_output=True, timeout=60, check=True).stdout)
        for part in ("blkio", "cpu"):  # what is zero or empty is left out, and both depend on what was done
            document["data"][part] = sorted(set(document["data"][part]) & {"usage", "throttling"})
        memory = document["data"]["memory"]
        memory["raw"] = sorted(memory["raw"])
        for kind in ("usage", "swap", "kernel", "kernelTCP"):
            memory[kind] = {name: one for name, one in memory[kind].items() if name in ("limit", "failcnt")}
        memory.pop("cache", None)
        document["data"]["pids"].pop("limit", None)
        document["data"].pop("cpuset", None)  # runc's alone: its settings, which are no statistics
        documents.append(shape(document))
    assert documents[1] == documents[0]


def test_features_are_those_of_the_specification() -> None:
    done = subprocess.run([WHERRY, "features"], capture_output=True, timeout=60, check=True)
    document = json.loads(done.stdout)
    assert set(document) <= {"ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "annotations", "linux",
                             "potentiallyUnsafeConfigAnnotations"}
    linux = document["linux"]
    assert set(linux) == {"namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt", "mountExtensions", "netDevices"}
    assert linux["namespaces"] == ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]
    assert linux["mountExtensions"] == {"idmap": {"enabled": True}}
    assert {"idmap", "ridmap"} <= set(document["mountOptions"])
    assert set(linux["cgroup"]) == {"v1", "v2", "systemd", "systemdUser", "rdma"}
    assert set(linux["seccomp"]) == {"enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"}


@pytest.mark.parametrize("syscall", ["clone3", "sendmsg", "rename", "unlink", "mkdir"])
def test_a_killed_creator_leaves_what_delete_force_removes(bundle: Path, syscall: str) -> None:
    needs("strace")
    configure(bundle, "sleep", "1000")
    group = json.loads((bundle / "config.json").read_text())["linux"]["cgroupsPath"]
    for number in range(1, KILLS_PER_CALL + 1):
        done = subprocess.run(
            ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={number}", WHERRY,
             "--root", root_of(WHERRY), "create", "ruin"],
            cwd=bundle, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
        assert number > 1 or done.returncode == -signal.SIGKILL  # a later one there may not be
        call(WHERRY, bundle, "state", "ruin")  # it may be a container or a ruin: to look at it changes nothing
        assert call(WHERRY, bundle, "delete", "--force", "ruin") == (0, "")
        assert not os.path.exists(f"{root_of(WHERRY)}/ruin")
        assert not list(Path("/sys/fs/cgroup").glob(f"*{group}"))
