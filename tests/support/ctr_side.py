"""A real containerd for one client, Debian's ctr or wherry-ctr: the same calls on a fresh one for each give what is compared."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from busybox_image import archive

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 60.0
IMAGE = "docker.io/library/busybox:latest"
OURS = str(Path(sys.executable).parent / "wherry-ctr")
_CONFIG = """version = 2
root = "{folder}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/sock"
[debug]
address = "{folder}/debug"
# The garbage is collected when a call asks for it, not when there is time: listings are the same each time.
[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "3600s"
deletion_threshold = 0
mutation_threshold = 1000000
"""
# What differs from call to call, and from program to program. The first word of a log line's time too.
_CHANGING = (
    (r'time="[^"]*"', 'time="T"'), (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)", "TIME"), (r"(?m)^wherry-ctr:", "ctr:"),
    (r"(?m)^( *TASK|r\d+|s\d+) +(PID|\d+) +(STATUS|RUNNING|STOPPED|PAUSED)", r"\1 PID \3"), (r"mount callback failed on \S+: ", ""),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+", "UUID"), (r"\d{19}-[\w-]{4}", "LEASE"),
)


def _warm() -> None:
    """Imports what every command needs; nothing of it starts a thread."""
    import importlib

    import grpc  # noqa: F401

    from wherry.ctr.client import SERVICES
    from wherry.ctr.index import TREE

    for module, _ in SERVICES.values():
        importlib.import_module(f"wherry.proto.services.{module}_pb2")
    for _, _, place, _ in TREE:
        if place:
            importlib.import_module(f"wherry.ctr.commands.{place.partition(':')[0]}")


def run_ours(words: tuple[str, ...], data: bytes, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """wherry-ctr as a process of its own, but forked from here: the libraries are imported once, not for each of some hundred calls."""
    from wherry.ctr.main import main

    _warm()
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(data)
        stdin.seek(0)
        child = os.fork()
        if child == 0:
            try:
                for fd, file in enumerate((stdin, stdout, stderr)):
                    os.dup2(file.fileno(), fd)
                os.environ.clear()
                os.environ.update(environment)
                os._exit(main(words, OURS))
            except BaseException:  # noqa: BLE001 - the child of a fork must not come back
                os.write(2, traceback.format_exc().encode())
                os._exit(99)
        deadline = time.monotonic() + START_S
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(ended[1])
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess(words, code, *texts)


class Side:
    """One containerd and the client that speaks to it."""

    def __init__(self, program: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wherry-ctr-", dir="/var/tmp"))
        self.program = program
        self.socket = f"{self.folder}/sock"
        (self.folder / "config.toml").write_text(_CONFIG.format(folder=self.folder))
        self.environment = {"PATH": os.environ["PATH"], "CONTAINERD_ADDRESS": self.socket, "HOME": str(self.folder)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts containerd, waits until it answers, and gives it the busybox image."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(["containerd", "-c", str(self.folder / "config.toml")], stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while subprocess.run(["ctr", "version"], env=self.environment, capture_output=True).returncode != 0:
            assert time.monotonic() < deadline, (self.folder / "log").read_text(errors="replace")[-3000:]
        (self.folder / "image.tar").write_bytes(archive("busybox:latest"))
        subprocess.run(["ctr", "images", "import", f"{self.folder}/image.tar"], env=self.environment, check=True, capture_output=True)

    def call(self, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Runs the side's client; `{folder}` in a word is the side's folder."""
        words = tuple(word.replace("{folder}", str(self.folder)) for word in words)
        if self.program == OURS:
            return run_ours(words, data, self.environment)
        done = subprocess.run([self.program, *words], input=data, capture_output=True, timeout=START_S, env=self.environment)
        return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(errors="replace"),
                                           done.stderr.decode(errors="replace"))

    def plain(self, text: str) -> str:
        """The text without what differs from call to call."""
        text = text.replace(str(self.folder), "FOLDER")
        for pattern, word in _CHANGING:
            text = re.sub(pattern, word, text)
        return text

    def same(self, *words: str, data: bytes = b"") -> tuple[int, str, str]:
        """What a call gives, to be compared with the other side's."""
        done = self.call(*words, data=data)
        return done.returncode, self.plain(done.stdout), self.plain(done.stderr)

    def end(self) -> None:
        """Ends what runs and removes everything."""
        tasks = subprocess.run(["ctr", "tasks", "ls", "-q"], env=self.environment, capture_output=True, text=True).stdout.split()
        for task in tasks:
            subprocess.run(["ctr", "tasks", "rm", "-f", task], env=self.environment, capture_output=True)
        if self.process is not None:
            self.process.terminate()
            self.process.wait(START_S)
        for folder in (self.folder, "/run/containerd"):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def side(program: str) -> Iterator[Side]:
    """A started side; all of it is gone at the end."""
    one = Side(program)
    try:
        one.start()
        yield one
    finally:
        one.end()
