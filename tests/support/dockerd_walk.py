"""What the real dockerd must be able to do with containers when a part of ours stands below it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from containers_by_api import until
from real_dockerd import IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_dockerd import Dockerd

# What cannot run: the command, docker's exit status, and why.
CANNOT_RUN = [("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH'), ("/etc", 126, 'exec: "/etc": permission denied')]


def shims() -> int:
    """How many of our shims run."""
    text = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return sum(line.startswith("wherry-shim ") for line in text.splitlines())


def check_runs(daemon: Dockerd) -> None:
    """Output, input, much output, a limit."""
    assert daemon.result("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert daemon.result("run", "-i", "--rm", IMAGE, "cat", data=b"in") == (0, "in", "")
    assert daemon("run", "-t", "--rm", IMAGE, "tty") == "/dev/pts/0"
    assert len(daemon("run", "--rm", IMAGE, "sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x")) == 2000000
    greedy = "x=$(head -c 99000000 /dev/zero | tr '\\0' x)"
    assert daemon.result("run", "--rm", "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", greedy)[0] == 137


def check_refusal(daemon: Dockerd, command: str, code: int, said: str) -> None:
    """What cannot run ends with a code and a reason that is said once."""
    done, _, text = daemon.result("run", "--rm", IMAGE, command)
    assert done == code
    assert f"failed to create shim task: OCI runtime create failed: {said}: unknown" in text
    assert text.count("unable to start") == 1


def check_life(daemon: Dockerd, status: Callable[[str], None]) -> None:
    """A container's life: further processes, pause, update, stop, another start. `status` checks that it is RUNNING or PAUSED."""
    daemon("run", "-d", "--name", "life", IMAGE, "sh", "-c", "echo begun; trap 'exit 5' TERM; while :; do sleep 0.1; done")
    status("RUNNING")
    until(lambda: daemon("logs", "life") == "begun")
    assert daemon("exec", "life", "echo", "hi") == "hi"
    assert daemon.result("exec", "life", "sh", "-c", "exit 9")[0] == 9
    assert daemon.result("exec", "-i", "life", "cat", data=b"in") == (0, "in", "")
    assert daemon.result("exec", "life", "nosuch")[0] == 126
    assert daemon("stats", "--no-stream", "--format", "{{.Name}}", "life") == "life"
    assert "sh -c" in daemon("top", "life")
    daemon("pause", "life")
    status("PAUSED")
    assert "(Paused)" in daemon("ps", "--format", "{{.Status}}")
    daemon("unpause", "life")
    daemon("update", "--memory", "64m", "--memory-swap", "64m", "life")
    daemon("stop", "life")
    assert daemon("inspect", "-f", "{{.State.ExitCode}}", "life") == "5"
    daemon("start", "life")
    daemon("kill", "life")
    assert daemon("wait", "life") == "137"
    daemon("rm", "life")
