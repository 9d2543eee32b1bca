"""The real dockerd with wherryd in containerd's place (`--containerd`): containers run, and outlive either daemon."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from api_pair import PATIENCE_S, Ours
from real_dockerd import IMAGE, dockerd, wait
from terminal_lab import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from real_dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="needs dockerd (Debian: docker.io)")]
MOBY = "moby"


@pytest.fixture(scope="module")
def wherry() -> Iterator[Ours]:
    with tempfile.TemporaryDirectory(prefix="wherry-api-", dir="/var/tmp") as folder:
        one = Ours(Path(folder))
        yield one
        one.channel.close()
        one.stop()


@pytest.fixture(scope="module")
def daemon(wherry: Ours) -> Iterator[Dockerd]:
    with dockerd("--containerd", wherry.socket, "--bridge=none", "--iptables=false", "--live-restore") as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_is_left(daemon: Dockerd, wherry: Ours) -> Iterator[None]:
    yield
    for name in daemon("ps", "-aq").split():
        daemon("rm", "-f", name)
    until(lambda: tasks(wherry) == {} and shims() == 0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tasks(wherry: Ours) -> dict[str, str]:
    """What wherryd knows of dockerd's containers."""
    return {line.split()[0]: line.split()[2] for line in wherry.ctr("task", "ls", namespace=MOBY).splitlines()[1:]}


def shims() -> int:
    text = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return sum(line.startswith("wherry-shim ") for line in text.splitlines())


def run(daemon: Dockerd, *words: str, data: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run([daemon.client, "-H", daemon.socket, *words], input=data, capture_output=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_runs(daemon: Dockerd) -> None:
    assert run(daemon, "run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert run(daemon, "run", "-i", "--rm", IMAGE, "cat", data=b"in") == (0, "in", "")
    assert len(daemon("run", "--rm", IMAGE, "sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x")) == 2000000
    assert run(daemon, "run", "--rm", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", "x=$(head -c 99000000 /dev/zero | tr '\\0' x)")[0] == 137


@pytest.mark.parametrize(("command", "code", "why"), [("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
                                                      ("/etc", 126, 'exec: "/etc": permission denied')])
def test_what_cannot_run_is_said_once(daemon: Dockerd, command: str, code: int, why: str) -> None:
    done, _, said = run(daemon, "run", "--rm", IMAGE, command)
    assert done == code
    assert f"failed to create shim task: OCI runtime create failed: unable to start container process: {why}: unknown" in said


def test_a_terminal(daemon: Dockerd) -> None:
    terminal = Terminal([daemon.client, "-H", daemon.socket, "run", "-it", "--rm", IMAGE, "sh", "-c", "tty; echo go; read x; echo got $x; exit 7"])
    terminal.expect(b"/dev/pts/0")
    terminal.expect(b"go\r")
    terminal.type(b"typed\n")
    terminal.expect(b"got typed\r")
    assert terminal.end() == 7


def test_a_life(daemon: Dockerd, wherry: Ours) -> None:
    name = daemon("run", "-d", "--name", "life", IMAGE, "sh", "-c", "echo begun; trap 'exit 5' TERM; while :; do sleep 0.1; done")
    assert tasks(wherry) == {name: "RUNNING"}
    until(lambda: daemon("logs", "life") == "begun")
    assert daemon("exec", "life", "echo", "hi") == "hi"
    assert run(daemon, "exec", "life", "sh", "-c", "exit 9")[0] == 9
    assert run(daemon, "exec", "-i", "life", "cat", data=b"in") == (0, "in", "")
    assert run(daemon, "exec", "life", "nosuch")[0] == 126
    assert daemon("stats", "--no-stream", "--format", "{{.Name}}", "life") == "life"
    assert "sh -c" in daemon("top", "life")
    daemon("pause", "life")
    assert tasks(wherry) == {name: "PAUSED"}
    daemon("unpause", "life")
    daemon("update", "--memory", "64m", "--memory-swap", "64m", "life")
    daemon("stop", "life")
    assert daemon("inspect", "-f", "{{.State.ExitCode}}", "life") == "5"
    daemon("start", "life")
    daemon("kill", "life")
    assert daemon("wait", "life") == "137"
    daemon("rm", "life")


def test_containers_outlive_wherryd(daemon: Dockerd, wherry: Ours) -> None:
    name = daemon("run", "-d", IMAGE, "sh", "-c", "while :; do echo tick; sleep 0.1; done")
    for number in (signal.SIGTERM, signal.SIGKILL):
        wherry.stop(number)
        wherry.start()
        until(lambda: tasks(wherry) == {name: "RUNNING"})
        until(lambda: run(daemon, "exec", name, "echo", "here")[:2] == (0, "here\n"))
        before = len(daemon("logs", name))
        until(lambda before=before: len(daemon("logs", name)) > before)  # type: ignore[misc]
    daemon("kill", name)
    assert daemon("wait", name) == "137"


def test_containers_outlive_dockerd(daemon: Dockerd, wherry: Ours) -> None:
    stays = daemon("run", "-d", IMAGE, "sh", "-c", "while :; do echo tick; sleep 0.1; done")
    ends = daemon("run", "-d", IMAGE, "sh", "-c", "while [ ! -e /stop ]; do sleep 0.05; done; exit 9")
    for number in (signal.SIGTERM, signal.SIGKILL):
        daemon.process.send_signal(number)
        daemon.process.wait(PATIENCE_S)
        assert tasks(wherry)[stays] == "RUNNING"
        if number == signal.SIGKILL:
            wherry.ctr("task", "exec", "--exec-id", "stop", ends, "touch", "/stop", namespace=MOBY)
            until(lambda: tasks(wherry)[ends] == "STOPPED")
        daemon.start()
        wait(daemon)
        assert daemon("exec", stays, "echo", "here") == "here"
    assert daemon("wait", ends) == "9"
    assert daemon("inspect", "-f", "{{.State.Status}}", stays) == "running"
