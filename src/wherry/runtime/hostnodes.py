"""Device nodes for a container in a user namespace, made by its creator: who is root in there may make none that can be opened.

The devices that the host has at the same place are bound (see `devices`); here are the others.
"""

from __future__ import annotations

import os
import stat

from wherry.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config, IdMapping
    from wherry.runtime.devices import DevicePlan, Node


def make_nodes(plan: DevicePlan, config: Config, fds: list[int]) -> DevicePlan:
    """The plan, with a detached mount for each node that the host has not; the descriptors go to `fds` as well.

    Who may not make nodes gets the plan as it is: that the host's could not be bound is said then.
    """
    missing = [node for node in plan.nodes if not _is_there(node)]
    if not missing:
        return plan
    try:
        shelf = mount.filesystem("tmpfs", (("source", "devices"), ("mode", "700")))
    except PermissionError:
        return plan
    try:
        made = {node.path: _make(shelf, str(number), node, config) for number, node in enumerate(missing)}
    except PermissionError:
        return plan
    finally:
        os.close(shelf)
    fds.extend(made.values())
    return plan.replace(nodes=tuple(node.replace(source_fd=made.get(node.path, -1)) for node in plan.nodes))


def _is_there(node: Node) -> bool:
    try:
        found = os.stat(node.path)
    except OSError:
        return False
    return stat.S_IFMT(found.st_mode) == stat.S_IFMT(node.mode) and found.st_rdev == node.number


def _make(shelf: int, name: str, node: Node, config: Config) -> int:
    os.mknod(name, node.mode, node.number, dir_fd=shelf)
    os.chmod(name, stat.S_IMODE(node.mode), dir_fd=shelf)  # whatever the umask
    os.chown(name, _outside(config.linux.uid_mappings, node.uid), _outside(config.linux.gid_mappings, node.gid), dir_fd=shelf)
    return mount.open_tree(name, shelf, recursive=False)


def _outside(mappings: tuple[IdMapping, ...], number: int) -> int:
    """An id as the host has it; -1 for one that is not mapped: the node stays root's, and nobody's in the container."""
    for one in mappings:
        if one.container_id <= number < one.container_id + one.size:
            return one.host_id + number - one.container_id
    return -1
