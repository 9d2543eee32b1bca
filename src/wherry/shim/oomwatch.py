"""Whether the kernel has killed in the container's cgroup for want of memory: counted, and told when it happens."""

from __future__ import annotations

import os

from wherry.errors import WherryError
from wherry.shim.loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from wherry.linux.cgroup import Manager
    from wherry.shim.loop import Loop

# Cgroup v1 gives notice first, kills and counts a little later: the count is looked at this often, in this rhythm.
TRIES: Final = 20
PAUSE_S: Final = 0.02


class OomWatch:
    """The watch over one container. `told()` is called for each time that the count has grown."""

    def __init__(self, loop: Loop, told: Callable[[], None]) -> None:
        self._loop = loop
        self._told = told
        self._cgroup: Manager | None = None
        self._fd = -1
        self._count = 0

    def begin(self, pid: int) -> None:
        """Watches the cgroup of a process; no watch where there is no memory controller, or the process has ended."""
        from wherry.linux import cgroup

        try:
            path = memory_cgroup(pid)
            if path is None:
                return
            self._cgroup = cgroup.manager(path)
            self._fd = self._cgroup.watch_oom()
        except (WherryError, OSError):
            return
        self._loop.watch(self._fd, IN, self._notified)

    def has_killed(self) -> bool:
        """Whether the kernel has killed here so far."""
        if self._cgroup is not None:
            try:
                self._count = max(self._count, self._cgroup.oom_count())
            except OSError:
                pass  # the cgroup has gone: what was counted stands
        return self._count > 0

    def end(self) -> None:
        """Gives the notice's descriptor back."""
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _notified(self, _events: int) -> None:
        try:
            os.read(self._fd, 4096)
        except OSError:
            pass
        self._look(TRIES)

    def _look(self, tries: int) -> None:
        known = self._count
        self.has_killed()
        if self._count > known:
            self._told()
        elif tries and self._fd >= 0:
            self._loop.after(PAUSE_S, lambda: self._look(tries - 1))


def memory_cgroup(pid: int) -> str | None:
    """The process's cgroup that counts memory, from the hierarchy's root as this process sees it; None at the root."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    unified = None
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            return path if path != "/" else None
        if not controllers:
            unified = path
    return unified if unified not in (None, "/") else None
