"""What Docker's API runs is seen by containerd's clients in the namespace `moby`, while it runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from wherryd_box import IMAGE, folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wherryd_box import Wherryd

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.skipif(not shutil.which("ctr"), reason="needs ctr (Debian: containerd)")]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with folders() as one:
        one.start("--containerd-address", f"{one.folder}/containerd.sock", "--bridge=none", "--iptables=false")
        one.load()
        yield one


def ctr(daemon: Wherryd, *words: str, code: int = 0, namespace: str = "moby") -> str:
    done = subprocess.run(["ctr", "-a", f"{daemon.folder}/containerd.sock", "-n", namespace, *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=PATIENCE_S)
    text = done.stdout.decode()
    assert done.returncode == code, text
    return text


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def statuses(daemon: Wherryd) -> dict[str, str]:
    return {line.split()[0]: line.split()[2] for line in ctr(daemon, "task", "ls").splitlines()[1:]}


def test_it_is_seen_while_it_runs(daemon: Wherryd) -> None:
    name = daemon.docker("run", "-d", IMAGE, "sleep", "1000")
    assert statuses(daemon) == {name: "RUNNING"}
    assert ctr(daemon, "containers", "ls", "-q").split() == [name]
    assert ctr(daemon, "containers", "ls", "-q", namespace="default") == ctr(daemon, "task", "ls", "-q", namespace="default") == ""
    info = json.loads(ctr(daemon, "containers", "info", name))
    assert (info["ID"], info["Runtime"]["Name"], info["Spec"]["process"]["args"]) == (name, "io.containerd.runc.v2", ["sleep", "1000"])
    pid = daemon.docker("inspect", "-f", "{{.State.Pid}}", name)
    assert [line.split()[0] for line in ctr(daemon, "task", "ps", name).splitlines()[1:]] == [pid]
    assert "memory" in ctr(daemon, "task", "metrics", name)
    daemon.docker("kill", name)
    until(lambda: statuses(daemon) == {} and ctr(daemon, "containers", "ls", "-q") == "")


def test_it_is_paused_and_signalled_as_by_docker(daemon: Wherryd) -> None:
    name = daemon.docker("run", "-d", IMAGE, "sleep", "1000")
    ctr(daemon, "task", "pause", name)
    assert "(Paused)" in daemon.docker("ps", "--format", "{{.Status}}")
    assert statuses(daemon) == {name: "PAUSED"}
    ctr(daemon, "task", "resume", name)
    ctr(daemon, "task", "kill", "-s", "KILL", name)
    assert daemon.docker("wait", name) == "137"


def test_whose_it_is_stays(daemon: Wherryd) -> None:
    name = daemon.docker("run", "-d", IMAGE, "sleep", "1000")
    assert "belongs to Docker's API" in ctr(daemon, "task", "exec", "--exec-id", "e", name, "true", code=1)
    ctr(daemon, "task", "rm", name, code=1)
    ctr(daemon, "containers", "rm", name, code=1)
    assert statuses(daemon) == {name: "RUNNING"}
    daemon.docker("rm", "-f", name)
