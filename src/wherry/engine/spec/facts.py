"""What the machine can do, as far as checks and configs depend on it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from wherry.errors import Unsupported
from wherry.linux import capability
from wherry.linux.cgroup.layout import read_layout


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One machine. `controllers` are those that cgroups here may use, by v1's names (`io` is there as `blkio`).

    `files` are control files of them that not every kernel has. `capabilities` is what this process may hand on (its bounding
    set); `cpus` and `memory_nodes` are the numbers that are available. `hard_limits` are our own, by names such as `nofile`, -1:
    none.
    """

    machine: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    cgroup_version: str = "v1"
    controllers: frozenset[str] = frozenset({"cpu", "cpuset", "memory", "pids", "blkio", "devices", "freezer"})
    files: frozenset[str] = frozenset()
    capabilities: tuple[str, ...] = ()
    cpus: tuple[int, ...] = (0,)
    memory_nodes: tuple[int, ...] = (0,)
    hard_limits: dict[str, int] = {}
    apparmor: bool = False
    selinux: bool = False


# name of --ulimit → number for getrlimit(2)
LIMITS = {"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8, "as": 9,
          "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15}
_OPTIONAL_FILES = ("memory.memsw.limit_in_bytes", "memory.swap.max", "memory.swappiness", "memory.oom_control",
                   "memory.kmem.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.low", "cpu.cfs_quota_us", "cpu.max",
                   "cpu.rt_runtime_us", "blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight",
                   "blkio.throttle.read_bps_device", "io.max")
_OF_V2 = frozenset({"memory.swap.max", "memory.low", "cpu.max", "io.weight", "io.bfq.weight", "io.max"})
_ALWAYS_ON_V2 = frozenset({"memory.low", "memory.swap.max", "cpu.max", "io.max"})


def read_facts() -> Facts:
    """Looks at the machine: a few files, once per daemon."""
    import resource

    folders = _controller_folders()
    version = _version()
    files = {name for name in _OPTIONAL_FILES if _has(folders, name, version)}
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    kernel = (int(release[1]), int(release[2])) if release else (5, 0)
    limits = {name: resource.getrlimit(number)[1] for name, number in LIMITS.items()}
    return Facts(
        machine=os.uname().machine, kernel=kernel, cgroup_version=version,
        controllers=frozenset(folders), files=frozenset(files),
        capabilities=capability.names(capability.bounding()),
        cpus=parse_list(_text("/sys/devices/system/cpu/online")) or tuple(sorted(os.sched_getaffinity(0))),
        memory_nodes=parse_list(_text("/sys/devices/system/node/online")) or (0,),
        hard_limits=limits, apparmor=_text("/sys/module/apparmor/parameters/enabled").startswith("Y"),
        selinux=os.path.exists("/sys/fs/selinux/enforce"))


def _version() -> str:
    try:
        return "v2" if read_layout().kind == "v2" else "v1"
    except Unsupported:
        return "v1"


def _controller_folders() -> dict[str, str]:
    """A folder with each controller's files: the first child of the root, since v2's root has few of them itself."""
    try:
        layout = read_layout()
    except Unsupported:
        return {}
    if layout.kind != "v2":
        return layout.folders("/")
    root = layout.unified_folder("/")
    names = ["blkio" if name == "io" else name for name in _text(f"{root}/cgroup.controllers").split()]
    return dict.fromkeys([*names, "devices", "freezer"], root)


def _has(folders: dict[str, str], name: str, version: str) -> bool:
    """Whether cgroups here have a control file. v2's root lacks most of them, so one below is looked at too."""
    controller = name.split(".", 1)[0]
    folder = folders.get("blkio" if controller == "io" else controller)
    if folder is None or (version == "v2") != (name in _OF_V2):
        return False
    if os.path.exists(f"{folder}/{name}"):
        return True
    with_controller = [child for child in Path(folder).iterdir() if child.is_dir() and any(child.glob(f"{controller}.*"))]
    # Nobody has it switched on yet: then the files that every kernel with the controller has are there once it is.
    return any((child / name).exists() for child in with_controller) if with_controller else name in _ALWAYS_ON_V2


def parse_list(text: str) -> tuple[int, ...]:
    """`0-2,4` as numbers. Raises ValueError for anything else."""
    numbers: set[int] = set()
    for part in text.strip().split(",") if text.strip() else ():
        low, dash, high = part.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise ValueError(f"invalid format: {text.strip()}")
        if dash and int(high) < int(low):
            raise ValueError(f"invalid format: {text.strip()}")
        numbers.update(range(int(low), min(int(high or low), 1 << 16) + 1))
    return tuple(sorted(numbers))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
