"""The streams of a task: fifos that the shim writes and reads, a place that it logs to, or nothing.

    <folder>/<random>/<id>-stdin, -stdout, -stderr      with a terminal there is no stderr

Our ends are opened before the task is made, without waiting for the shim: a shim waits for somebody who reads.
"""

from __future__ import annotations

import os
import tempfile

from wherry.record import Record

FOLDER = "/run/containerd/fifo"


class Stdio(Record):
    """Where a process's streams are, as the API takes it; `folder` is what to remove at the end ("" for nothing)."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False
    folder: str = ""

    @classmethod
    def fifos(cls, name: str, *, terminal: bool, folder: str = "") -> Stdio:
        """Makes the fifos of a process in a fresh folder below `folder`."""
        above = folder or FOLDER
        os.makedirs(above, mode=0o700, exist_ok=True)
        place = tempfile.mkdtemp(dir=above, prefix="")
        made = cls(stdin=f"{place}/{name}-stdin", stdout=f"{place}/{name}-stdout",
                   stderr="" if terminal else f"{place}/{name}-stderr", terminal=terminal, folder=place)
        for path in filter(None, (made.stdin, made.stdout, made.stderr)):
            os.mkfifo(path, 0o700)
        return made

    @classmethod
    def logged(cls, uri: str) -> Stdio:
        """What the process writes goes to a log, as the shim understands the URI."""
        return cls(stdout=uri, stderr=uri)

    def fields(self) -> dict[str, str | bool]:
        """The fields of a request that makes a task or a process."""
        return {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "terminal": self.terminal}

    def remove(self) -> None:
        """Removes the fifos that were made."""
        if self.folder:
            import shutil

            shutil.rmtree(self.folder, ignore_errors=True)


class Ends:
    """Our ends of a process's fifos; -1 where there is no such stream, or it goes to a log.

    The writing end of stdin needs a reader to be opened: until the shim is one, a descriptor of ours that is both keeps the
    fifo, and what was typed, alive.
    """

    def __init__(self, stdio: Stdio) -> None:
        self.stdout = _reader(stdio.stdout)
        self.stderr = _reader(stdio.stderr)
        self.keeper = os.open(stdio.stdin, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) if stdio.stdin else -1
        self.stdin = os.open(stdio.stdin, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC) if stdio.stdin else -1

    def waiting(self) -> int:
        """How many bytes of stdin the process has not yet taken."""
        import fcntl
        import struct
        import termios

        return int(struct.unpack("i", fcntl.ioctl(self.keeper, termios.FIONREAD, b"\0\0\0\0"))[0])

    def close_stdin(self) -> None:
        """Ends the process's input; a second call does nothing."""
        for fd in (self.stdin, self.keeper):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.keeper = -1

    def close(self) -> None:
        """Gives all descriptors back."""
        self.close_stdin()
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1


def _reader(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if path.startswith("/") else -1
