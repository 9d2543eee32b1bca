"""The real dockerd of the machine, with a root, a socket and a containerd of its own, for the length of a test."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from busybox_image import archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_S = 60.0
IMAGE = "busybox:latest"


class Dockerd:
    """A running dockerd, and the docker command line on it."""

    def __init__(self, folder: Path, data_root: str, flags: Sequence[str]) -> None:
        self.folder, self.data_root = folder, data_root
        self.socket = f"unix://{folder}/docker.sock"
        self.log = folder / "log"
        self._arguments = ["dockerd", "-H", self.socket, "--data-root", data_root, "--exec-root", f"{folder}/exec", "--pidfile",
                           f"{folder}/pid", *flags]
        self.start()
        self.client = shutil.which("docker", path="/usr/bin") or shutil.which("docker") or "docker"

    def start(self) -> None:
        """Starts it (again), without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._arguments, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends it, and takes away what a container on the host's network, or a dockerd that was killed, left mounted in its folders."""
        self.process.terminate()
        self.process.wait(START_S)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if (target := line.split()[4]) == self.data_root or target.startswith((f"{self.data_root}/", f"{self.folder}/")):
                subprocess.run(["umount", "-l", target], check=False)

    def __call__(self, *words: str, fails: bool = False, data: bytes | None = None) -> str:
        """Runs the docker command line; what it printed (both outputs)."""
        done = subprocess.run([self.client, "-H", self.socket, *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode(errors="replace").strip()
        assert (done.returncode != 0) == fails, f"docker {' '.join(words)}: {text}"
        return text

    def result(self, *words: str, data: bytes = b"") -> tuple[int, str, str]:
        """Exit status, output and error output of the docker command line."""
        done = subprocess.run([self.client, "-H", self.socket, *words], input=data, capture_output=True, timeout=START_S)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def address(self, container: str) -> str:
        return self("inspect", "-f", "{{.NetworkSettings.IPAddress}}", container)


@contextlib.contextmanager
def dockerd(*flags: str) -> Iterator[Dockerd]:
    """Starts it on the real disk (overlay), waits until it answers, loads the image; removes everything at the end."""
    with tempfile.TemporaryDirectory(prefix="wherry-peer-", dir="/var/tmp") as name, tempfile.TemporaryDirectory(dir="/run") as run:
        daemon = Dockerd(Path(run), name, flags)
        try:
            wait(daemon)
            daemon("load", data=archive(IMAGE))
            yield daemon
            for container in daemon("ps", "-aq").split():
                daemon("rm", "-f", container)
        finally:
            daemon.stop()


def wait(daemon: Dockerd) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_S
    while subprocess.run([daemon.client, "-H", daemon.socket, "version"], capture_output=True).returncode:
        assert daemon.process.poll() is None, daemon.log.read_text()
        assert time.monotonic() < deadline, daemon.log.read_text()
        time.sleep(0.05)
