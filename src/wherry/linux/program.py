"""Runs another program to its end and keeps what it says: for the few that do what the kernel leaves to them."""

from __future__ import annotations

import errno
import os

from wherry.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """(exit code or 128 + signal, its standard output and error) of a program of $PATH. FileNotFoundError when there is none."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            process.reset_signals()
            os.execvp(arguments[0], list(arguments))
        finally:
            os._exit(127)
    pidfd = process.pidfd_open(pid)
    os.close(writer)
    try:
        with open(reader, encoding="utf-8", errors="replace") as output:
            text = output.read()
        code = process.reap(pidfd) or 0
    finally:
        os.close(pidfd)
    if code == 127 and not text:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])
    return code, text
