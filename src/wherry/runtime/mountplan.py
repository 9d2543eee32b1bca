"""What will be mounted in a container, as plain data computed from «mounts»: no side effects, testable without root.

The words of mount options are those of the runtime-spec («Linux mount options») and mount(8). `rootfs` applies the plan.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, Unsupported
from wherry.linux import mount as kernel
from wherry.linux import mountwords
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config, IdMapping, Mount

# What may be mounted below /proc: files that tools like lxcfs replace. Anything else there could make a file that the
# runtime writes to (its own attr/exec, a sysctl) be another one: CVE-2019-16884.
ALLOWED_IN_PROC = tuple("/proc/" + name for name in (
    "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev", "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled"))


_ALL = (kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV | kernel.MOUNT_ATTR_NOEXEC
        | kernel.MOUNT_ATTR_NOSYMFOLLOW)


class IdMap(Record):
    """Owners of a bind mount as seen through it; no mappings: those of the container's user namespace.

    `recursive`: also of the mounts below it. mount_setattr(2), «ID-mapped mounts».
    """

    uids: tuple[IdMapping, ...]
    gids: tuple[IdMapping, ...]
    recursive: bool


class MountStep(Record):
    """One mount to make. `kind`: «bind», «filesystem», «tmpfs», «cgroup» or, for one that is there and is changed, «remount».

    `source_fd` ≥ 0 is a detached mount to take instead of the source.
    `attributes` is (set, cleared) for the mount itself, `recursive_attributes` for its tree; `propagation` lists (MS_…, whole
    tree).
    """

    kind: str
    destination: str
    source: str
    fstype: str
    attributes: tuple[int, int] = (0, 0)
    recursive_attributes: tuple[int, int] = (0, 0)
    propagation: tuple[tuple[int, bool], ...] = ()
    data: tuple[tuple[str, str | None], ...] = ()
    recursive: bool = False
    copy_up: bool = False
    id_map: IdMap | None = None
    source_fd: int = -1

    def describe(self) -> str:
        """The step for people, as traces and `--explain` show it."""
        said = [mountwords.describe(*self.attributes), *(key if value is None else f"{key}={value}" for key, value in self.data)]
        if self.recursive_attributes != (0, 0):
            said.append(f"in the whole tree {mountwords.describe(*self.recursive_attributes)}")
        kind = "rbind" if self.recursive else self.fstype if self.kind == "filesystem" else self.kind
        what = self.source if self.source not in ("", kind) else ""
        return " ".join(filter(None, (kind, what, "at", self.destination, ",".join(filter(None, said)))))


def plan_mounts(config: Config, bundle: str) -> tuple[MountStep, ...]:
    """The mounts of a config in the order in which they are made: cgroup mounts last where that changes nothing.

    They have to wait until the init is in its cgroups; the others need not. InvalidArgument and Unsupported name the mount.
    """
    steps = [plan_mount(entry, bundle) for entry in config.mounts]
    late = [
        step for number, step in enumerate(steps)
        if step.kind == "cgroup" and not any(_is_below(other.destination, step.destination) for other in steps[number + 1 :])
    ]
    return tuple([step for step in steps if step not in late] + late)


def seal_late(steps: tuple[MountStep, ...]) -> tuple[tuple[MountStep, ...], tuple[MountStep, ...]]:
    """The steps, and those that end the tree: a tmpfs in which things are still to be made cannot be read-only before.

    In /dev devices are made after all mounts; in others, what is mounted below finds no place where it does not make one.
    """
    made, sealed = [], []
    for number, step in enumerate(steps):
        attributes, cleared = step.attributes
        holds = step.destination == "/dev" or any(_is_below(one.destination, step.destination) for one in steps[number + 1 :])
        if step.kind == "tmpfs" and attributes & kernel.MOUNT_ATTR_RDONLY and holds:
            made.append(step.replace(attributes=(attributes & ~kernel.MOUNT_ATTR_RDONLY, cleared)))
            sealed.append(step.replace(kind="remount", attributes=(kernel.MOUNT_ATTR_RDONLY, 0), data=(), propagation=()))
        else:
            made.append(step)
    return tuple(made), tuple(sealed)


def plan_mount(entry: Mount, bundle: str) -> MountStep:
    """The step for one entry of «mounts»."""
    destination = os.path.normpath("/" + entry.destination.lstrip("/"))
    if not entry.destination:
        raise InvalidArgument("mount without destination")
    attributes, recursive_attributes = [0, 0], [0, 0]
    propagation: list[tuple[int, bool]] = []
    data: list[tuple[str, str | None]] = []
    bind = recursive = copy_up = remount = False
    id_map = "idmap" if entry.uid_mappings or entry.gid_mappings else ""
    for word in entry.options:
        if word in mountwords.ATTRIBUTES:
            mountwords.merge(attributes, mountwords.ATTRIBUTES[word])
        elif word in mountwords.PROPAGATION:
            propagation.append(mountwords.PROPAGATION[word])
        elif word in ("bind", "rbind"):
            bind, recursive = True, word == "rbind"
        elif word[:1] == "r" and word[1:] in mountwords.ATTRIBUTES:
            mountwords.merge(recursive_attributes, mountwords.ATTRIBUTES[word[1:]])
        elif word in mountwords.SUPERBLOCK:
            data.append((mountwords.SUPERBLOCK[word], None))
        elif word == "tmpcopyup":
            copy_up = True
        elif word in ("idmap", "ridmap"):
            id_map = word
        elif word == "remount":
            remount = True
        elif word not in mountwords.NOTHING and word:
            key, equals, value = word.partition("=")
            data.append((key, value if equals else None))
    kind = _kind(entry, bind)
    source = entry.source
    if kind == "bind":
        # The options of a filesystem mean nothing to a bind mount, and the kernel has always ignored them.
        data = []
        source = source if source.startswith("/") else os.path.join(bundle, source)
    _check_proc(destination, kind, entry.type)
    if remount:
        # As mount(8) means it: what is not said is no longer so, but for the times of access.
        kind, attributes[1] = "remount", attributes[1] | (_ALL & ~attributes[0])
    return MountStep(
        kind=kind, destination=destination, source=source, fstype=entry.type, attributes=(attributes[0], attributes[1]),
        recursive_attributes=(recursive_attributes[0], recursive_attributes[1]), propagation=tuple(propagation),
        data=tuple(data), recursive=recursive, copy_up=copy_up,
        id_map=_plan_id_map(entry, kind, id_map))


def _plan_id_map(entry: Mount, kind: str, word: str) -> IdMap | None:
    if not word:
        return None
    if kind != "bind":
        raise Unsupported(f'mount at "{entry.destination}": id-mapped mounts are only supported for bind-mounts')
    if bool(entry.uid_mappings) != bool(entry.gid_mappings):
        raise InvalidArgument(f'mount at "{entry.destination}": uidMappings and gidMappings are both needed')
    return IdMap(uids=entry.uid_mappings, gids=entry.gid_mappings, recursive=word == "ridmap")


def plan_root_propagation(word: str) -> tuple[int, bool]:
    """What happens to the propagation of the new mount namespace: rslave unless «rootfsPropagation» says otherwise."""
    if not word:
        return kernel.MS_SLAVE, True
    try:
        return mountwords.PROPAGATION[word]
    except KeyError:
        raise InvalidArgument(f"rootfsPropagation={word} is not supported") from None


def _kind(entry: Mount, bind: bool) -> str:
    if bind or entry.type == "bind":
        return "bind"
    if entry.type in ("cgroup", "cgroup2"):
        return "cgroup"
    if entry.type == "tmpfs":
        return "tmpfs"
    if not entry.type:
        raise InvalidArgument(f'mount at "{entry.destination}": no type, and neither bind nor rbind')
    return "filesystem"


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _check_proc(destination: str, kind: str, fstype: str) -> None:
    if destination == "/proc":
        if kind != "bind" and fstype != "proc":
            raise InvalidArgument('"/proc" cannot be mounted because it is not of type proc')
    elif destination.startswith("/proc/") and destination not in ALLOWED_IN_PROC:
        raise InvalidArgument(f'"{destination}" cannot be mounted because it is inside /proc')
