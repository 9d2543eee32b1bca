"""Control groups of version 2: one folder, with the controllers that its parents hand down.

A controller reaches a cgroup only when each parent names it in `cgroup.subtree_control`, and a parent that does so may hold no
processes itself (cgroup-v2.rst «No Internal Process Constraint»). So controllers are switched on from the top.
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
from wherry.linux.cgroup.devices import device_set
from wherry.linux.cgroup.plan import apply, read_file, read_optional, write_file
from wherry.linux.cgroup.plan_v2 import plan_v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.cgroup.plan import Step
    from wherry.linux.cgroup.stats import Stats

FREEZE_TIMEOUT_S = 10.0
# What a container's statistics need, whether limits are asked for or not.
WANTED = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
# These work in threaded cgroups; everything else needs a domain.
THREADED = frozenset({"cpu", "cpuset", "perf_event", "pids"})


class V2Manager(Manager):
    """One cgroup by its folder below the mount point `mount`."""

    version = "v2"

    def __init__(self, folder: str, mount: str) -> None:
        self._folder = folder
        self._mount = mount
        self._ooms_above: int | None = None  # when the watch began

    def paths(self) -> dict[str, str]:
        return {"": self._folder}

    def at(self, folders: dict[str, str]) -> V2Manager:
        return V2Manager(folders[""], self._mount)

    def plan(self, resources: Mapping[str, Any]) -> tuple[Step, ...]:
        return plan_v2(resources)

    def exists(self) -> bool:
        return os.path.isdir(self._folder)

    def may_create(self) -> bool:
        return places.may_make(self._folder)

    def create(self, resources: Mapping[str, Any] | None = None) -> None:
        steps = self.plan(resources or {})
        devices = (resources or {}).get("devices")
        made: list[str] = []
        try:
            self._make(self._folder, made)
            self._enable_controllers({step.controller for step in steps})
            self._apply(steps, (resources or {}).get("unified"))
            if devices:
                self._set_devices(devices)
        except BaseException:
            for folder in reversed(made):
                try:
                    os.rmdir(folder)
                except OSError:
                    trace.step("cgroup left behind", folder)
            raise

    def _make(self, folder: str, made: list[str]) -> None:
        try:
            new = places.make(folder)
        except FileNotFoundError:
            self._make(os.path.dirname(folder), made)
            new = places.make(folder)
        if new:
            made.append(folder)

    def _enable_controllers(self, needed: set[str]) -> None:
        """Hands the machine's controllers down to this cgroup, from the top; one that a parent cannot hand down is left out.

        The steps that need such a controller then fail by the name of their missing file.
        """
        top = set(read_file(f"{self._mount}/cgroup.controllers").split())
        wanted = {name for name in top if name in WANTED or name in needed}
        if wanted <= set(read_file(f"{self._folder}/cgroup.controllers").split()):
            return
        parts = self._folder[len(self._mount):].strip("/").split("/")
        for depth in range(len(parts)):
            folder = "/".join([self._mount.rstrip("/"), *parts[:depth]])
            missing = sorted(wanted - set(read_file(f"{folder}/cgroup.subtree_control").split()))
            if missing:
                _hand_down(folder, missing, needed)
            self._leave_invalid(f"{folder}/{parts[depth]}", needed)

    def _leave_invalid(self, folder: str, needed: set[str]) -> None:
        """A child of a threaded cgroup is «domain invalid» and of no use until it is made threaded too."""
        if read_file(f"{folder}/cgroup.type").strip() != "domain invalid":
            return
        if needed - THREADED:
            names = ", ".join(sorted(needed - THREADED))
            raise InvalidArgument(f"cannot enter cgroupv2 {folder!r} with domain controllers ({names}): it is in invalid state")
        write_file(f"{folder}/cgroup.type", "threaded")

    def join(self, pid: int, beside: int = 0) -> None:
        try:
            places.enter(self._folder, pid)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                write_file(f"{self._folder}/cgroup.threads", str(pid))
            elif error.errno == errno.EBUSY and beside:
                places.enter(self._folder_of(beside), pid)
            else:
                raise

    def _folder_of(self, pid: int) -> str:
        for line in read_file(f"/proc/{pid}/cgroup").splitlines():
            if line.startswith("0::"):
                folder = self._mount.rstrip("/") + line[3:]
                if (folder + "/").startswith(self._folder + "/"):
                    return folder
        raise OSError(errno.EBUSY, f"hands out controllers to its children, and process {pid} is not in it", self._folder)

    def folder_fd(self) -> int | None:
        return os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def set(self, resources: Mapping[str, Any]) -> None:
        memory = resources.get("memory") or {}
        if memory.get("checkBeforeUpdate") and (memory.get("limit") or 0) > 0:
            usage = int(read_file(f"{self._folder}/memory.current"))
            if memory["limit"] < usage:
                raise InvalidArgument(f"rejecting memory limit {memory['limit']} < usage {usage}")
        self._apply(self.plan(resources), resources.get("unified"))
        if resources.get("devices"):
            self._set_devices(resources["devices"])

    def _apply(self, steps: tuple[Step, ...], unified: Mapping[str, str] | None) -> None:
        try:
            apply(steps, lambda _controller: self._folder)
        except OSError as error:
            raise OSError(error.errno, self._explain(error, unified or {}), error.filename) from error

    def _explain(self, error: OSError, unified: Mapping[str, str]) -> str:
        """Why a step failed, by the name that was asked for: a file of `unified`, or a controller that is not there."""
        file = os.path.basename(str(error.filename))
        controller = file.split(".", 1)[0]
        here = read_optional(f"{self._folder}/cgroup.controllers").split()
        is_missing = error.errno == errno.ENOENT and bool(here) and controller not in here
        if file in unified:
            if is_missing:
                return f'unified resource "{file}" can\'t be set: controller "{controller}" not available'
            return f'unable to set unified resource "{file}": {error.strerror}'
        if is_missing:
            return f"controller {controller!r} is not available here (available: {', '.join(here)})"
        return str(error.strerror)

    def _set_devices(self, rules: list[Mapping[str, Any]]) -> None:
        from wherry.linux.cgroup import bpf

        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            bpf.replace_device_filter(folder, bpf.device_program(device_set(rules)), self._folder)
        finally:
            os.close(folder)

    def stats(self) -> Stats:
        from wherry.linux.cgroup.stats_v2 import read_stats

        return read_stats(self._folder)

    def freeze(self) -> None:
        self._freezer("1", "frozen 1")

    def thaw(self) -> None:
        try:
            self._freezer("0", "frozen 0")
        except OSError as error:
            # Unlike on v1, frozen processes die of SIGKILL as they are, and whoever waits for that removes the cgroup.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _freezer(self, value: str, event: str) -> None:
        write_file(f"{self._folder}/cgroup.freeze", value)
        self._wait_event(event, FREEZE_TIMEOUT_S)

    def _wait_event(self, event: str, timeout_s: float) -> None:
        """Waits until `cgroup.events` has the line; the kernel says with POLLPRI that the file has changed."""
        import select

        deadline = time.monotonic() + timeout_s
        with open(f"{self._folder}/cgroup.events", encoding="utf-8") as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while event not in events.read().splitlines():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise OSError(errno.ETIMEDOUT, f"no «{event}» within {timeout_s:g} s", events.name)
                poll.poll(left * 1000)
                events.seek(0)

    def frozen(self) -> bool:
        return read_optional(f"{self._folder}/cgroup.freeze").strip() == "1"

    def processes(self, recursive: bool = True) -> list[int]:
        return places.processes(self._folder, recursive)

    def kill(self, signal: int = 9) -> None:
        if not self.exists():
            return
        if signal == 9:
            try:
                write_file(f"{self._folder}/cgroup.kill", "1")  # Linux 5.14
                return
            except FileNotFoundError:
                if not self.exists():
                    return
        was_frozen = self.frozen()
        if not was_frozen:
            self.freeze()
        try:
            places.send_signal(self.processes(), signal)
        finally:
            if not was_frozen:
                self.thaw()

    def remove(self, timeout_s: float = 10.0) -> None:
        places.remove([self._folder], time.monotonic() + timeout_s)

    def watch_oom(self) -> int:
        from wherry.linux.inotify import watch

        self._ooms_above = _oom_kills(self._above())
        return watch(f"{self._folder}/memory.events")

    def oom_count(self) -> int:
        """What the kernel counted here.

        Of a watched cgroup that has gone (systemd removes a scope's once it is empty) it is by how much the count of its parent,
        which is that of all below, has grown.
        """
        if self._ooms_above is not None and not os.path.isdir(self._folder):
            return _oom_kills(self._above()) - self._ooms_above
        return _oom_kills(self._folder)

    def _above(self) -> str:
        return os.path.dirname(self._folder)


def _oom_kills(folder: str) -> int:
    for line in read_optional(f"{folder}/memory.events").splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def _hand_down(folder: str, controllers: list[str], needed: set[str]) -> None:
    file = f"{folder}/cgroup.subtree_control"
    try:
        write_file(file, " ".join("+" + name for name in controllers))
    except OSError:
        # All or nothing, says the kernel; then those that work, one by one. A missing one is missed when it is used.
        for name in controllers:
            try:
                write_file(file, "+" + name)
            except OSError as error:
                trace.step("cgroup controller left out", f"{name}: {error}")
                if name in needed and error.errno == errno.EBUSY:
                    detail = f"controller {name!r} cannot be handed down while processes are in this cgroup"
                    raise OSError(errno.EBUSY, detail, folder) from error
