"""Control groups that systemd makes: a transient scope per container, over D-Bus; the control files through v1 or v2.

systemd starts a scope only around a process, so `create` remembers the limits and `join` makes the unit with its first
process. A slice (a pod's, in Podman) is started by `create`.
"""
# ruff: noqa: D102 (the docstrings are the interface's, in this room's __init__.py)

from __future__ import annotations

from wherry import trace
from wherry.errors import Internal
from wherry.linux.cgroup import Manager
from wherry.linux.cgroup.dbus import Connection, DBusError
from wherry.linux.cgroup.plan import read_optional
from wherry.linux.cgroup.units import device_properties, parse_path, resource_properties, unit_properties

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.cgroup.layout import Layout
    from wherry.linux.cgroup.plan import Step
    from wherry.linux.cgroup.stats import Stats

SYSTEM_BUS = "/run/dbus/system_bus_socket"
_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


class SystemdManager(Manager):
    """The cgroup of the unit that `slice:prefix:name` names."""

    def __init__(self, cgroups_path: str, layout: Layout) -> None:
        self._unit = parse_path(cgroups_path)
        self._pending: Mapping[str, Any] = {}
        self._files: Manager
        if layout.kind == "v2":
            from wherry.linux.cgroup.v2 import V2Manager

            self._files = V2Manager(layout.unified_folder(self._unit.path), layout.unified_folder("/"))
        else:
            from wherry.linux.cgroup.v1 import V1Manager

            self._files = V1Manager(layout.folders(self._unit.path))
        self.version = self._files.version

    @property
    def unit(self) -> str:
        """The unit's name."""
        return self._unit.name

    def paths(self) -> dict[str, str]:
        return self._files.paths()

    def at(self, folders: dict[str, str]) -> Manager:
        return self._files.at(folders)

    def plan(self, resources: Mapping[str, Any]) -> tuple[Step, ...]:
        return self._files.plan(resources)

    def exists(self) -> bool:
        return self._files.exists()

    def may_create(self) -> bool:
        return True  # systemd makes them

    def create(self, resources: Mapping[str, Any] | None = None) -> None:
        self.plan(resources or {})
        self._pending = resources or {}
        if self._unit.name.endswith(".slice"):
            self._start(0)
            self._files.create(self._pending)

    def join(self, pid: int, beside: int = 0) -> None:
        if self._files.exists():
            self._files.join(pid, beside)
            return
        self._start(pid)
        try:
            # systemd has made the folders it knows of; the others, and what it has no words for, are ours (Delegate=).
            self._files.create(self._pending)
            if self.version == "v1":
                self._files.join(pid)
        except BaseException:
            # Asked to stop, systemd sends SIGTERM and waits: the first process of a pid namespace does not hear it.
            self._files.kill()
            self._stop()
            raise

    def _start(self, pid: int) -> None:
        unified = self.version == "v2"
        properties = [*unit_properties(self._unit, pid, unified), *self._resource_properties(self._pending)]
        trace.step("systemd StartTransientUnit", self._unit.name)
        bus = Connection(SYSTEM_BUS)
        try:
            bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s",
                     "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'")
            bus.call(*_SYSTEMD, "Subscribe")

            def start() -> Any:
                arguments: tuple[Any, ...] = (self._unit.name, "replace", properties, [])
                return bus.call(*_SYSTEMD, "StartTransientUnit", "ssa(sv)a(sa(sv))", *arguments)[0]

            try:
                job = start()
            except DBusError as error:
                if error.name != "org.freedesktop.systemd1.UnitExists":
                    raise
                if self._unit.name.endswith(".slice"):
                    return
                # What a container of this name left behind when it failed.
                bus.call(*_SYSTEMD, "ResetFailedUnit", "s", self._unit.name)
                job = start()
            result = bus.wait_signal("JobRemoved", 1, job)[3]
            if result != "done":
                raise Internal(f"error creating systemd unit `{self._unit.name}`: got `{result}`")
        finally:
            bus.close()

    def _resource_properties(self, resources: Mapping[str, Any]) -> list[tuple[str, tuple[str, Any]]]:
        properties = resource_properties(resources, self.version == "v2")
        if resources.get("devices"):
            properties += device_properties(resources, read_optional("/proc/devices"))
        return properties

    def _stop(self) -> None:
        bus = Connection(SYSTEM_BUS)
        try:
            bus.call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", "s",
                     "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'")
            bus.call(*_SYSTEMD, "Subscribe")
            try:
                (job,) = bus.call(*_SYSTEMD, "StopUnit", "ss", self._unit.name, "replace")
                bus.wait_signal("JobRemoved", 1, job)
                bus.call(*_SYSTEMD, "ResetFailedUnit", "s", self._unit.name)
            except DBusError as error:
                if error.name != "org.freedesktop.systemd1.NoSuchUnit":
                    raise
        finally:
            bus.close()

    def folder_fd(self) -> int | None:
        return None

    def set(self, resources: Mapping[str, Any]) -> None:
        properties = self._resource_properties(resources)
        if properties:
            bus = Connection(SYSTEM_BUS)
            try:
                bus.call(*_SYSTEMD, "SetUnitProperties", "sba(sv)", self._unit.name, True, properties)
            finally:
                bus.close()
        self._files.set(resources)

    def stats(self) -> Stats:
        return self._files.stats()

    def freeze(self) -> None:
        self._files.freeze()

    def thaw(self) -> None:
        self._files.thaw()

    def frozen(self) -> bool:
        return self._files.frozen()

    def processes(self, recursive: bool = True) -> list[int]:
        return self._files.processes(recursive)

    def kill(self, signal: int = 9) -> None:
        self._files.kill(signal)

    def remove(self, timeout_s: float = 10.0) -> None:
        self._stop()
        self._files.remove(timeout_s)

    def watch_oom(self) -> int:
        return self._files.watch_oom()

    def oom_count(self) -> int:
        return self._files.oom_count()
