"""The lock that each move of a process into a v1 cgroup takes, woken ahead of time.

The kernel guards moves against forks by a per-cpu lock (`cgroup_threadgroup_rwsem`). After some idleness its first writer
waits for an RCU grace period, 5 to 16 ms; those that follow within about that time again do not wait. A move of our own process
to where it already is changes nothing and wakes the lock, so a start that does this early finds it awake when its init is moved.
On pure v2 a process is cloned into its cgroup, and there is nothing to wake.
"""

from __future__ import annotations

import os

from wherry import trace
from wherry.linux.cgroup.layout import read_layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class MoveLock:
    """One process's way to wake the lock. `wake` blocks for some milliseconds: call it in a thread; `waking` does not."""

    def __init__(self) -> None:
        layout = read_layout()
        first = next((one for one in layout.v1 if not one.names[0].startswith("name=")), None)
        self._procs = f"{first.mount}{first.own.rstrip('/')}/cgroup.procs" if first else ""

    @property
    def sleeps(self) -> bool:
        """Whether this machine has such a lock."""
        return bool(self._procs)

    def waking(self) -> Waking:
        """A context. What is done inside goes on while the lock is woken by another process, and finds it awake, or nearly so."""
        return Waking(self._procs)

    def wake(self) -> None:
        """Moves this process to where it is. Raises OSError where its own cgroup may not be written."""
        trace.step("wake the lock of cgroup moves", self._procs)
        descriptor = os.open(self._procs, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)


class Waking:
    """A context: a process that wakes the lock is started at its beginning, and reaped at its end. procs "": nothing is to wake.

    That process is a shell. A fork of this one would cost three times as much: both would write to the same pages.
    """

    def __init__(self, procs: str) -> None:
        self._procs, self._pid = procs, 0

    def __enter__(self) -> Self:
        if self._procs:
            trace.step("wake the lock of cgroup moves", self._procs)
            try:
                self._pid = os.posix_spawn("/bin/sh", ("sh", "-c", 'echo 0 2>/dev/null >"$0"', self._procs), {})
            except OSError:
                trace.step("there is no shell to wake it")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Reaps the process, which has ended when a move has been made."""
        if self._pid:
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:  # whoever started us wants children to be reaped by the kernel
                pass
            self._pid = 0
