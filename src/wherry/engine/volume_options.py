"""The options of local volumes: `type`, `device` and `o` as mount(8) would take them, and `size`."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

import msgspec

from wherry.errors import InvalidArgument, Unsupported
from wherry.linux import mount as mounts
from wherry.linux.file import replace_durably
from wherry.linux.mountinfo import is_mounted

if TYPE_CHECKING:
    from collections.abc import Mapping

# What mount(8) means by a word of `o`: flags to set, flags to clear. What is not here is the filesystem's own.
_FLAGS: dict[str, tuple[int, int]] = {
    "defaults": (0, 0),
    "ro": (mounts.MS_RDONLY, 0), "rw": (0, mounts.MS_RDONLY),
    "nosuid": (mounts.MS_NOSUID, 0), "suid": (0, mounts.MS_NOSUID),
    "nodev": (mounts.MS_NODEV, 0), "dev": (0, mounts.MS_NODEV),
    "noexec": (mounts.MS_NOEXEC, 0), "exec": (0, mounts.MS_NOEXEC),
    "bind": (mounts.MS_BIND, 0), "rbind": (mounts.MS_BIND | mounts.MS_REC, 0),
    "sync": (1 << 4, 0), "async": (0, 1 << 4),
    "noatime": (1 << 10, 0), "atime": (0, 1 << 10),
    "nodiratime": (1 << 11, 0), "diratime": (0, 1 << 11),
    "relatime": (1 << 21, 0), "norelatime": (0, 1 << 21),
    "strictatime": (1 << 24, 0), "nostrictatime": (0, 1 << 24),
}
_PROPAGATION = {
    "private": mounts.MS_PRIVATE, "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "shared": mounts.MS_SHARED, "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "slave": mounts.MS_SLAVE, "rslave": mounts.MS_SLAVE | mounts.MS_REC,
}


class Device(msgspec.Struct, frozen=True):
    """What is mounted on a volume's `_data`."""

    kind: str
    source: str
    options: str = ""


def parse(options: Mapping[str, str]) -> Device | None:
    """The device that the options name, None for a plain folder. Raises InvalidArgument in Docker's words, Unsupported."""
    for name in options:
        if name not in ("type", "device", "o", "size"):
            raise InvalidArgument(f'invalid option: "{name}"')
    if options.get("size"):
        raise Unsupported('the option "size" of local volumes is not supported: it needs project quotas')
    for name, needed in (("device", ("type",)), ("type", ("device",)), ("o", ("device", "type"))):
        for other in needed:
            if options.get(name) and not options.get(other):
                raise InvalidArgument(f'missing required option: "{other}"')
    if not options.get("device"):
        return None
    return Device(options["type"], options["device"], options.get("o", ""))


def split(options: str) -> tuple[int, int, str]:
    """The words of `o` as (flags of mount(2), propagation, the filesystem's own options)."""
    flags, propagation, data = 0, 0, []
    for word in filter(None, options.split(",")):
        if word in _FLAGS:
            added, cleared = _FLAGS[word]
            flags = (flags | added) & ~cleared
        elif word in _PROPAGATION:
            propagation |= _PROPAGATION[word]
        else:
            data.append(word)
    return flags, propagation, ",".join(data)


def mount(device: Device, target: str) -> None:
    """Mounts a device, unless something is mounted there. OSError with the kernel's reason."""
    if is_mounted(target):
        return
    flags, propagation, data = split(_with_address(device))
    mounts.mount(device.source, target, device.kind, flags, data or None)
    if flags & mounts.MS_BIND and flags & ~(mounts.MS_BIND | mounts.MS_REC):
        # A bind mount takes its other flags only when it is mounted again: mount(2), «Creating a bind mount».
        mounts.mount(None, target, None, flags | mounts.MS_REMOUNT, None)
    if propagation:
        mounts.mount(None, target, None, propagation, None)


def unmount(target: str) -> None:
    """Takes away what is mounted on a volume's folder; harmless when nothing is."""
    if is_mounted(target):
        try:
            mounts.umount2(target, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.EINVAL:  # somebody else has just done it
                raise


def _with_address(device: Device) -> str:
    """The kernel's nfs and cifs want a number for `addr=`: a name is looked up here, as mount.nfs(8) does."""
    words = device.options.split(",")
    if device.kind.startswith("nfs") or device.kind == "cifs":
        words = [f"addr={socket.gethostbyname(word[5:])}" if word.startswith("addr=") else word for word in words]
    return ",".join(words)


class _DriverOptions(msgspec.Struct, rename="pascal"):
    """`opts.json` as dockerd's local driver writes it."""

    mount_type: str = ""
    mount_opts: str = ""
    mount_device: str = ""
    quota: dict[str, int] = {}


def write_driver_options(place: str, device: Device) -> None:
    """Writes `opts.json`, so that dockerd mounts the same on the same data root."""
    kept = _DriverOptions(device.kind, device.options, device.source, {"Size": 0})
    replace_durably(f"{place}/opts.json", msgspec.json.encode(kept))


def read_driver_options(place: str) -> dict[str, str] | None:
    """The options of a volume that dockerd made. Raises DecodeError for a file that is something else."""
    try:
        with open(f"{place}/opts.json", "rb") as file:
            kept = msgspec.json.decode(file.read(), type=_DriverOptions)
    except FileNotFoundError:
        return None
    given = {"type": kept.mount_type, "device": kept.mount_device, "o": kept.mount_opts}
    return {name: value for name, value in given.items() if value} or None
