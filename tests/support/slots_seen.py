"""Slots as seen from outside: processes and cgroups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherryd_box import Wherryd

V1 = Path("/sys/fs/cgroup/freezer").is_dir()


def processes(title: str) -> list[int]:
    """Those with this command line."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if one.read_bytes().rstrip(b" \0").decode(errors="replace") == title:
                found.append(int(one.parent.name))
        except OSError:
            continue
    return found


def parent(pid: int) -> int:
    """Its parent; 0 when it has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def slots(daemon: Wherryd) -> list[int]:
    """The shims that a daemon has parked, once their helpers are there. They have the same title."""
    zygotes = [pid for pid in processes("wherry-zygote") if parent(pid) == daemon.process.pid]
    return [pid for pid in processes("wherry-slot") if parent(pid) in zygotes and helpers(pid)]


def helpers(shim: int) -> list[int]:
    """The helper of a slot, in a list."""
    return [pid for pid in processes("wherry-slot") if parent(pid) == shim]


def groups(pids: list[int]) -> dict[str, int]:
    """The folders of the slots' cgroups that these are in (v1), with their inode numbers."""
    found = {}
    for pid in pids:
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            folder = f"/sys/fs/cgroup/{names.removeprefix('name=')}{path}"
            if "/slot-" in path and names:
                found[folder] = os.stat(folder).st_ino
    return found


def names() -> set[str]:
    """The names of the slots' cgroups that are there."""
    return {one.name for one in Path("/sys/fs/cgroup").glob("*/wherry/slot-*")}
