"""Which cgroup hierarchies the machine has, where they are mounted, and where this process is in them.

Sources: cgroups(7), `/proc/self/mountinfo` in proc_pid_mountinfo(5), `/proc/self/cgroup`.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument, Unsupported
from wherry.record import Record


class Hierarchy(Record):
    """One mounted hierarchy. `names` are its controllers (`name=systemd` for a named one; empty for cgroup2)."""

    names: tuple[str, ...]
    mount: str
    own: str


class Layout(Record):
    """All hierarchies. `kind` is "v1", "v2" or "hybrid"."""

    kind: str
    v1: tuple[Hierarchy, ...] = ()
    unified: Hierarchy | None = None

    def folders(self, path: str) -> dict[str, str]:
        """The folder of a cgroup in each v1 hierarchy, by controller; several names may share one folder."""
        return {name: _place(one, path) for one in self.v1 for name in one.names}

    def unified_folder(self, path: str) -> str:
        """The folder of a cgroup in the cgroup2 hierarchy. Raises Unsupported without one."""
        if self.unified is None:
            raise Unsupported("no cgroup2 hierarchy is mounted")
        return _place(self.unified, path)


def read_layout(mountinfo: str | None = None, own: str | None = None) -> Layout:
    """The machine's layout, from the text of `/proc/self/mountinfo` and `/proc/self/cgroup` (read when not given).

    Raises Unsupported where no hierarchy with controllers is mounted.
    """
    mountinfo = _read("/proc/self/mountinfo") if mountinfo is None else mountinfo
    own = _read("/proc/self/cgroup") if own is None else own
    places = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        places[names] = path
    v1: dict[str, Hierarchy] = {}
    unified = None
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        fields = left.split(" ")
        root, mount = _unescape(fields[3]), _unescape(fields[4])
        if kind == "cgroup2":
            if unified is None:
                unified = Hierarchy(names=(), mount=mount, own=_below(places.get("", "/"), root))
        elif kind == "cgroup":
            given = set(options.split(","))
            for names, path in places.items():
                if names and names not in v1 and given.issuperset(names.split(",")):
                    v1[names] = Hierarchy(names=tuple(names.split(",")), mount=mount, own=_below(path, root))
    with_controllers = [one for one in v1.values() if not one.names[0].startswith("name=")]
    if with_controllers:
        return Layout(kind="hybrid" if unified else "v1", v1=tuple(v1.values()), unified=unified)
    if unified:
        return Layout(kind="v2", unified=unified)
    raise Unsupported("no cgroup hierarchy is mounted: wherry needs /sys/fs/cgroup, as cgroup2 or with v1 controllers")


def usual_driver() -> str:
    """What makes a container's cgroup where nobody says: "systemd" where it is process 1 on v2 and can be asked, else "cgroupfs".

    On v2 a cgroup has one owner, and systemd owns the tree where it runs; dockerd chooses so too.
    """
    try:
        unified = read_layout().kind == "v2"
    except Unsupported:
        unified = False
    if not unified or not os.path.isdir("/run/systemd/system"):
        return "cgroupfs"
    from wherry.linux.cgroup.systemd import SYSTEM_BUS

    return "systemd" if os.path.exists(SYSTEM_BUS) else "cgroupfs"


def _place(hierarchy: Hierarchy, path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise InvalidArgument(f"cgroup path {path!r} leads out of the hierarchy")
    base = hierarchy.mount if path.startswith("/") else hierarchy.mount + hierarchy.own.rstrip("/")
    return "/".join([base.rstrip("/"), *parts])


def _below(path: str, root: str) -> str:
    """A path of the hierarchy as seen below the folder of it that is mounted."""
    if root != "/" and (path + "/").startswith(root + "/"):
        path = path[len(root):]
    return path or "/"


def _unescape(text: str) -> str:
    for code, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, plain)
    return text


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
