"""The host's devices for a container: `--device`, `--privileged`, `--device-cgroup-rule`, and block devices of limits.

`look_up` reads /dev at start (a device may have come or gone since create); everything else is pure.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from wherry.engine.model import DeviceMapping, HostConfig

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
# Made anew in each container, whatever the host has there.
_OWN = ("pts", "shm", "fd", "mqueue", "console", "ptmx", "stdin", "stdout", "stderr", ".lxc", ".lxd-mounts", ".udev")
# What every container may use beside what the runtime allows by itself: null, zero and so on, and the console.
_DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"allow": False, "access": "rwm"},
    *({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
      for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))),
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
)


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A node for the container. `access` is what the cgroup lets it do."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0
    access: str = "rwm"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What /dev has of what a HostConfig names. `numbers`: block devices of limits, by path."""

    devices: tuple[Device, ...] = ()
    numbers: dict[str, tuple[int, int]] = {}


def look_up(host: HostConfig, root: str = "/dev") -> Found:
    """Finds the devices. Raises NotFound and InvalidArgument in Docker's words for one that is missing or none."""
    found: list[Device] = []
    if host.privileged:
        # The folders that a container has its own of (/dev/pts, /dev/shm) stay out.
        found += list(_below(root, root))
    for mapping in host.devices or ():
        if not host.privileged or mapping.path_in_container != mapping.path_on_host:
            found += _mapped(mapping)
    limits = (host.blkio_weight_device, host.blkio_device_read_bps, host.blkio_device_write_bps, host.blkio_device_read_iops,
              host.blkio_device_write_iops)
    paths = [one.path for limit in limits for one in limit or ()]
    return Found(devices=tuple(found), numbers={path: _numbers(path) for path in paths})


def _mapped(mapping: DeviceMapping) -> list[Device]:
    path, access = mapping.path_on_host, mapping.cgroup_permissions or "rwm"
    place = mapping.path_in_container or path
    try:
        # A link leads to the device; its own name is the default for the name inside.
        target = os.path.realpath(path, strict=True)
        device = _device(target, place, access)
        if device is not None:
            return [device]
        if os.path.isdir(target):
            inside = list(_below(target, place, access))
            if inside:
                return inside
            raise InvalidArgument(
                f'error gathering device information while adding custom device "{path}": no devices found')
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        kind = NotFound if error.errno == errno.ENOENT else InvalidArgument
        raise kind(f'error gathering device information while adding custom device "{path}": {text}') from None
    raise InvalidArgument(f'error gathering device information while adding custom device "{path}": not a device node')


def _below(folder: str, place: str, access: str = "rwm") -> list[Device]:
    """The devices in a folder and the folders in it, by name. Links are left out, as is what the container has its own of."""
    found: list[Device] = []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return found
    for name in names:
        path = f"{folder.rstrip('/')}/{name}"
        if name in _OWN or os.path.islink(path):
            continue
        try:
            if os.path.isdir(path):
                found += _below(path, f"{place}/{name}", access)
            else:
                device = _device(path, f"{place}/{name}", access)
                if device is not None:
                    found.append(device)
        except FileNotFoundError:
            continue  # gone while we looked
    return found


def _device(path: str, place: str, access: str) -> Device | None:
    """The node at `path`, None when it is something else. /dev/tty and the like are taken as they are."""
    status = os.stat(path)
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    return Device(path=place, kind=kind, major=os.major(status.st_rdev), minor=os.minor(status.st_rdev),
                  mode=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid, access=access)


def _numbers(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise NotFound(f"stat {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument(f"{path} is not a block device")
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def parse_rule(text: str) -> dict[str, Any]:
    """`c 42:* rmw` as a rule of the runtime-spec. Raises InvalidArgument in Docker's words."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    return {"allow": True, "type": kind, "major": -1 if major == "*" else int(major), "minor": -1 if minor == "*" else int(minor),
            "access": access}


def device_rules(host: HostConfig, devices: tuple[Device, ...]) -> list[dict[str, Any]]:
    """`linux.resources.devices`."""
    if host.privileged:
        return [{"allow": True, "access": "rwm"}]
    rules = [dict(rule) for rule in _DEFAULT_RULES]
    rules += [{"allow": True, "type": one.kind, "major": one.major, "minor": one.minor, "access": one.access} for one in devices]
    return rules + [parse_rule(text) for text in host.device_cgroup_rules or ()]


def device_nodes(devices: tuple[Device, ...]) -> list[dict[str, Any]]:
    """`linux.devices`."""
    return [{"path": one.path, "type": one.kind, "major": one.major, "minor": one.minor, "fileMode": one.mode, "uid": one.uid,
             "gid": one.gid} for one in devices]
