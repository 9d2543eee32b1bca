"""A wherryd that is killed before one of its changes: the n-th file it writes, name it moves, message it sends, step that it traces.

    dying_wherryd.py COUNTER FLAG…

COUNTER is a file of two native 64-bit numbers that the test maps too: at which change the daemon is to be killed (0: at none), and
how many there were. Only the daemon's own process counts; what it forks has the pages, and is left alone.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys

from wherry import trace
from wherry.daemon.main import main

CHANGES = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
                     "os.posix_spawn", "os.fork", "socket.connect", "socket.sendmsg", "socket.sendto"})
READS = frozenset({"openat2"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch(path: str) -> None:
    """Counts from now on."""
    with open(path, "r+b") as file:
        numbers = memoryview(mmap.mmap(file.fileno(), 16)).cast("q")
    daemon = os.getpid()

    def change() -> None:
        if os.getpid() == daemon:
            numbers[1] += 1
            if numbers[1] == numbers[0]:
                os.kill(daemon, signal.SIGKILL)

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            change()

    def traced(_moment: float, operation: str, _subject: str) -> None:
        if operation not in READS:
            change()

    sys.addaudithook(audit)
    trace.watch(traced)


if __name__ == "__main__":
    watch(sys.argv.pop(1))
    raise SystemExit(main(sys.argv[1:]))
