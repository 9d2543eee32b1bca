"""The real containerd of the machine, with a root and a socket of its own, the busybox image, and wherry's shim on its path."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from busybox_image import archive

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 60.0
IMAGE = "docker.io/library/busybox:latest"
BIN = Path(__file__).resolve().parents[2] / "bin"
SHIMS = "/run/containerd/s"
BUNDLES = "/run/containerd/io.containerd.runtime.v2.task/default"
_CONFIG = """version = 2
root = "{folder}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
"""
# Garbage is collected when a call asks for it, not when there is time: listings are the same each time, and what nothing holds stays.
COLLECTS_WHEN_ASKED = """[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "1h"
deletion_threshold = 0
mutation_threshold = 1000000
"""


class Containerd:
    """A containerd that can be killed and started again. `runtime` is what `run` asks for."""

    def __init__(self, folder: Path, runtime: str, settings: str = "") -> None:
        self.folder, self.runtime = folder, runtime
        self.socket = "/run/containerd/containerd.sock"
        (folder / "config.toml").write_text(_CONFIG.format(folder=folder, socket=self.socket) + settings)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["containerd", "-c", str(self.folder / "config.toml")], stdout=log, stderr=log,
                env={**os.environ, "PATH": f"{self.folder}/bin:{BIN}:{os.environ['PATH']}"})
        self.wait_for(lambda: self.ctr("version", code=None).returncode == 0, "containerd answers")

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ctr(self, *words: str, code: int | None = 0, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Runs ctr; `code` is the exit status that it is to have (None: any)."""
        done = subprocess.run(["ctr", "-a", self.socket, *words], input=data, capture_output=True, timeout=START_S)
        text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(errors="replace"),
                                           done.stderr.decode(errors="replace"))
        assert code in (None, done.returncode), (words, text.stdout, text.stderr, self.log())
        return text

    def run(self, name: str, *command: str, flags: tuple[str, ...] = ("--rm",), code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """`ctr run` of a command in busybox."""
        return self.ctr("run", *flags, "--runtime", self.runtime, IMAGE, name, *command, code=code)

    def statuses(self) -> dict[str, str]:
        """The tasks and what they do (RUNNING, STOPPED, …)."""
        return {line.split()[0]: line.split()[2] for line in self.ctr("task", "ls").stdout.splitlines()[1:]}

    def log(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def wait_for(self, condition, what: str) -> None:
        """Waits until it is so."""
        deadline = time.monotonic() + START_S
        while not condition():
            assert time.monotonic() < deadline, (what, self.log())
            time.sleep(0.02)

    def shims(self) -> list[str]:
        """What shims have in the file system and among the processes."""
        sockets = sorted(os.listdir(SHIMS)) if os.path.isdir(SHIMS) else []
        bundles = sorted(os.listdir(BUNDLES)) if os.path.isdir(BUNDLES) else []
        processes = [line for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
                     if line.startswith("wherry-shim")]
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if BUNDLES in line]
        return [*sockets, *bundles, *processes, *mounts]


@contextlib.contextmanager
def containerd(runtime: str = "io.containerd.wherry.v2", settings: str = "") -> Iterator[Containerd]:
    """Starts it, with further settings, gives it the image; ends what runs and removes everything at the end."""
    with tempfile.TemporaryDirectory(prefix="wherry-peer-", dir="/var/tmp") as name:
        one = Containerd(Path(name), runtime, settings)
        (one.folder / "bin").mkdir()
        one.start()
        try:
            (one.folder / "image.tar").write_bytes(archive("busybox:latest"))
            one.ctr("images", "import", f"{one.folder}/image.tar")
            yield one
            for task in one.statuses():
                one.ctr("task", "rm", "-f", task, code=None)
        finally:
            assert one.process is not None
            one.process.terminate()
            one.process.wait(START_S)
            shutil.rmtree("/run/containerd", ignore_errors=True)
