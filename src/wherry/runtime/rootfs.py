"""Builds the container's file tree in the init's own mount namespace, on descriptors only, and moves into it.

The plan (`mountplan`, `devices`, `cgroupmount`) says what; here is how. Paths of the container are resolved by the kernel inside
the new root (openat2, RESOLVE_IN_ROOT), mounts are made detached and attached to the descriptor that was found, so nothing that
changes meanwhile, in a volume that another container shares, can lead a mount elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry import trace
from wherry.errors import InvalidArgument
from wherry.linux import mount, path
from wherry.runtime.devices import make_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.runtime.devices import DevicePlan
    from wherry.runtime.mountplan import MountStep
    from wherry.runtime.plan import RootfsPlan

_ROOT = "root"  # in a slot's own tree: where a container's is put
_DANGLING = 32  # dangling links of an image that are followed to a place to mount at


def build(plan: RootfsPlan, wait_for_cgroups: Callable[[], None]) -> int:
    """Makes the tree and returns the descriptor of its root. `wait_for_cgroups` is called before the first cgroup mount.

    OSError names the mount, see `furnish`.
    """
    if plan.own_mounts:
        _leave_peers(plan)
    root_fd = mount.open_tree(plan.rootfs)
    here = os.open(plan.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.move_mount(root_fd, here)
    os.close(here)
    furnish(root_fd, plan, wait_for_cgroups)
    make_devices(root_fd, plan.devices)
    hide(root_fd, plan)
    return root_fd


def build_slot(plan: RootfsPlan) -> None:
    """Makes the plan's mounts and devices on a folder in memory, which becomes the root of this process: nothing else is left."""
    mount.mount_setattr(mount.AT_FDCWD, propagation=mount.MS_PRIVATE, recursive=True, path="/")
    shelf = mount.filesystem("tmpfs", (("source", "slot"), ("mode", "700")), mount.MOUNT_ATTR_NOEXEC)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.move_mount(shelf, root)
    os.close(root)
    os.mkdir(_ROOT, dir_fd=shelf)
    os.mkdir("proc", dir_fd=shelf)
    stand_in = mount.filesystem("tmpfs", (("source", "slot"),))
    place = os.open("proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=shelf)
    mount.move_mount(stand_in, place)
    os.close(place)
    os.close(stand_in)
    furnish(shelf, plan)
    make_devices(shelf, plan.devices)
    enter(shelf, plan)
    os.close(shelf)


def build_in_slot(plan: RootfsPlan, ready: tuple[MountStep, ...], root_fd: int) -> None:
    """Makes a tree in a slot: takes the mounts `ready` from there, and makes those that the plan has.

    `root_fd` is the detached mount that becomes its root. `ready` may name /proc, where something stands in for procfs until
    `leave_slot`: a mount that finds its way in there is noticed, as `build` would notice it.
    """
    here = os.open(_ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.move_mount(root_fd, here)
    os.close(here)
    stand_in = os.stat("/proc").st_dev
    for step in outermost(ready):
        with _explained(step):
            _bring(root_fd, step)
    furnish(root_fd, plan, proc_devices=(stand_in,))


def leave_slot() -> None:
    """Takes away what stands where procfs will be."""
    mount.umount2(f"/{_ROOT}/proc", mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)


def _bring(root_fd: int, step: MountStep) -> None:
    """Moves a mount of the slot's own root, and what is mounted below it, to the same place of the tree."""
    tree = os.open(step.destination, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    target, _ = _find_or_make_folder(root_fd, step)
    try:
        mount.move_mount(tree, target)
    finally:
        os.close(target)
        os.close(tree)


def outermost(steps: tuple[MountStep, ...]) -> tuple[MountStep, ...]:
    """Those that are not below another one."""
    return tuple(one for one in steps if not any(one.destination.startswith(other.destination + "/") for other in steps))


def furnish(
    root_fd: int, plan: RootfsPlan, wait_for_cgroups: Callable[[], None] | None = None, proc_devices: Iterable[int] = ()
) -> None:
    """The mounts of a tree. `wait_for_cgroups` is called before the first cgroup mount; `proc_devices`: of what is at /proc.

    OSError names the mount: «error mounting "source" to rootfs at "destination": reason», as runc does.
    """
    found = set(proc_devices)
    for step in plan.mounts:
        if step.kind == "cgroup" and wait_for_cgroups is not None:
            wait_for_cgroups()
        with _explained(step):
            _attach(root_fd, step, plan, found)


def hide(root_fd: int, plan: RootfsPlan) -> None:
    """What the container may not write to, or not see."""
    for name in plan.read_only:
        _make_read_only(root_fd, name)
    _mask(root_fd, plan)


class _explained:  # noqa: N801 (reads as a verb at its place of use)
    """Gives an OSError the words that runc has for a mount that failed."""

    def __init__(self, step: MountStep) -> None:
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            step, reason = self._step, (error.strerror or "").lower()
            text = (f'error mounting "{step.source}" to rootfs at "{step.destination}": '
                    f"mount {step.source}:{step.destination}: {reason}")
            raise OSError(error.errno, text, step.destination) from error


def _leave_peers(plan: RootfsPlan) -> None:
    """Gives the namespace's mounts their propagation: that of «rootfsPropagation», as far as the tree can be made with it."""
    kind, recursive = plan.propagation
    # What cannot be bound could not become a root either: this one is for the new root alone.
    kind = mount.MS_PRIVATE if kind == mount.MS_UNBINDABLE else kind
    mount.mount_setattr(mount.AT_FDCWD, propagation=kind, recursive=recursive, path="/")
    if kind == mount.MS_SHARED:
        # The new root's parent must not be: pivot_root(2) refuses it, and the peers of that mount would see the new root.
        parent = _root_of_mount(plan.rootfs)
        mount.mount_setattr(parent, propagation=mount.MS_PRIVATE)
        os.close(parent)


def _root_of_mount(folder: str) -> int:
    """A descriptor of the root of the mount in which a folder is, by going up until the mount or the folder is another one."""
    here = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    while True:
        above = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
        if _mount_id(above) != _mount_id(here) or os.path.sameopenfile(above, here):
            os.close(above)
            return here
        os.close(here)
        here = above


def _mount_id(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8") as lines:
        return next(line for line in lines if line.startswith("mnt_id:"))


def enter(root_fd: int, plan: RootfsPlan) -> None:
    """Makes the tree the root of this process: pivot_root(2), or as the config asks a move, or a plain chroot."""
    os.fchdir(root_fd)
    if plan.own_mounts and not plan.no_pivot:
        old_root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mount.pivot_root(".", ".")
        os.fchdir(old_root)
        # What is unmounted here must not go away on the host as well.
        mount.mount_setattr(old_root, propagation=mount.MS_SLAVE, recursive=True)
        mount.umount2(".", mount.MNT_DETACH)
        os.close(old_root)
    else:
        if plan.own_mounts:
            from wherry.runtime.nopivot import part_from_host

            part_from_host(plan.rootfs)
            old_root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            mount.move_mount(root_fd, old_root)
            os.close(old_root)
        os.chroot(".")
    os.chdir("/")
    if plan.own_mounts and plan.explicit_propagation:
        kind, recursive = plan.propagation
        mount.mount_setattr(root_fd, propagation=kind, recursive=recursive)


def leave(rootfs: str) -> None:
    """Takes away what a container without a mount namespace of its own has mounted on its root's folder, if anything."""
    try:
        mount.umount2(rootfs, mount.MNT_DETACH)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def seal(root_fd: int, plan: RootfsPlan) -> None:
    """The last step on the tree: what is to be read-only becomes so. The root's own mount: those below keep what they are."""
    for step in plan.sealed:
        with _explained(step):
            _remount(root_fd, step)
    if plan.readonly:
        mount.mount_setattr(root_fd, mount.MOUNT_ATTR_RDONLY)


def _attach(root_fd: int, step: MountStep, plan: RootfsPlan, proc_devices: set[int]) -> None:
    trace.step("mount", step.describe())
    if step.kind == "cgroup":
        from wherry.runtime.cgroupmount import attach_cgroups

        assert plan.cgroups is not None
        attach_cgroups(root_fd, step, plan.cgroups)
        return
    if step.kind == "remount":
        _remount(root_fd, step)
        return
    tree = -1
    target = -1
    try:
        if step.kind == "bind":
            tree = os.dup(step.source_fd) if step.source_fd >= 0 else mount.open_tree(step.source, recursive=step.recursive)
            if step.destination == "/proc" and not mount.is_proc(tree):
                raise InvalidArgument('"/proc" cannot be mounted because it is not of type proc')
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                target = path.make_folders(root_fd, step.destination, dangling=_DANGLING)
            else:
                target = path.make_file(root_fd, step.destination, dangling=_DANGLING)
                if stat.S_ISDIR(os.fstat(target).st_mode):
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), step.destination)
        else:
            target, existed = _find_or_make_folder(root_fd, step)
            tree = _make_filesystem(root_fd, step, target, existed, plan.pid_namespace)
        _change(tree, step)
        if proc_devices and step.fstype != "proc" and os.fstat(target).st_dev in proc_devices:
            _check_inside_proc(step)
        mount.move_mount(tree, target)
        if step.destination == "/":
            _become_root(tree, root_fd)
        if step.fstype == "proc" and step.kind != "bind":
            proc_devices.add(os.fstat(tree).st_dev)
        for kind, recursive in step.propagation:
            mount.mount_setattr(tree, propagation=kind, recursive=recursive)
    finally:
        for fd in (tree, target):
            if fd >= 0:
                os.close(fd)


def _remount(root_fd: int, step: MountStep) -> None:
    """Changes a mount that is there. EINVAL when nothing is mounted at that place."""
    target = path.open_in_root(root_fd, step.destination)
    try:
        if step.data:
            mount.reconfigure(target, step.data)
        mount.mount_setattr(target, *step.attributes)
        _change(target, step)
        for kind, recursive in step.propagation:
            mount.mount_setattr(target, propagation=kind, recursive=recursive)
    finally:
        os.close(target)


def _check_inside_proc(step: MountStep) -> None:
    from wherry.runtime.mountplan import ALLOWED_IN_PROC

    if step.destination not in ALLOWED_IN_PROC:
        raise InvalidArgument(f'"{step.destination}" cannot be mounted because it is inside /proc')


def _become_root(tree: int, root_fd: int) -> None:
    """What was mounted over the root is the root from here on, under the same number."""
    mount.mount_setattr(root_fd, propagation=mount.MS_PRIVATE)  # as pivot_root(2) wants the parent of a new root
    os.dup2(tree, root_fd, inheritable=False)


def _find_or_make_folder(root_fd: int, step: MountStep) -> tuple[int, bool]:
    """The folder to mount a filesystem at, and whether it was there."""
    plain = step.fstype in ("proc", "sysfs")
    try:
        return _open_folder(root_fd, step, plain), True
    except FileNotFoundError:
        os.close(path.make_folders(root_fd, step.destination, dangling=0 if plain else _DANGLING))
        return _open_folder(root_fd, step, plain), False


def _open_folder(root_fd: int, step: MountStep, plain: bool) -> int:
    """`plain`: the image must not lead /proc or /sys elsewhere by a link, CVE-2019-19921."""
    if not plain:
        return path.open_in_root(root_fd, step.destination, os.O_PATH | os.O_DIRECTORY)
    try:
        return path.openat2(root_fd, step.destination.lstrip("/") or ".", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, 0,
                            path.RESOLVE_IN_ROOT | path.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        raise
    except OSError as error:
        text = f'filesystem "{step.fstype}" must be mounted on ordinary directory'
        raise OSError(error.errno, text, step.destination) from error


def _make_filesystem(root_fd: int, step: MountStep, target: int, existed: bool, pid_namespace: int) -> int:
    data = step.data
    if any(value is not None and len(value) > 255 for _, value in data):
        return _make_the_old_way(step, target)
    source = (("source", step.source or step.fstype),)
    # As runc: a tmpfs over a folder that exists has that folder's mode; over a new one it is everybody's.
    takes_mode = step.kind == "tmpfs" and existed and not any(key == "mode" for key, _ in data)
    attributes = step.attributes[0]
    if step.fstype == "proc" and pid_namespace >= 0:
        from wherry.runtime.foreignproc import mount_proc

        return mount_proc(pid_namespace, root_fd, source + data, attributes)
    if takes_mode or step.copy_up:  # it is written to before it becomes read-only
        attributes &= ~mount.MOUNT_ATTR_RDONLY
    try:
        tree = mount.filesystem(step.fstype, source + data, attributes)
    except PermissionError:
        if step.fstype != "sysfs":
            raise
        # In a user namespace that does not own the network nobody can make a sysfs: the one that is there serves, as with crun.
        tree = mount.open_tree("/sys", recursive=True)
        mount.mount_setattr(tree, *step.attributes, recursive=True)
    try:
        if takes_mode:
            top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
            os.fchmod(top, stat.S_IMODE(os.fstat(target).st_mode))
            os.close(top)
        if step.copy_up:
            from wherry.runtime.copyup import copy_up

            copy_up(target, tree)
        if attributes != step.attributes[0]:
            mount.mount_setattr(tree, *step.attributes)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _make_the_old_way(step: MountStep, target: int) -> int:
    """A mount by mount(2), for options longer than a string of fsconfig(2) may be (lowerdir of many layers)."""
    text = ",".join(key if value is None else f"{key}={value}" for key, value in step.data)
    place = f"/proc/self/fd/{target}"
    mount.mount(step.source or None, place, step.fstype, 0, text)
    tree = mount.open_tree(place, recursive=False)
    mount.umount2(place, mount.MNT_DETACH)
    mount.mount_setattr(tree, *step.attributes)
    return tree


def _change(tree: int, step: MountStep) -> None:
    if step.kind == "bind" and step.attributes != (0, 0):
        mount.mount_setattr(tree, *step.attributes)
    if step.recursive_attributes != (0, 0):
        mount.mount_setattr(tree, *step.recursive_attributes, recursive=True)


def _null_device(root_fd: int, devices: DevicePlan) -> tuple[int, int]:
    """(descriptor of a /dev/null to mask files with, attributes to mount it with): the container's own where we made it.

    It is taken only when it is the real device and no link (CVE-2025-31133); otherwise the host's, read-only, so that the
    container cannot change its mode.
    """
    if devices.nodes:
        null = path.openat2(root_fd, "dev/null", os.O_PATH | os.O_NOFOLLOW, 0, path.RESOLVE_IN_ROOT)
        found = os.fstat(null)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3):
            return null, 0
        os.close(null)
    return os.open("/dev/null", os.O_PATH | os.O_CLOEXEC), mount.MOUNT_ATTR_RDONLY


def _make_read_only(root_fd: int, name: str) -> None:
    try:
        found = path.open_in_root(root_fd, name)
    except FileNotFoundError:
        return
    try:
        tree = mount.open_tree("", found)
        try:
            mount.mount_setattr(tree, mount.MOUNT_ATTR_RDONLY)
            mount.move_mount(tree, found)
        finally:
            os.close(tree)
    finally:
        os.close(found)


def _mask(root_fd: int, plan: RootfsPlan) -> None:
    """Covers files with /dev/null and folders with an empty read-only tmpfs (one for all of them)."""
    if not plan.masked:
        return
    null_fd, attributes = _null_device(root_fd, plan.devices)
    empty = -1
    try:
        for name in plan.masked:
            try:
                found = path.open_in_root(root_fd, name)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                if not stat.S_ISDIR(os.fstat(found).st_mode):
                    _cover(found, null_fd, attributes)
                elif empty < 0:
                    empty = mount.filesystem("tmpfs", (("source", "tmpfs"),), mount.MOUNT_ATTR_RDONLY)
                    mount.move_mount(empty, found)
                else:
                    _cover(found, empty, 0)
            finally:
                os.close(found)
    finally:
        os.close(null_fd)
        if empty >= 0:
            os.close(empty)


def _cover(target: int, source: int, attributes: int) -> None:
    tree = mount.open_tree("", source, recursive=False)
    try:
        if attributes:
            mount.mount_setattr(tree, attributes)
        mount.move_mount(tree, target)
    finally:
        os.close(tree)
