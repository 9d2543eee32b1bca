"""`containerd-shim-wherry-v2` under the real containerd, driven by the real ctr, beside its own shim where they can be compared."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import time

import pytest
from real_containerd import BIN, IMAGE, containerd

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not (shutil.which("containerd") and shutil.which("ctr")), reason="needs containerd and ctr (Debian: containerd)"),
]
REAL = "io.containerd.runc.v2"


@pytest.fixture(scope="module")
def box():
    with containerd() as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_is_left(box):
    yield
    for name in box.ctr("containers", "ls", "-q").stdout.split():
        box.ctr("task", "rm", "-f", name, code=None)
        box.ctr("containers", "rm", name, code=None)
    box.wait_for(lambda: box.shims() == [], f"the shims end: {box.shims()}")


def beside(box, name: str, *command: str, flags: tuple[str, ...] = ("--rm",)):
    """The same run by containerd's own shim and by ours: exit status, stdout, stderr."""
    found = []
    for runtime in (REAL, "io.containerd.wherry.v2"):
        done = box.ctr("run", *flags, "--runtime", runtime, IMAGE, name, *command, code=None)
        found.append((done.returncode, done.stdout, done.stderr))
    return found


@pytest.mark.parametrize("command", [
    ("echo", "hello"), ("sh", "-c", "echo out; echo err >&2; exit 3"), ("sh", "-c", "kill -9 $$"), ("cat", "/proc/self/oom_score_adj"),
    ("sh", "-c", "pwd; id; env | sort; hostname; cat /proc/self/cgroup | wc -l; ulimit -n; umask"), ("sh", "-c", "tty; test -p /proc/self/fd/1 && echo pipe"),
    ("sh", "-c", "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"), ("sh", "-c", "cut -d' ' -f 2-3 /proc/mounts | grep -v cgroup | sort"),
])
def test_a_container_cannot_tell_the_shims_apart(box, command) -> None:
    real, ours = beside(box, "same", *command)
    assert ours == real


@pytest.mark.parametrize("flags", [("--read-only",), ("--privileged",), ("--cwd", "/tmp"), ("--env", "A=b"), ("--cap-add", "CAP_NET_ADMIN"),
                                   ("--seccomp",), ("--allow-new-privs",), ("--mount", "type=tmpfs,dst=/tmp/x,options=size=64k")])
def test_what_ctr_asks_for_is_done(box, flags) -> None:
    script = "pwd; echo $A; touch /x; grep /tmp/x /proc/mounts | wc -l; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"
    real, ours = beside(box, "asked", "sh", "-c", script, flags=("--rm", *flags))
    assert ours == real


def test_what_cannot_run_is_told_at_create(box) -> None:
    (real_code, _, real), (code, _, ours) = beside(box, "bad", "nosuch")
    assert (code, code) == (real_code, 1)
    wanted = 'OCI runtime create failed: .*unable to start container process: exec: "nosuch": executable file not found in \\$PATH: unknown'
    assert re.search(wanted, real)
    assert re.search(wanted, ours)
    assert box.run("bad", "/etc", code=1).stderr.count("permission denied") == 1


def test_tasks_commands(box) -> None:
    box.run("one", "sleep", "1000", flags=("-d",))
    assert box.statuses() == {"one": "RUNNING"}
    assert len(box.ctr("task", "ps", "one").stdout.splitlines()) == 2
    assert "memory.usage_in_bytes" in (metrics := box.ctr("task", "metrics", "one").stdout) or "memory.usage " in metrics
    box.ctr("task", "pause", "one")
    assert box.statuses() == {"one": "PAUSED"}
    assert "cannot exec in a paused" in box.ctr("task", "exec", "--exec-id", "p", "one", "true", code=1).stderr
    box.ctr("task", "resume", "one")
    assert "must be stopped before deletion" in box.ctr("task", "rm", "one", code=1).stderr
    assert box.statuses() == {"one": "RUNNING"}
    assert "not supported" in box.ctr("task", "checkpoint", "one", code=1).stderr
    box.ctr("task", "kill", "-s", "KILL", "one")
    box.wait_for(lambda: box.statuses() == {"one": "STOPPED"}, "it stops")
    assert "process already finished" in box.ctr("task", "kill", "one", code=1).stderr
    box.ctr("task", "rm", "one")
    assert box.statuses() == {}


def test_execs(box) -> None:
    box.run("one", "sleep", "1000", flags=("-d",))
    assert box.ctr("task", "exec", "--exec-id", "e1", "one", "echo", "hi").stdout == "hi\n"
    assert box.ctr("task", "exec", "--exec-id", "e1", "one", "sh", "-c", "echo err >&2; exit 7", code=7).stderr == "err\n"
    assert box.ctr("task", "exec", "--exec-id", "e1", "--cwd", "/tmp", "one", "pwd").stdout == "/tmp\n"
    assert "executable file not found" in box.ctr("task", "exec", "--exec-id", "e2", "one", "nosuch", code=1).stderr
    assert box.ctr("task", "exec", "--exec-id", "e3", "--user", "12:34", "one", "id", "-u").stdout == "12\n"
    box.ctr("task", "exec", "-d", "--exec-id", "long", "one", "sleep", "500")
    assert "long" in box.ctr("task", "ps", "one").stdout
    box.ctr("task", "kill", "--exec-id", "long", "-s", "KILL", "one")
    box.wait_for(lambda: "exit_status" not in box.ctr("task", "ps", "one").stdout and box.ctr("task", "ps", "one").stdout.count("\n") == 2,
                 "the exec ends")
    box.ctr("task", "rm", "--exec-id", "long", "one", code=None)
    assert box.ctr("task", "exec", "--exec-id", "long", "one", "echo", "again").stdout == "again\n"


def in_terminal(words: list[str], typed: bytes, until: bytes) -> bytes:
    """Runs a command in a terminal of 30 by 90, types when it has printed, and reads until it ends."""
    import fcntl
    import pty
    import struct
    import termios

    pid, fd = pty.fork()
    if not pid:
        os.execvp(words[0], words)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 30, 90, 0, 0))
    got = b""
    deadline = time.monotonic() + 30
    while select.select([fd], [], [], deadline - time.monotonic())[0]:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        got += piece
        if typed and until in got:
            os.write(fd, typed)
            typed = b""
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return got


def test_terminals(box) -> None:
    got = in_terminal(["ctr", "-a", box.socket, "run", "--rm", "-t", "--runtime", box.runtime, IMAGE, "tty", "sh", "-c",
                       "tty; echo go; read x; echo got $x; until stty size | grep 90; do sleep 0.1; done"], b"typed\n", b"go\r")
    assert b"/dev/pts/0\r" in got
    assert b"got typed\r" in got
    assert b"30 90" in got
    box.run("one", "sleep", "1000", flags=("-d",))
    got = in_terminal(["ctr", "-a", box.socket, "task", "exec", "-t", "--exec-id", "t", "one", "sh", "-c", "tty; echo go; read x; echo got $x"],
                      b"typed\n", b"go\r")
    assert b"/dev/pts/" in got
    assert b"got typed\r" in got


def test_streams_are_whole(box) -> None:
    done = box.run("big", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y >&2")
    assert (len(done.stdout), done.stdout.count("x")) == (3000000, 3000000)
    assert (len(done.stderr), done.stderr.count("y")) == (1000000, 1000000)


def test_a_log_file_and_a_log_program(box) -> None:
    log = box.folder / "out.log"
    box.run("logged", "sh", "-c", "echo one; echo two >&2", flags=("-d", "--log-uri", f"file://{log}"))
    box.wait_for(lambda: box.statuses() == {"logged": "STOPPED"}, "it ends")
    assert sorted(log.read_text().splitlines()) == ["one", "two"]
    box.ctr("task", "rm", "logged")
    box.ctr("containers", "rm", "logged")
    program = box.folder / "logger"
    program.write_text("#!/bin/sh\nexec 5>&-\n(cat <&3; cat <&4; echo $1 $2 $CONTAINER_ID $CONTAINER_NAMESPACE) >$0.out\n")
    program.chmod(0o755)
    box.run("logged", "sh", "-c", "echo one; echo two >&2", flags=("-d", "--log-uri", f"binary://{program}?key=a%20value"))
    box.wait_for(lambda: (box.folder / "logger.out").exists() and "logged default" in (box.folder / "logger.out").read_text(), "the program logs")
    assert (box.folder / "logger.out").read_text() == "one\ntwo\nkey a value logged default\n"


def test_events_are_those_of_the_real_shim(box) -> None:
    found = []
    for runtime in (REAL, box.runtime):
        out = box.folder / "events"
        with out.open("wb") as file:
            watch = subprocess.Popen(["ctr", "-a", box.socket, "events"], stdout=file)
        try:
            box.ctr("run", "-d", "--runtime", runtime, IMAGE, "told", "sleep", "1000")
            box.ctr("task", "exec", "--exec-id", "e", "told", "true")
            box.ctr("task", "pause", "told")
            box.ctr("task", "resume", "told")
            box.ctr("task", "kill", "-s", "KILL", "told")
            box.ctr("task", "rm", "-f", "told", code=None)
            box.wait_for(lambda out=out: "/tasks/delete" in out.read_text(), "events")
            box.ctr("containers", "rm", "told")
        finally:
            watch.kill()
            watch.wait()
        lines = [line.split(" ", 6) for line in out.read_text().splitlines() if "/tasks/" in line]
        found.append([(line[5], sorted(json.loads(line[6]))) for line in lines])
    real, ours = found
    assert sorted(ours) == sorted(real)
    assert ours[0][0] == "/tasks/create"


def test_a_restart_and_a_kill_of_containerd(box) -> None:
    box.run("ends", "sh", "-c", "sleep 1; exit 9", flags=("-d",))
    box.run("stays", "sh", "-c", "while :; do sleep 1; done", flags=("-d",))
    box.kill()
    time.sleep(1.2)
    box.start()
    box.wait_for(lambda: box.statuses() == {"ends": "STOPPED", "stays": "RUNNING"}, "both are known again")
    assert box.ctr("task", "exec", "--exec-id", "e", "stays", "echo", "here").stdout == "here\n"
    assert "exit with non-zero exit code 9" in box.ctr("task", "rm", "ends").stderr


def test_a_killed_shim_leaves_nothing(box) -> None:
    box.run("lost", "sleep", "1000", flags=("-d",))
    (pid,) = subprocess.run(["pgrep", "-f", "^wherry-shim lost"], capture_output=True, text=True, check=True).stdout.split()
    os.kill(int(pid), signal.SIGKILL)
    box.wait_for(lambda: box.statuses() == {} and box.shims() == [], "containerd tidies up by `delete`")
    assert subprocess.run(["pgrep", "-fx", "sleep 1000"], capture_output=True).returncode == 1


def test_runc_below_it(box) -> None:
    """As the shim of the name that ctr's `--runc-binary` insists on."""
    (box.folder / "bin/containerd-shim-runc-v2").symlink_to(BIN / "containerd-shim-wherry-v2")
    box.kill()
    box.start()
    try:
        for binary in ("runc", "crun", str(BIN / "wherry-runc")):
            if not shutil.which(binary):
                continue
            flags = ("--runtime", REAL, "--runc-binary", binary)
            box.ctr("run", "-d", *flags, IMAGE, "below", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
            assert any(line.startswith("wherry-shim below") for line in box.shims())
            assert box.ctr("task", "exec", "--exec-id", "e", "below", "echo", binary).stdout == f"{binary}\n"
            box.ctr("task", "pause", "below")
            box.ctr("task", "resume", "below")
            box.ctr("task", "kill", "below")
            box.wait_for(lambda: box.statuses() == {"below": "STOPPED"}, "it stops")
            box.ctr("task", "rm", "below")
            box.ctr("containers", "rm", "below")
            assert "executable file not found" in box.ctr("run", "--rm", *flags, IMAGE, "below", "nosuch", code=1).stderr or binary == "crun"
    finally:
        (box.folder / "bin/containerd-shim-runc-v2").unlink()
        box.kill()
        box.start()


def test_a_pod_shares_a_shim(box) -> None:
    flags = ("-d", "--annotation", "io.kubernetes.cri.sandbox-id=pod1")
    box.run("pause", "sleep", "1000", flags=flags)
    box.run("app", "sleep", "1000", flags=flags)
    assert len([line for line in box.shims() if line.startswith("wherry-shim")]) == 1
    box.ctr("task", "rm", "-f", "pause", code=None)
    assert box.ctr("task", "exec", "--exec-id", "e", "app", "echo", "still").stdout == "still\n"
