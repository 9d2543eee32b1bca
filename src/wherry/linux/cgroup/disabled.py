"""No cgroup at all: what a container has whose creator may make none (an ordinary user), or that is to have none.

Its processes stay where the creator is. So nothing is known of them but the init, and there are no limits, no freezer, no counts.
"""
# ruff: noqa: D102 (the docstrings are the interface's, in this room's __init__.py)

from __future__ import annotations

import errno

from wherry.errors import Conflict, InvalidArgument
from wherry.linux.cgroup import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.linux.cgroup.plan import Step
    from wherry.linux.cgroup.stats import Stats

_NONE = "cgroups not configured for container"


class DisabledManager(Manager):
    """The cgroup that is not there. What cannot do without it is InvalidArgument (limits) or Conflict."""

    version = "none"

    def paths(self) -> dict[str, str]:
        return {}

    def at(self, folders: dict[str, str]) -> DisabledManager:
        if folders:
            raise Conflict(_NONE)
        return self

    def plan(self, resources: Mapping[str, Any]) -> tuple[Step, ...]:
        from wherry.linux.cgroup.plan_v1 import plan_v1

        for step in plan_v1(resources):
            if not step.if_present:
                raise InvalidArgument(f"cannot set {step.controller} limit: container could not join or create cgroup")
        return ()

    def exists(self) -> bool:
        return False

    def may_create(self) -> bool:
        return True

    def create(self, resources: Mapping[str, Any] | None = None) -> None:
        self.plan({name: value for name, value in (resources or {}).items() if name != "devices"})

    def join(self, pid: int, beside: int = 0) -> None:
        pass

    def folder_fd(self) -> int | None:
        return None

    def set(self, resources: Mapping[str, Any]) -> None:
        self.plan(resources)

    def stats(self) -> Stats:
        from wherry.linux.cgroup.stats import Stats as Nothing

        return Nothing()

    def freeze(self) -> None:
        raise Conflict(f"cannot toggle freezer: {_NONE}")

    def thaw(self) -> None:
        raise Conflict(f"cannot toggle freezer: {_NONE}")

    def frozen(self) -> bool:
        return False

    def processes(self, recursive: bool = True) -> list[int]:  # noqa: ARG002
        return []

    def kill(self, signal: int = 9) -> None:
        pass

    def remove(self, timeout_s: float = 10.0) -> None:
        pass

    def watch_oom(self) -> int:
        raise FileNotFoundError(errno.ENOENT, _NONE, "memory.oom_control")

    def oom_count(self) -> int:
        return 0
