"""The machine's devices for a container: one node, or all below a folder."""

from __future__ import annotations

import os
import stat

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Made anew in each container, whatever the machine has there.
OWN = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev")


def found(path: str) -> list[dict[str, Any]]:
    """The devices at a path: `linux.devices` of the specification. Raises InvalidArgument for what is none, OSError."""
    if os.path.isdir(path):
        return list(_below(path))
    device = _device(path)
    if device is None:
        raise InvalidArgument("not a device node")
    return [device]


def _below(folder: str) -> Iterator[dict[str, Any]]:
    for name in sorted(os.listdir(folder)):
        path = f"{folder.rstrip('/')}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            if name not in OWN:
                yield from _below(path)
        elif name != "console":
            try:
                device = _device(path)
            except FileNotFoundError:
                continue  # gone while we looked
            if device is not None:
                yield device


def _device(path: str) -> dict[str, Any] | None:
    status = os.lstat(path)
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    return {"path": path, "type": kind, "major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev),
            "fileMode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}


def allow(spec: dict[str, Any], devices: list[dict[str, Any]], access: str = "rwm") -> None:
    """Adds nodes, and what the device cgroup lets the container do with each."""
    linux = spec["linux"]
    linux.setdefault("devices", []).extend(devices)
    rules = linux.setdefault("resources", {}).setdefault("devices", [])
    rules += [{"allow": True, "type": one["type"], "major": one["major"], "minor": one["minor"], "access": access}
              for one in devices]
