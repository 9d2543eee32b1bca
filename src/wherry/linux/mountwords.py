"""The words of mount options, as the runtime-spec («Linux mount options») and mount(8) have them, and what they mean."""

from __future__ import annotations

from wherry.linux import mount as kernel

_RO, _NOSUID, _NODEV, _NOEXEC = 0x1, 0x2, 0x4, 0x8
_ATIME = kernel.MOUNT_ATTR__ATIME

# word → (attributes set, attributes cleared); with an «r» before it: for the whole tree (runtime-spec, «recursive»).
ATTRIBUTES = {
    "ro": (_RO, 0), "rw": (0, _RO),
    "nosuid": (_NOSUID, 0), "suid": (0, _NOSUID),
    "nodev": (_NODEV, 0), "dev": (0, _NODEV),
    "noexec": (_NOEXEC, 0), "exec": (0, _NOEXEC),
    "noatime": (kernel.MOUNT_ATTR_NOATIME, _ATIME), "atime": (0, _ATIME),
    "strictatime": (kernel.MOUNT_ATTR_STRICTATIME, _ATIME), "nostrictatime": (0, _ATIME),
    "relatime": (kernel.MOUNT_ATTR_RELATIME, _ATIME), "norelatime": (0, _ATIME),
    "nodiratime": (kernel.MOUNT_ATTR_NODIRATIME, 0), "diratime": (0, kernel.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (kernel.MOUNT_ATTR_NOSYMFOLLOW, 0), "symfollow": (0, kernel.MOUNT_ATTR_NOSYMFOLLOW),
}
PROPAGATION = {
    "private": (kernel.MS_PRIVATE, False), "rprivate": (kernel.MS_PRIVATE, True),
    "slave": (kernel.MS_SLAVE, False), "rslave": (kernel.MS_SLAVE, True),
    "shared": (kernel.MS_SHARED, False), "rshared": (kernel.MS_SHARED, True),
    "unbindable": (kernel.MS_UNBINDABLE, False), "runbindable": (kernel.MS_UNBINDABLE, True),
}
# Flags of the filesystem itself, which fsconfig(2) takes by these names; the others are the defaults they undo.
SUPERBLOCK = {"sync": "sync", "dirsync": "dirsync", "mand": "mand", "lazytime": "lazytime", "iversion": "iversion"}
NOTHING = ("defaults", "async", "nomand", "nolazytime", "noiversion", "loud", "silent", "norelatime", "acl", "noacl")


def describe(given: int, taken: int) -> str:
    """Attributes as words, such as «ro,nosuid»."""
    words = [word for word, (bits, _) in ATTRIBUTES.items() if bits and given & bits == bits]
    words += [word for word, (_, bits) in ATTRIBUTES.items() if bits and bits != _ATIME and taken & bits]
    return ",".join(words)


def merge(total: list[int], change: tuple[int, int]) -> None:
    """A later word wins: what it sets is no longer cleared, what it clears is no longer set."""
    total[0] = total[0] & ~change[1] | change[0]
    total[1] = total[1] & ~(change[0] & ~_ATIME) | change[1]
