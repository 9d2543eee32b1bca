"""The program's stdin, stdout and stderr as descriptors: whole writes, and what is known about the terminal."""

from __future__ import annotations

import os

TYPE_CHECKING = False


class Streams:
    """Three descriptors. Text goes out as UTF-8; bytes that were not UTF-8 when they came in go out as they came."""

    def __init__(self, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    def out(self, text: str) -> None:
        """Writes to stdout."""
        write_all(self.stdout, text.encode("utf-8", "surrogateescape"))

    def err(self, text: str) -> None:
        """Writes to stderr."""
        write_all(self.stderr, text.encode("utf-8", "surrogateescape"))

    def line(self, text: str) -> None:
        """Writes a line to stdout."""
        self.out(text + "\n")

    def error_line(self, text: str) -> None:
        """Writes a line to stderr."""
        self.err(text + "\n")

    @property
    def stdin_is_terminal(self) -> bool:
        """Whether stdin is a terminal."""
        return os.isatty(self.stdin)

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return os.isatty(self.stdout)

    def size(self) -> tuple[int, int]:
        """(rows, columns) of the terminal at stdout; zeros where there is none."""
        try:
            columns, rows = os.get_terminal_size(self.stdout)
        except OSError:
            return 0, 0
        return rows, columns


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Writes everything, waiting where the descriptor would block."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            import select

            select.select([], [fd], [])
