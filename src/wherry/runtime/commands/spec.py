"""`wherry-runc spec`: writes a config.json to begin with."""

from __future__ import annotations

import os

from wherry.errors import Conflict, InvalidArgument
from wherry.linux import cgroup
from wherry.oci import RUNTIME_VERSION, jsontext
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.runtime.main import Context

COMMAND = Command(
    name="spec", usage="write a config.json to begin with", arguments="", minimum=0, maximum=0,
    flags=(Flag(names=("bundle", "b"), kind="text", help="the bundle's folder; the current one if not given"),
           Flag(names=("file", "f"), kind="text", default="config.json", help="the file to write, in that folder"),
           Flag(names=("rootless",), kind="switch", help="for a user without root: a user namespace, no cgroups")),
    description="The file runs sh in ./rootfs:\n\n    mkdir rootfs && docker export $(docker create busybox) | tar -C rootfs -x\n"
                "    wherry-runc spec && wherry-runc run mycontainer")

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def run(context: Context) -> int:
    """Writes config.json or another file, never over one that is there."""
    folder, name = context.flags["bundle"] or ".", context.flags["file"]
    if not os.path.isdir(folder):
        raise InvalidArgument(f"chdir {folder}: no such file or directory")
    document = example(cgroup.detect() == "v2")
    if context.flags["rootless"]:
        document = rootless(document)
    try:
        fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Conflict(f"File {name} exists. Remove it first") from None
    try:
        os.write(fd, jsontext.dumps(document, indent=4).encode() + b"\n")
    finally:
        os.close(fd)
    return 0


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, **({"options": list(options)} if options else {})}


def example(unified: bool = False) -> dict[str, Any]:
    """The config of a container that runs sh as root with few rights; with a cgroup namespace where cgroups are `unified`."""
    kinds = ("pid", "network", "ipc", "uts", "mount", *(("cgroup",) if unified else ()))
    quiet = ("nosuid", "noexec", "nodev")
    return {
        "ociVersion": RUNTIME_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(_CAPABILITIES) for name in ("bounding", "effective", "permitted", "ambient")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "wherry",
        "mounts": [
            _mount("/proc", "proc", "proc"),
            _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            _mount("/dev/shm", "tmpfs", "shm", *quiet, "mode=1777", "size=65536k"),
            _mount("/dev/mqueue", "mqueue", "mqueue", *quiet),
            _mount("/sys", "sysfs", "sysfs", *quiet, "ro"),
            _mount("/sys/fs/cgroup", "cgroup", "cgroup", *quiet, "relatime", "ro"),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def rootless(document: dict[str, Any]) -> dict[str, Any]:
    """The same for a user without root: the user is root inside, the network is the host's, /sys is bound, no limits."""
    linux = document["linux"]
    linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != "network"] + [{"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    del linux["resources"]
    mounts = []
    for entry in document["mounts"]:
        if entry["destination"] == "/sys":
            entry = _mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro")
        if entry["destination"] == "/dev/pts":
            entry = {**entry, "options": [option for option in entry["options"] if not option.startswith("gid=")]}
        mounts.append(entry)
    return {**document, "mounts": mounts}
