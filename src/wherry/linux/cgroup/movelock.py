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


class MoveLock:
    """One process's way to wake the lock. `wake` blocks for some milliseconds: call it in a thread."""

    def __init__(self) -> None:
        layout = read_layout()
        first = next((one for one in layout.v1 if not one.names[0].startswith("name=")), None)
        self._procs = f"{first.mount}{first.own.rstrip('/')}/cgroup.procs" if first else ""

    @property
    def sleeps(self) -> bool:
        """Whether this machine has such a lock."""
        return bool(self._procs)

    def wake(self) -> None:
        """Moves this process to where it is. Raises OSError where its own cgroup may not be written."""
        trace.step("wake the lock of cgroup moves", self._procs)
        descriptor = os.open(self._procs, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)
