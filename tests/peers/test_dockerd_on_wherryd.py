"""The real dockerd with wherryd in containerd's place (`--containerd`): containers run, and outlive either daemon."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from api_pair import PATIENCE_S, ours
from containers_by_api import until
from dockerd_walk import CANNOT_RUN, check_life, check_refusal, check_runs, shims
from real_dockerd import IMAGE, dockerd, wait
from terminal_lab import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_pair import Ours
    from real_dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="needs dockerd (Debian: docker.io)")]
MOBY = "moby"


@pytest.fixture(scope="module")
def wherry() -> Iterator[Ours]:
    with ours() as one:
        yield one


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


def tasks(wherry: Ours) -> dict[str, str]:
    """What wherryd knows of dockerd's containers."""
    return {line.split()[0]: line.split()[2] for line in wherry.ctr("task", "ls", namespace=MOBY).splitlines()[1:]}


def test_runs(daemon: Dockerd) -> None:
    check_runs(daemon)


@pytest.mark.parametrize(("command", "code", "why"), CANNOT_RUN)
def test_what_cannot_run_is_said_once(daemon: Dockerd, command: str, code: int, why: str) -> None:
    check_refusal(daemon, command, code, f"unable to start container process: {why}")


def test_a_terminal(daemon: Dockerd) -> None:
    terminal = Terminal([daemon.client, "-H", daemon.socket, "run", "-it", "--rm", IMAGE, "sh", "-c", "tty; echo go; read x; echo got $x; exit 7"])
    terminal.expect(b"/dev/pts/0")
    terminal.expect(b"go\r")
    terminal.type(b"typed\n")
    terminal.expect(b"got typed\r")
    assert terminal.end() == 7


def test_a_life(daemon: Dockerd, wherry: Ours) -> None:
    def status(wanted: str) -> None:
        assert list(tasks(wherry).values()) == [wanted]

    check_life(daemon, status)


def test_containers_outlive_wherryd(daemon: Dockerd, wherry: Ours) -> None:
    name = daemon("run", "-d", IMAGE, "sh", "-c", "while :; do echo tick; sleep 0.1; done")
    for number in (signal.SIGTERM, signal.SIGKILL):
        wherry.stop(number)
        wherry.start()
        until(lambda: tasks(wherry) == {name: "RUNNING"})
        until(lambda: daemon.result("exec", name, "echo", "here")[:2] == (0, "here\n"))
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
