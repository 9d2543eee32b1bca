#!/usr/bin/python3
"""Runs a command in a private world: namespaces of its own, nothing left behind.

    isolate.py [--keep-net] COMMAND [ARG...]

The command gets new mount, PID, network, IPC, UTS and cgroup namespaces: an empty /run, a /dev and a /sys of
its own, loopback up, and cgroups below one new folder per hierarchy (v1, hybrid and pure v2 alike). What it
mounts, links, filters or writes to sysctls of the network is gone when it ends; its processes are killed, and
the cgroup folders are removed, also by the next run when this one was killed. The host's interfaces, firewall, mounts
and the owners of its devices stay as they are. Exit status: the command's; 128 + n for a signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PREFIX = "wherry-world-"
INSIDE = "WHERRY_WORLD"
CLONE_NEWCGROUP = 0x02000000


def hierarchies() -> list[tuple[Path, str, str, str]]:
    """(mount point, type, options for mount, our own path in it) of each cgroup hierarchy."""
    found = []
    own = [line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        mount, (kind, _, options) = Path(left.split()[4]), right.split()[:3]
        for names, path in own:
            if kind == "cgroup2" and not names:
                found.append((mount, kind, "", path))
            elif kind == "cgroup" and names and set(names.split(",")) <= set(options.split(",")):
                found.append((mount, kind, names if "=" not in names else "none," + names, path))
    return found


def groups(name: str) -> list[Path]:
    """Our folders: below our own cgroup; on pure v2 below the root, as a v2 cgroup with processes gives no controllers away."""
    found = hierarchies()
    return [mount / ("" if len(found) == 1 else path.strip("/")) / name for mount, _, _, path in found]


def make_group(group: Path) -> None:
    group.mkdir(exist_ok=True)
    for knob in ("cpuset.cpus", "cpuset.mems"):  # v1 gives a new cpuset no processors
        if (group / knob).exists() and not (group / "cgroup.controllers").exists():
            (group / knob).write_text((group.parent / knob).read_text())


def thaw(folder: Path) -> None:
    """Lets frozen processes die: the world's pid namespace has been killed, but they do not see it."""
    for knob, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if (folder / knob).exists():
            (folder / knob).write_text(value)


def remove_group(group: Path) -> None:
    if not group.is_dir():
        return
    folders = [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # v1's root of the hierarchy has no such file, and one may be gone by now
            thaw(folder)
    deadline = time.monotonic() + 3  # the kernel empties a cgroup of killed processes in its own time
    for folder in folders:
        while folder.is_dir():
            try:
                folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)


def remove_stale() -> None:
    """Removes the cgroups of runs that were killed."""
    for parent in {group.parent for group in groups(PREFIX)}:
        for stale in parent.glob(PREFIX + "*"):
            if not Path("/proc", stale.name.removeprefix(PREFIX)).exists():
                remove_group(stale)


def sh(*command: str) -> None:
    subprocess.run(command, check=True)


def outside(argv: list[str], keep_net: bool) -> int:
    if os.geteuid():
        sys.exit("isolate: needs root (namespaces, mounts, cgroups)")
    remove_stale()
    name = f"{PREFIX}{os.getpid()}"
    child = None

    def stop(number: int, _frame: object) -> None:
        if child and child.poll() is None:
            child.send_signal(signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)

    try:
        for group in groups(name):
            make_group(group)
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", *([] if keep_net else ["-n"]), "-m", "-p", "-i", "-u",
             "--fork", "--kill-child", "--mount-proc", "--propagation", "private", sys.executable, __file__, *argv],
            env={**os.environ, INSIDE: name})
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the command as well
        code = child.wait()
        return code if code >= 0 else 128 - code
    finally:
        if child and child.poll() is None:
            child.kill()
        for group in groups(name):
            remove_group(group)
        if child:
            child.wait()


def private_dev() -> None:
    """A /dev like the host's, whose nodes and owners are ours alone."""
    kept = {}
    for node in ("null", "zero", "full", "random", "urandom", "tty", "fuse", "kmsg", "net/tun"):
        try:
            kept[node] = os.stat(f"/dev/{node}")
        except FileNotFoundError:
            continue
    sh("mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "tmpfs", "/dev")
    for node, stat in kept.items():
        Path("/dev", node).parent.mkdir(exist_ok=True)
        os.mknod(f"/dev/{node}", stat.st_mode, stat.st_rdev)
        os.chmod(f"/dev/{node}", stat.st_mode & 0o777)
    for folder in ("pts", "shm", "mqueue"):
        Path("/dev", folder).mkdir()
    sh("mount", "-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620,gid=5", "devpts", "/dev/pts")
    sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm")
    sh("mount", "-t", "mqueue", "mqueue", "/dev/mqueue")
    os.symlink("pts/ptmx", "/dev/ptmx")
    for link, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink("/proc/self/fd" + target, f"/dev/{link}")


def inside(argv: list[str]) -> int:
    """Process 1 of the world: sets it up, starts the command, reaps, and ends with it."""
    name = os.environ[INSIDE]
    mounts = hierarchies()
    for group in groups(name):
        (group / "cgroup.procs").write_text("0")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWCGROUP):
        raise OSError(ctypes.get_errno(), "unshare of the cgroup namespace")
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/lock").mkdir()
    sh("mount", "-t", "sysfs", "sysfs", "/sys")
    base = Path("/sys/fs/cgroup")
    if len(mounts) > 1:
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(base))
    for mount, kind, options, _ in mounts:
        mount.mkdir(exist_ok=True)
        sh("mount", "-t", kind, *(["-o", options] if options else []), kind, str(mount))
        if len(mounts) == 1:  # pure v2: a folder with controllers for its children holds no processes
            make_group(mount / "runner")
            (mount / "runner/cgroup.procs").write_text("0")
            (mount / "cgroup.subtree_control").write_text(
                " ".join("+" + one for one in (mount / "cgroup.controllers").read_text().split()))
    private_dev()
    sh("ip", "link", "set", "lo", "up")
    worker = subprocess.Popen(argv, env={**os.environ, INSIDE: name})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: worker.send_signal(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        if pid == worker.pid:
            for mount, _, _, _ in mounts:
                for folder, _, _ in os.walk(mount):
                    with contextlib.suppress(OSError):
                        thaw(Path(folder))
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def main(argv: list[str]) -> int:
    if os.environ.get(INSIDE, "").startswith(PREFIX) and os.getpid() == 1:
        return inside(argv)
    keep_net = argv[:1] == ["--keep-net"]
    argv = argv[keep_net:]
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if argv else 2
    if os.environ.get(INSIDE):  # already in a world of our own
        os.execvp(argv[0], argv)
    return outside(argv, keep_net)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
