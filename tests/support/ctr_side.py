"""A real containerd for one client, Debian's ctr or wherry-ctr: the same calls on a fresh one for each give what is compared."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from real_containerd import COLLECTS_WHEN_ASKED, START_S, containerd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_containerd import Containerd

OURS = str(Path(sys.executable).parent / "wherry-ctr")
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
    """A containerd and the client that speaks to it."""

    def __init__(self, server: Containerd, program: str) -> None:
        self.folder, self.socket, self.program = server.folder, server.socket, program
        self.environment = {"PATH": os.environ["PATH"], "CONTAINERD_ADDRESS": self.socket, "HOME": str(self.folder)}

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


@contextlib.contextmanager
def side(program: str) -> Iterator[Side]:
    """A started side with the busybox image; all of it is gone at the end."""
    with containerd(settings=COLLECTS_WHEN_ASKED) as server:
        yield Side(server, program)
