"""`containerd-shim-wherry-v2` in place of containerd's own shim, under the real containerd of the real dockerd, with the real runc below it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from real_containerd import BIN
from real_dockerd import IMAGE, Dockerd, dockerd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(not all(shutil.which(one) for one in ("dockerd", "containerd", "runc")),
                                 reason="needs dockerd, containerd and runc (Debian: docker.io)")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    folder: Path = tmp_path_factory.mktemp("bin")
    (folder / "containerd-shim-runc-v2").symlink_to(BIN / "containerd-shim-wherry-v2")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        with dockerd("--bridge=none", "--iptables=false") as one:
            yield one
    finally:
        os.environ["PATH"] = before


def shims() -> int:
    text = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return sum(line.startswith("wherry-shim ") for line in text.splitlines())


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run(daemon: Dockerd, *words: str, data: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run([daemon.client, "-H", daemon.socket, *words], input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_runs(daemon: Dockerd) -> None:
    assert run(daemon, "run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert run(daemon, "run", "-i", "--rm", IMAGE, "cat", data=b"in") == (0, "in", "")
    assert daemon("run", "-t", "--rm", IMAGE, "tty") == "/dev/pts/0"
    assert len(daemon("run", "--rm", IMAGE, "sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x")) == 2000000
    assert run(daemon, "run", "--rm", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", "x=$(head -c 99000000 /dev/zero | tr '\\0' x)")[0] == 137


@pytest.mark.parametrize(("command", "code", "why"), [("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'),
                                                      ("/etc", 126, 'exec: "/etc": permission denied')])
def test_what_cannot_run_is_said_once(daemon: Dockerd, command: str, code: int, why: str) -> None:
    done, _, said = run(daemon, "run", "--rm", IMAGE, command)
    assert done == code
    assert f"failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {why}: unknown" in said
    assert said.count("unable to start") == 1


def test_a_life(daemon: Dockerd) -> None:
    daemon("run", "-d", "--name", "life", IMAGE, "sh", "-c", "echo begun; trap 'exit 5' TERM; while :; do sleep 0.1; done")
    assert shims() == 1
    until(lambda: daemon("logs", "life") == "begun")
    assert daemon("exec", "life", "echo", "hi") == "hi"
    assert run(daemon, "exec", "life", "sh", "-c", "exit 9")[0] == 9
    assert run(daemon, "exec", "-i", "life", "cat", data=b"in") == (0, "in", "")
    assert run(daemon, "exec", "life", "nosuch")[0] == 126
    assert daemon("stats", "--no-stream", "--format", "{{.Name}}", "life") == "life"
    assert "sleep" in daemon("top", "life") or "sh -c" in daemon("top", "life")
    daemon("pause", "life")
    assert "(Paused)" in daemon("ps", "--format", "{{.Status}}")
    daemon("unpause", "life")
    daemon("update", "--memory", "64m", "--memory-swap", "64m", "life")
    daemon("stop", "life")
    assert daemon("inspect", "-f", "{{.State.ExitCode}}", "life") == "5"
    daemon("start", "life")
    daemon("kill", "life")
    assert daemon("wait", "life") == "137"
    daemon("rm", "life")
    until(lambda: shims() == 0)
