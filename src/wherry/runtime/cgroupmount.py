"""/sys/fs/cgroup of a container: what its «cgroup» mount shows, on v1 and v2, with and without a cgroup namespace.

v1 has one mount per hierarchy below a tmpfs, v2 one mount. With a cgroup namespace the filesystem is mounted afresh and begins
at the container's own group. Without one, v1 has the group's folder of the host bound there, and v2 shows the whole tree, in
which /proc/self/cgroup names the container's place; both as runc. cgroups(7), cgroup_namespaces(7).
"""

from __future__ import annotations

import errno
import os

from wherry.linux import mount, path
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.linux.cgroup.layout import Layout
    from wherry.runtime.mountplan import MountStep


class CgroupMounts(Record):
    """The hierarchies to show: (name of the folder, controllers, the folder of the host that is bound if one has to be) each.

    `unified`: v2, one hierarchy and no folder names. `private`: the container has a cgroup namespace of its own.
    """

    private: bool
    unified: bool
    hierarchies: tuple[tuple[str, tuple[str, ...], str], ...]


def plan_cgroup_mounts(layout: Layout, folders: dict[str, str], private: bool) -> CgroupMounts:
    """What is shown, from the machine's layout and the container's folders by controller (v2: by the empty name)."""
    if layout.kind == "v2":
        whole = layout.unified.mount if layout.unified is not None else "/sys/fs/cgroup"
        return CgroupMounts(private=private, unified=True, hierarchies=(("", (), folders.get("", whole) if private else whole),))
    found = []
    for hierarchy in layout.v1:
        folder = folders.get(hierarchy.names[0], hierarchy.mount + hierarchy.own)
        found.append((os.path.basename(hierarchy.mount), hierarchy.names, folder))
    return CgroupMounts(private=private, unified=False, hierarchies=tuple(found))


def attach_cgroups(root_fd: int, step: MountStep, plan: CgroupMounts) -> None:
    """Makes the mounts at the step's destination; its attributes (ro, nosuid …) go for each of them."""
    target = path.make_folders(root_fd, step.destination)
    try:
        if plan.unified:
            _attach(target, _hierarchy((), plan.hierarchies[0][2], step, plan))
            return
        shelf = mount.filesystem("tmpfs", (("source", "tmpfs"), ("mode", "755")), step.attributes[0] & ~mount.MOUNT_ATTR_RDONLY)
        try:
            mount.move_mount(shelf, target)
            for name, controllers, folder in plan.hierarchies:
                os.mkdir(name, 0o755, dir_fd=shelf)
                for controller in controllers:
                    if controller != name and not controller.startswith("name="):
                        os.symlink(name, controller, dir_fd=shelf)
                place = path.openat2(shelf, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    _attach(place, _hierarchy(controllers, folder, step, plan))
                finally:
                    os.close(place)
            if step.attributes[0] & mount.MOUNT_ATTR_RDONLY:
                mount.mount_setattr(shelf, mount.MOUNT_ATTR_RDONLY)
            for kind, recursive in step.propagation:
                mount.mount_setattr(shelf, propagation=kind, recursive=recursive)
        finally:
            os.close(shelf)
    finally:
        os.close(target)


def _hierarchy(controllers: tuple[str, ...], folder: str, step: MountStep, plan: CgroupMounts) -> int:
    """A detached mount of one hierarchy as the container sees it."""
    if plan.unified:
        try:
            return mount.filesystem("cgroup2", (("source", "cgroup"),), step.attributes[0])
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBUSY):  # a user namespace that does not own its cgroup namespace
                raise
    elif plan.private:
        named = tuple(("name", name[5:]) if name.startswith("name=") else (name, None) for name in controllers)
        # A named hierarchy without controllers has to say so.
        none: tuple[tuple[str, str | None], ...] = (("none", None),) if controllers[0].startswith("name=") else ()
        return mount.filesystem("cgroup", (("source", "cgroup"), *none, *named), step.attributes[0])
    tree = mount.open_tree(folder, recursive=False)
    if step.attributes != (0, 0):
        mount.mount_setattr(tree, *step.attributes)
    return tree


def _attach(place: int, tree: int) -> None:
    try:
        mount.move_mount(tree, place)
    finally:
        os.close(tree)
