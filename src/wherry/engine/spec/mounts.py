"""`mounts` of the runtime-spec: what every container has, then what was asked for, outer folders before inner ones."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from wherry.engine.spec.process import INIT
from wherry.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.engine.model import HostConfig
    from wherry.engine.records import MountRecord
    from wherry.engine.spec.places import Places

_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev", "rprivate")
# Options of tmpfs that are each other's opposite: one that is given takes away a default.
_OPPOSITE = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "noexec": "exec", "nosuid": "suid", "nodev": "dev", "rw": "ro",
             "ro": "rw"}
_PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
_FLAGS = ("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "dirsync", "remount", "mand", "nomand",
          "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "defaults",
          *_PROPAGATION)
_DATA = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")
SHARED, SLAVE = frozenset({"shared", "rshared"}), frozenset({"slave", "rslave"})
# With a read-only root these stay writable.
_ALWAYS_WRITABLE = ("/proc", "/dev", "/dev/shm", "/dev/mqueue", "/dev/pts")


def mounts(host: HostConfig, places: Places, asked: Iterable[MountRecord]) -> list[dict[str, Any]]:
    """The list. `asked` are binds, volumes (with their folder as source) and `--mount`'s tmpfs, by destination."""
    own = [_asked(one, places.recursive_read_only) for one in asked]
    own += [_tmpfs(destination, options) for destination, options in (host.tmpfs or {}).items()]
    taken = {one["destination"] for one in own}
    own += [one for one in _files(host, places) if one["destination"] not in taken]
    if host.init and places.init_path and not (host.pid_mode == "host" or host.pid_mode.startswith("container:")):
        own.append(_mount(INIT, "bind", places.init_path, ["bind", "ro"]))
    if places.shm_path and "/dev/shm" not in taken:
        own.append(_mount("/dev/shm", "bind", places.shm_path, ["rbind", "rprivate"]))
    # Stable for one depth: the order in which they were asked for.
    own.sort(key=lambda one: one["destination"].count("/"))
    taken = {one["destination"] for one in own}
    return [one for one in _standard(host, places) if not _is_covered(one["destination"], taken)] + own


def _is_covered(destination: str, taken: set[str]) -> bool:
    """A mount of the user's own takes the place of a standard one; one on /dev takes that of all below."""
    return destination in taken or ("/dev" in taken and destination.startswith("/dev/"))


def _standard(host: HostConfig, places: Places) -> list[dict[str, Any]]:
    quiet = ["nosuid", "noexec", "nodev"]
    cgroup, system = ["ro", *quiet], [*quiet, "ro"]
    if host.privileged:
        cgroup = quiet
        if not host.readonly_rootfs:
            system = quiet
    found = [
        _mount("/proc", "proc", "proc", quiet),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        _mount("/sys", "sysfs", "sysfs", system),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", cgroup),
        _mount("/dev/mqueue", "mqueue", "mqueue", quiet),
    ]
    if host.ipc_mode != "none" and not places.shm_path:
        found.append(_mount("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", f"size={host.shm_size}"]))
    if host.readonly_rootfs:
        for one in found:
            if one["destination"] not in _ALWAYS_WRITABLE and "ro" not in one["options"]:
                one["options"].append("ro")
    return found


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _files(host: HostConfig, places: Places) -> list[dict[str, Any]]:
    """resolv.conf, hostname and hosts, which are the engine's and change while the container runs."""
    options = ["rbind", *(["ro"] if host.readonly_rootfs else []), "rprivate"]
    return [_mount(destination, "bind", source, options)
            for destination, source in (("/etc/resolv.conf", places.resolv_conf_path), ("/etc/hostname", places.hostname_path),
                                        ("/etc/hosts", places.hosts_path)) if source]


def _asked(mount: MountRecord, recursive_read_only: bool) -> dict[str, Any]:
    if mount.type == "tmpfs":
        options = mount.spec.tmpfs_options or {}
        words = [*(f"{'='.join(pair)}" for pair in options.get("Options") or ()), *([] if mount.rw else ["ro"])]
        if options.get("Mode"):
            words.append(f"mode={options['Mode']:o}")
        if options.get("SizeBytes"):
            words.append(f"size={_size(options['SizeBytes'])}")
        return _tmpfs(mount.destination, ",".join(words))
    bind = mount.spec.bind_options or {}
    words = ["bind" if bind.get("NonRecursive") else "rbind"]
    if not mount.rw:
        words.append(_read_only(mount, bind, recursive_read_only))
    if mount.propagation:
        words.append(mount.propagation)
    return _mount(mount.destination, "bind", mount.source, words)


def root_propagation(asked: Iterable[MountRecord]) -> str:
    """«rootfsPropagation» as dockerd sets it: what mounts need to reach the host, or be reached by it; empty for nothing."""
    kinds = {mount.propagation for mount in asked}
    if kinds & SHARED:
        return "shared"
    return "rslave" if kinds & SLAVE else ""


def _read_only(mount: MountRecord, bind: dict[str, Any], recursive_read_only: bool) -> str:
    """`rro` (what is mounted below is read-only too) for binds, where the runtime knows it; Docker does so since 25."""
    if bind.get("ReadOnlyForceRecursive") and not recursive_read_only:
        raise InvalidArgument(f"mount {mount.destination}: the runtime does not know recursive read-only mounts (rro)")
    if mount.type != "bind" or bind.get("ReadOnlyNonRecursive") or bind.get("NonRecursive") or not recursive_read_only:
        return "ro"
    return "rro"


def _tmpfs(destination: str, options: str) -> dict[str, Any]:
    return _mount(posixpath.normpath(destination), "tmpfs", "tmpfs", tmpfs_options(options))


def tmpfs_options(text: str) -> list[str]:
    """The defaults, without those that the given options contradict, then the given ones. Raises InvalidArgument."""
    given = [word for word in text.split(",") if word]
    for word in given:
        name, value, _ = word.partition("=")
        if word not in _FLAGS and (name not in _DATA or not value):
            raise InvalidArgument(f'invalid tmpfs option ["{word}"]')
    replaced = {_OPPOSITE[word] for word in given if word in _OPPOSITE} | set(given)
    if any(word in _PROPAGATION for word in given):
        replaced.add("rprivate")
    return [word for word in _TMPFS_DEFAULTS if word not in replaced] + given


def _size(size_bytes: int) -> str:
    for unit, letter in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{letter}"
    return str(size_bytes)
