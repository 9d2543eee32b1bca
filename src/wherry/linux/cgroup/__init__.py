"""Control groups: one interface over cgroup v1 (also hybrid), v2 and systemd's units.

    group = manager("/wherry/<id>")             # or "system.slice:wherry:<id>" with driver="systemd"
    group.create(resources)                     # folders and limits; resources as in the runtime-spec, a dict
    group.join(pid)                             # or clone into group.folder_fd() (v2 only)
    …
    group.kill(); group.remove()

`resources` is always `linux.resources` of the runtime-spec's config, as parsed from JSON. What will be written where is a plan
(`plan_v1`, `plan_v2`: pure); `create` and `set` apply it. A manager made for a cgroup that exists works on it: nothing is kept
in memory.
Failures are `OSError` that name the file.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod  # loaded in every interpreter

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.layout import Layout, read_layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.cgroup.plan import Step
    from wherry.linux.cgroup.stats import Stats

    # `linux.resources` of the runtime-spec, as parsed from JSON.
    Resources = Mapping[str, Any]


class Manager(ABC):
    """One control group."""

    version = ""  # "v1" (also on hybrid hosts) or "v2"

    @abstractmethod
    def paths(self) -> dict[str, str]:
        """The folders by controller; on v2 one, under the empty name. This is what runc keeps as `cgroup_paths`."""

    @abstractmethod
    def at(self, folders: dict[str, str]) -> Manager:
        """The cgroup at these folders, which are there, by controller as `paths` names them: a process's place below this one."""

    @abstractmethod
    def plan(self, resources: Resources) -> tuple[Step, ...]:
        """What `set` would write, without touching anything. Raises InvalidArgument for values no kernel takes."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether the cgroup is there (its folders, or systemd's unit)."""

    @abstractmethod
    def may_create(self) -> bool:
        """Whether the caller's rights would let it make the folders, as far as those show it."""

    @abstractmethod
    def create(self, resources: Resources | None = None) -> None:
        """Makes the folders with their parents and applies the limits; what was made is removed when that fails.

        An empty folder that is there already is taken over. systemd starts a unit only with a process in it: there the
        limits are remembered and `join` makes the unit.
        """

    def rename(self, other: Manager) -> None:  # noqa: ARG002
        """Makes this cgroup, with who is in it, the other one, which is not there and below the same parents. v1 only.

        OSError where that cannot be; nothing has changed then.
        """
        raise OSError(errno.EOPNOTSUPP, f"a cgroup of {self.version} cannot be renamed")

    @abstractmethod
    def join(self, pid: int, beside: int = 0) -> None:
        """Moves a process in.

        `beside` is a process of the container (its init): on v2, when the cgroup hands out controllers to children of its own and
        so takes no process, the newcomer goes to where that one is.
        """

    def join_unified(self, pid: int, make: bool) -> None:  # noqa: B027 (the others have no such place)
        """On a hybrid host: moves a process into this cgroup's place in the cgroup2 hierarchy, if it is there or `make` says so.

        It has no controllers, so nothing is lost where that may not be.
        """

    @abstractmethod
    def folder_fd(self) -> int | None:
        """A descriptor for CLONE_INTO_CGROUP, the caller's to close; None where a process must `join` (v1, systemd)."""

    @abstractmethod
    def set(self, resources: Resources) -> None:
        """Changes the limits of an existing cgroup. Limits that are not named stay."""

    @abstractmethod
    def stats(self) -> Stats:
        """What it used so far."""

    @abstractmethod
    def freeze(self) -> None:
        """Stops all its processes; returns when they stand. Raises OSError ETIMEDOUT when they do not."""

    @abstractmethod
    def thaw(self) -> None:
        """Lets them go on."""

    @abstractmethod
    def frozen(self) -> bool:
        """Whether they are stopped (or about to be)."""

    @abstractmethod
    def processes(self, recursive: bool = True) -> list[int]:
        """The pids inside (also in cgroups below), as seen from the caller's pid namespace; none if it is gone."""

    @abstractmethod
    def kill(self, signal: int = 9) -> None:
        """Sends a signal to everybody inside, once, with nobody slipping away by forking. Returns before they are dead."""

    @abstractmethod
    def remove(self, timeout_s: float = 10.0) -> None:
        """Removes the cgroup and those below; one that is gone is fine. Waits for dying processes to leave.

        Raises OSError EBUSY when living ones are still inside after the time.
        """

    @abstractmethod
    def watch_oom(self) -> int:
        """A descriptor, the caller's to close, that becomes readable when the kernel kills for lack of memory.

        v1: an eventfd, readable also when the cgroup is removed. v2: an inotify descriptor on `memory.events`, readable also
        for other memory events. So: read it, then ask `oom_count()`. Raises OSError ENOENT without the memory controller.
        """

    @abstractmethod
    def oom_count(self) -> int:
        """How many processes the kernel has killed here for lack of memory; zero if that is not known."""


def detect() -> str:
    """The kind of hierarchy: "v1", "v2" (unified) or "hybrid" (v1 controllers with a cgroup2 folder beside)."""
    return read_layout().kind


def manager(path: str, driver: str = "cgroupfs", layout: Layout | None = None) -> Manager:
    """The cgroup at `path` (`cgroupsPath` of the runtime-spec).

    For "cgroupfs" an absolute path begins at the hierarchy's root as mounted, a relative one at the caller's own cgroup. For
    "systemd" it is `slice:prefix:name`; "disabled" is no cgroup at all. Raises InvalidArgument for another driver or a path that
    leads out, Unsupported without any hierarchy.
    """
    if driver == "disabled":
        from wherry.linux.cgroup.disabled import DisabledManager

        return DisabledManager()
    layout = layout or read_layout()
    if driver == "systemd":
        from wherry.linux.cgroup.systemd import SystemdManager

        return SystemdManager(path, layout)
    if driver != "cgroupfs":
        raise InvalidArgument(f"unknown cgroup driver {driver!r}: cgroupfs, systemd or disabled")
    if layout.kind == "v2":
        from wherry.linux.cgroup.v2 import V2Manager

        return V2Manager(layout.unified_folder(path), layout.unified_folder("/"))
    from wherry.linux.cgroup.v1 import V1Manager

    return V1Manager(layout.folders(path), layout.unified_folder(path) if layout.unified else "")
