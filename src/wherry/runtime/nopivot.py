"""A root that is moved to / instead of pivoted to (--no-pivot, for a rootfs on a ramdisk): the host's tree stays below it.

The kernel lets the root of a user namespace mount a procfs or sysfs when one that nothing covers is in its mount namespace,
visible or not. So the host's go away before the move, else a container would get past its masked and read-only paths.
"""

from __future__ import annotations

import errno
import os

from wherry.linux import mount, mountinfo


def part_from_host(rootfs: str) -> None:
    """Lets no mount of the host hear of what happens, and takes away its procfs and sysfs. `rootfs`: the new root's folder."""
    outside = [one for one in mountinfo.read() if not (one.path + "/").startswith(rootfs + "/")]
    for one in outside:
        try:
            mount.mount_setattr(mount.AT_FDCWD, propagation=mount.MS_SLAVE, path=one.path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL, errno.ENOTDIR):  # something else is mounted over it
                raise
    for one in reversed(outside):
        if one.filesystem in ("proc", "sysfs"):
            _take_away(one.path)


def _take_away(place: str) -> None:
    try:
        mount.umount2(place, mount.MNT_DETACH)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # A mount of a more privileged namespace cannot be taken away, but covered.
        cover = mount.filesystem("tmpfs", (("source", "tmpfs"),), mount.MOUNT_ATTR_RDONLY)
        target = os.open(place, os.O_PATH | os.O_CLOEXEC)
        mount.move_mount(cover, target)
        os.close(target)
        os.close(cover)
