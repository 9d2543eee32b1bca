"""Control groups of version 1: one folder per mounted hierarchy.

On a hybrid host the cgroup2 folder beside has no controllers. Processes stay there where their parent is, but for those that ask
for a place of the same name (`join_unified`), as runc and crun do.
"""
# ruff: noqa: D102 (the docstrings are the interface's, in this room's __init__.py)

from __future__ import annotations

import errno
import os
import time

from wherry import trace
from wherry.errors import InvalidArgument
from wherry.linux.cgroup import Manager
from wherry.linux.cgroup import folders as places
from wherry.linux.cgroup.plan import apply, read_file, read_optional, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.cgroup.plan import Step
    from wherry.linux.cgroup.stats import Stats

FREEZE_TIMEOUT_S = 10.0


class V1Manager(Manager):
    """One cgroup by its folders: controller (or `name=…`) to path; controllers mounted together share one path."""

    version = "v1"

    def __init__(self, folders: dict[str, str], unified: str = "") -> None:
        self._folders = folders
        self._unified = unified
        self._distinct = list(dict.fromkeys(folders.values()))

    def paths(self) -> dict[str, str]:
        return dict(self._folders)

    def at(self, folders: dict[str, str]) -> V1Manager:
        return V1Manager(folders, self._unified)

    def plan(self, resources: Mapping[str, Any]) -> tuple[Step, ...]:
        from wherry.linux.cgroup.plan_v1 import plan_v1

        return plan_v1(resources)

    def exists(self) -> bool:
        return any(os.path.isdir(folder) for folder in self._distinct)

    def may_create(self) -> bool:
        return all(places.may_make(folder) for folder in self._distinct)

    def create(self, resources: Mapping[str, Any] | None = None) -> None:
        steps = self.plan(resources or {})
        made: list[str] = []
        try:
            for name, folder in self._folders.items():
                if folder not in made:
                    self._make(folder, made, with_cpuset=name == "cpuset")
            self._apply(steps)
        except BaseException:
            for folder in reversed(made):
                try:
                    os.rmdir(folder)
                except OSError:
                    trace.step("cgroup left behind", folder)
            raise

    def _make(self, folder: str, made: list[str], with_cpuset: bool) -> None:
        try:
            new = places.make(folder)
        except FileNotFoundError:
            self._make(os.path.dirname(folder), made, with_cpuset)
            new = places.make(folder)
        if new:
            made.append(folder)
        if with_cpuset:
            _inherit_cpuset(folder, new)

    def rename(self, other: Manager) -> None:
        done: list[tuple[str, str]] = []
        try:
            for ours, theirs in dict(zip(self.paths().values(), other.paths().values(), strict=True)).items():
                trace.step("cgroup rename", theirs)
                os.rename(ours, theirs)
                done.append((ours, theirs))
        except OSError:
            for ours, theirs in done:
                os.rename(theirs, ours)
            raise

    def join(self, pid: int, beside: int = 0) -> None:  # noqa: ARG002 (v1 takes processes everywhere)
        for folder in self._distinct:
            places.enter(folder, pid)

    def join_unified(self, pid: int, make: bool) -> None:
        if not self._unified or not (make or os.path.isdir(self._unified)):
            return
        try:
            self._make(self._unified, [], with_cpuset=False)
            places.enter(self._unified, pid)
        except OSError as error:
            trace.step("cgroup not joined", f"{self._unified}: {error.strerror}")

    def folder_fd(self) -> int | None:
        return None

    def set(self, resources: Mapping[str, Any]) -> None:
        memory = resources.get("memory") or {}
        if memory.get("checkBeforeUpdate") and (memory.get("limit") or 0) > 0:
            self._check_usage(memory["limit"])
        steps = [step for step in self.plan(resources) if step.controller != "devices"]
        if resources.get("devices"):
            from wherry.linux.cgroup.devices import device_set, parse_list, plan_list

            present = parse_list(read_file(f"{self._folder('devices')}/devices.list"))
            steps += plan_list(device_set(resources["devices"]), present)
        self._apply(steps)

    def _apply(self, steps: tuple[Step, ...] | list[Step]) -> None:
        try:
            apply(steps, self._folders.get)
        except OSError as error:
            if error.errno == errno.EBUSY and str(error.filename).endswith("memory.limit_in_bytes"):
                folder = self._folder("memory")
                usage, peak = (int(read_file(f"{folder}/memory.{name}")) for name in ("usage_in_bytes", "max_usage_in_bytes"))
                detail = f"unable to set memory limit: in use are {usage} bytes, {peak} at the most"
                raise OSError(error.errno, detail, error.filename) from error
            raise

    def _check_usage(self, limit: int) -> None:
        usage = int(read_file(f"{self._folder('memory')}/memory.usage_in_bytes"))
        if limit < usage:
            raise InvalidArgument(f"rejecting memory limit {limit} < usage {usage}")

    def _folder(self, controller: str) -> str:
        try:
            return self._folders[controller]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such cgroup v1 controller is mounted", controller) from None

    def stats(self) -> Stats:
        from wherry.linux.cgroup.stats_v1 import read_stats

        return read_stats(self._folders)

    def freeze(self) -> None:
        state = f"{self._folder('freezer')}/freezer.state"
        deadline = time.monotonic() + FREEZE_TIMEOUT_S
        tries = 0
        while True:
            write_file(state, "FROZEN")
            for _ in range(20):
                if read_file(state).strip() == "FROZEN":
                    return
                time.sleep(0.0001)
            # A process that was forking while it froze can hold it up for ever; a short thaw lets it through.
            tries += 1
            if tries % 10 == 0:
                write_file(state, "THAWED")
            if time.monotonic() > deadline:
                write_file(state, "THAWED")
                raise OSError(errno.ETIMEDOUT, "unable to freeze", state)
            time.sleep(0.001)

    def thaw(self) -> None:
        write_file(f"{self._folder('freezer')}/freezer.state", "THAWED")

    def frozen(self) -> bool:
        folder = self._folders.get("freezer")
        if folder is None:
            return False
        # A child of a frozen cgroup says FROZEN too; its own wish is in self_freezing.
        return read_optional(f"{folder}/freezer.state").strip() in ("FROZEN", "FREEZING")

    def processes(self, recursive: bool = True) -> list[int]:
        # Everybody is in all folders alike; a nested manager inside the container may have made children in some of them.
        for name in ("devices", "freezer", "memory", "pids"):
            if name in self._folders:
                return places.processes(self._folders[name], recursive)
        return places.processes(self._distinct[0], recursive)

    def kill(self, signal: int = 9) -> None:
        if not self.processes():
            return
        if "freezer" not in self._folders:
            places.send_signal(self.processes(), signal)
            return
        was_frozen = self.frozen()
        if not was_frozen:
            self.freeze()
        try:
            places.send_signal(self.processes(), signal)
        finally:
            # A frozen v1 process does not even die before it is thawed.
            if not was_frozen or signal == 9:
                self.thaw()

    def remove(self, timeout_s: float = 10.0) -> None:
        also = [self._unified] if os.path.isdir(self._unified) else []
        places.remove(self._distinct + also, time.monotonic() + timeout_s)

    def watch_oom(self) -> int:
        folder = self._folder("memory")
        control = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                write_file(f"{folder}/cgroup.event_control", f"{event} {control}")
            except BaseException:
                os.close(event)
                raise
            return event
        finally:
            os.close(control)

    def oom_count(self) -> int:
        folder = self._folders.get("memory")
        for line in read_optional(f"{folder}/memory.oom_control").splitlines() if folder else ():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0


def _inherit_cpuset(folder: str, new: bool) -> None:
    """Gives a cpuset the processors and memory of its parent: the kernel leaves a new one empty, and so nobody may enter."""
    parent = os.path.dirname(folder)
    for file in ("cpuset.cpus", "cpuset.mems"):
        if new or not read_file(f"{folder}/{file}").strip():
            write_file(f"{folder}/{file}", read_file(f"{parent}/{file}").strip())
