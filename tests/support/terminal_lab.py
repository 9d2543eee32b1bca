"""A command line in a terminal of its own: types when something appears, tells what came, the exit code, and whether the terminal is as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DEADLINE_S = 30.0


class Terminal:
    """The master's side. `text` is everything that came so far."""

    def __init__(self, words: Sequence[str], rows: int = 33, columns: int = 99) -> None:
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvp(words[0], words)
        self.before = termios.tcgetattr(self.fd)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> bool:
        if not select.select([self.fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            return False
        self.text += data
        return bool(data)

    def expect(self, text: bytes) -> None:
        """Waits until it appears after what was expected before."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.text!r}"
            assert self._read() or text in self.text, f"the program ended before {text!r} came: {self.text!r}"
        self.text = self.text.partition(text)[2]

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def restored(self) -> bool:
        """Whether the terminal's modes are those of the beginning (asked while the program may still run)."""
        return termios.tcgetattr(self.fd) == self.before

    def signal(self, number: int) -> None:
        """Sends a signal to the program."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Waits for the program; its exit code. Everything it still wrote is in `text`. The terminal must be as it was."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            assert time.monotonic() < deadline, f"the program does not end: {self.text!r}"
            self._read()
        while select.select([self.fd], [], [], 0)[0] and self._read():
            pass
        restored = self.restored()
        os.close(self.fd)
        assert restored, "the program left the terminal changed"
        return os.waitstatus_to_exitcode(status)
