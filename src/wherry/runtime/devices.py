"""The container's /dev: nodes, and the links that programs expect. Plan, then apply on descriptors.

Only nodes made here are given owners; a device of the host that is bound into the container keeps its own.
"""

from __future__ import annotations

import os
import stat

from wherry.errors import InvalidArgument
from wherry.linux import mount, path
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.oci.runtime import Config

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
# runtime-spec, «Default Devices».
_DEFAULT = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"),
          ("ptmx", "pts/ptmx"))


# What every container may use, whatever its config says: making nodes, the default devices, terminals. As runc.
_ALLOWED: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", None, None, "m"), ("b", None, None, "m"), ("c", 1, 3, "rwm"), ("c", 1, 5, "rwm"), ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"), ("c", 1, 9, "rwm"), ("c", 5, 0, "rwm"), ("c", 5, 2, "rwm"), ("c", 136, None, "rwm"))


class Node(Record):
    """A device node to make. `mode` has the kind of file in it. `source_fd` ≥ 0: a detached mount of one that is to be bound."""

    path: str
    mode: int
    number: int
    uid: int = 0
    gid: int = 0
    source_fd: int = -1

    def describe(self) -> str:
        """The step for people."""
        return f"device {self.path} {os.major(self.number)}:{os.minor(self.number)}"


class DevicePlan(Record):
    """Nodes and links of /dev; `bind` where nodes cannot be made (user namespaces) and the host's are bound."""

    nodes: tuple[Node, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    bind: bool = False


def plan_devices(config: Config) -> DevicePlan:
    """What is made in /dev: nothing when /dev itself is a bind mount (the caller brings one that is complete)."""
    for entry in config.mounts:
        if os.path.normpath(entry.destination) == "/dev" and (
            entry.type == "bind" or "bind" in entry.options or "rbind" in entry.options
        ):
            return DevicePlan()
    nodes = {
        "/dev/" + name: Node(path="/dev/" + name, mode=stat.S_IFCHR | 0o666, number=os.makedev(major, minor))
        for name, major, minor in _DEFAULT
    }
    for device in config.linux.devices:
        if device.type not in _KINDS:
            raise InvalidArgument(f'device "{device.path}": invalid device type "{device.type}"')
        place = os.path.normpath(device.path)
        if place == "/dev/ptmx":
            continue  # it is the link to the container's own devpts
        mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
        number = 0 if device.type == "p" else os.makedev(device.major, device.minor)
        nodes[place] = Node(path=place, mode=_KINDS[device.type] | mode, number=number, uid=device.uid or 0, gid=device.gid or 0)
    return DevicePlan(nodes=tuple(nodes.values()), links=_LINKS, bind=config.linux.namespace("user") is not None)


def allow_default_devices(resources: Mapping[str, Any]) -> dict[str, Any]:
    """«linux.resources» with the devices that every container may use allowed last."""
    rules = [
        {"allow": True, "type": kind, "access": access, **({} if major is None else {"major": major}),
         **({} if minor is None else {"minor": minor})}
        for kind, major, minor, access in _ALLOWED]
    return {**resources, "devices": [*(resources.get("devices") or []), *rules]}


def make_devices(root_fd: int, plan: DevicePlan) -> None:
    """Makes the nodes and links inside the root. The umask must be 0."""
    if not plan.nodes:
        return
    folders: dict[str, int] = {}
    try:
        for node in plan.nodes:
            folder, name = os.path.split(node.path)
            if folder not in folders:
                folders[folder] = path.make_folders(root_fd, folder)
            if plan.bind:
                _bind_node(folders[folder], name, node)
            else:
                _make_node(folders[folder], name, node)
        for name, target in plan.links:
            _link(folders["/dev"], name, target)
        if os.path.exists("/proc/kcore"):
            _link(folders["/dev"], "core", "/proc/kcore")
    finally:
        for fd in folders.values():
            os.close(fd)


def _make_node(folder: int, name: str, node: Node) -> None:
    try:
        os.mknod(name, node.mode, node.number, dir_fd=folder)
    except FileExistsError:
        return
    except PermissionError:
        _bind_node(folder, name, node)
        return
    if node.uid or node.gid:
        os.chown(name, node.uid, node.gid, dir_fd=folder, follow_symlinks=False)


def _bind_node(folder: int, name: str, node: Node) -> None:
    try:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_EXCL, 0o666, dir_fd=folder))
    except FileExistsError:
        pass
    target = path.openat2(folder, name, os.O_PATH | os.O_NOFOLLOW)
    try:
        tree = os.dup(node.source_fd) if node.source_fd >= 0 else mount.open_tree(node.path, recursive=False)
        try:
            mount.move_mount(tree, target)
        finally:
            os.close(tree)
    finally:
        os.close(target)


def _link(folder: int, name: str, target: str) -> None:
    try:
        os.symlink(target, name, dir_fd=folder)
    except FileExistsError:
        # As runc: ptmx of the image gives way, since a foreign one would not speak to this devpts.
        if name == "ptmx":
            os.unlink(name, dir_fd=folder)
            os.symlink(target, name, dir_fd=folder)
