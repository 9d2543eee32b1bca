"""Docker's own places: the real dockerd and `wherryd --drop-in`, one after the other on one data root."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from wherryd_box import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOCKET = "/var/run/docker.sock"
CLIENT = "/usr/bin/docker"
START_S = 90
DOCKERD, WHERRYD = "dockerd", "wherryd"


class Daemon:
    """A daemon at Docker's socket and PID file."""

    def __init__(self, kind: str, root: str, folder: Path, *flags: str, answers: bool = True) -> None:
        """Starts `dockerd` or `wherryd` and waits until it answers, unless it is not expected to."""
        self.folder = folder
        self.log = folder / f"{kind}.log"
        # dockerd's own containerd needs a folder of its own below the exec root.
        program = ([kind, "--exec-root", str(folder / "docker")] if kind == DOCKERD
                   else [*PROGRAM, "--drop-in", "--exec-root", str(folder / "exec")])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*program, "--data-root", root, *flags], stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while answers and subprocess.run([CLIENT, "version"], capture_output=True).returncode:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ends it, if it has not ended, and takes its socket away if it could not do that itself."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(START_S)
        # A container on the host's network leaves this mounted, and the folder could not be removed.
        subprocess.run(["umount", str(self.folder / "docker/netns/default")], capture_output=True)
        if number == signal.SIGKILL:
            os.unlink(SOCKET)


@contextlib.contextmanager
def daemon(kind: str, root: str, folder: Path, *flags: str) -> Iterator[Daemon]:
    """A daemon for the length of the block."""
    running = Daemon(kind, root, folder, *flags)
    try:
        yield running
    finally:
        running.stop()


def docker(*words: str, data: bytes | None = None, fails: bool = False) -> str:
    """Docker 20.10's command line on whatever listens; what it printed, both outputs."""
    done = subprocess.run([CLIENT, *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace").strip()
    assert (done.returncode != 0) == fails, f"docker {' '.join(words)}: {text}"
    return text
