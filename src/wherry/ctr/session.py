"""One process at this terminal: bytes both ways, signals and window size to it, its exit status back; one poll loop.

our stdin ──► fifo          the end of stdin ends the process's, once it has taken what was written
fifos     ──► our stdout, stderr
signals   ──► Kill, or with a terminal SIGWINCH ──► ResizePty
Wait      ──► a thread, and a pipe that wakes the loop
"""

from __future__ import annotations

import os
import select
import threading

from wherry import errors
from wherry.console.signals import PROXIED, WINCH, SignalWatch
from wherry.console.streams import write_all
from wherry.ctr import log
from wherry.ctr.stdio import Ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.console.streams import Streams
    from wherry.ctr.client import Client
    from wherry.ctr.stdio import Stdio

PIECE = 1 << 16
# How often the loop looks whether the process has taken the end of its input.
DRAIN_MS = 10
CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Exit:
    """The end of a process, waited for in a thread; `fd` becomes readable when it has come."""

    def __init__(self, client: Client, container: str, exec_id: str) -> None:
        self.fd, self._told = os.pipe2(os.O_CLOEXEC)
        self._answer: Any = None
        self._failure: errors.WherryError | None = None
        self.has_come = False
        threading.Thread(target=self._wait, args=(client, container, exec_id), daemon=True).start()

    def _wait(self, client: Client, container: str, exec_id: str) -> None:
        try:
            self._answer = client.tasks.Wait(container_id=container, exec_id=exec_id)
        except errors.WherryError as problem:
            self._failure = problem
        self.has_come = True
        os.write(self._told, b".")

    def status(self) -> int:
        """The exit status. Raises what waiting failed with."""
        if self._failure is not None:
            raise self._failure
        return int(self._answer.exit_status)


class Session:
    """A process and its streams. Made before the process is, so that its output finds a reader."""

    def __init__(self, client: Client, streams: Streams, container: str, stdio: Stdio, exec_id: str = "") -> None:
        self._client = client
        self._streams = streams
        self._container = container
        self._exec_id = exec_id
        self._terminal = stdio.terminal
        self._ends = Ends(stdio)
        self._typed = b""
        self._is_over = self._ends.stdin < 0

    def wait(self) -> Exit:
        """Begins to wait for the end; to be called before the process is started."""
        return Exit(self._client, self._container, self._exec_id)

    def close(self) -> None:
        """Gives the descriptors back."""
        self._ends.close()

    def run(self, end: Exit) -> int:
        """Moves bytes until the process has ended and its output has come; its exit status."""
        poll = select.poll()
        poll.register(end.fd, select.POLLIN)
        outputs = {self._ends.stdout: self._streams.stdout, self._ends.stderr: self._streams.stderr}
        outputs.pop(-1, None)
        for fd in outputs:
            poll.register(fd, select.POLLIN)
        if not self._is_over:
            poll.register(self._streams.stdin, select.POLLIN)
        with SignalWatch((WINCH,) if self._terminal else PROXIED) as signals:
            poll.register(signals.fileno(), select.POLLIN)
            if self._terminal:
                self._resize()
            while not end.has_come or outputs:
                for fd, event in poll.poll(DRAIN_MS if self._drains() else None):
                    if fd == end.fd:
                        poll.unregister(fd)
                    elif fd == signals.fileno():
                        self._signals(signals.read())
                    elif fd in outputs:
                        if not self._copy(fd, outputs[fd], event):
                            poll.unregister(fd)
                            del outputs[fd]
                    else:
                        self._input(poll, fd)
        return end.status()

    def _copy(self, source: int, target: int, event: int) -> bool:
        """Passes output on; False at its end."""
        try:
            data = os.read(source, PIECE)
        except BlockingIOError:
            return not event & CLOSED
        write_all(target, data)
        return bool(data)

    def _input(self, poll: select.poll, fd: int) -> None:
        """Takes what was typed, and writes what the fifo takes; while something is left only the fifo is watched.

        An input whose other end has gone is ready for ever: to go on watching it would keep the loop busy.
        """
        stdin, fifo = self._streams.stdin, self._ends.stdin
        if fd == stdin:
            try:
                self._typed = os.read(fd, PIECE)
            except OSError:  # the terminal has gone (EIO)
                self._typed = b""
            if not self._typed:
                poll.unregister(fd)
                self._is_over = True
                return
        try:
            self._typed = self._typed[os.write(fifo, self._typed):]
        except BlockingIOError:
            pass  # POLLOUT will tell
        watched = fifo if self._typed else stdin
        if watched != fd:
            poll.unregister(fd)
            poll.register(watched, select.POLLOUT if self._typed else select.POLLIN)

    def _drains(self) -> bool:
        """Whether the end of our input is still to be handed on; does so once all before it has been taken."""
        if not self._is_over or self._ends.stdin < 0:
            return False
        if self._ends.waiting():
            return True
        self._ends.close_stdin()
        try:
            self._client.tasks.CloseIO(container_id=self._container, exec_id=self._exec_id, stdin=True)
        except errors.WherryError:
            pass  # the process has ended first
        return False

    def _signals(self, numbers: list[int]) -> None:
        for number in numbers:
            if self._terminal:
                self._resize()
                continue
            try:
                self._client.tasks.Kill(container_id=self._container, exec_id=self._exec_id, signal=number)
            except errors.NotFound:
                pass  # it has ended
            except errors.WherryError as problem:
                log.write("error", f"forward signal {number}", error=problem.message)

    def _resize(self) -> None:
        rows, columns = self._streams.size()
        if not rows:
            return
        try:
            self._client.tasks.ResizePty(container_id=self._container, exec_id=self._exec_id, width=columns, height=rows)
        except errors.WherryError as problem:
            log.write("error", "resize pty", error=problem.message)
