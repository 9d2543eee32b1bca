"""Namespaces: clone3(2), setns(2), man 2 unshare, and the files under /proc/<pid>/ns."""

from __future__ import annotations

import fcntl
import os
import struct

from wherry.linux import syscall

CLONE_NEWTIME = 0x00000080
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

# Names of the runtime-spec («Namespaces») to the flag and the file under /proc/<pid>/ns.
FLAGS = {
    "pid": CLONE_NEWPID, "network": CLONE_NEWNET, "mount": CLONE_NEWNS, "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS,
    "user": CLONE_NEWUSER, "cgroup": CLONE_NEWCGROUP, "time": CLONE_NEWTIME,
}
FILES = {
    "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user", "cgroup": "cgroup",
    "time": "time",
}


def clone3(flags: int, cgroup_fd: int = -1) -> tuple[int, int]:
    """A fork with new namespaces. Returns (pid, pidfd) in the parent and (0, -1) in the child.

    The child is a copy of this process (no shared memory) and must leave by `os._exit` or an exec: neither Python's nor
    libc's fork handlers have run. With CLONE_PARENT the child is a sibling; its exit signal is then this process's own.
    `cgroup_fd` is a folder of cgroup v2 in which the child starts (no waiting, unlike moving it there). Call it in a
    single-threaded process only. The pidfd is close-on-exec. Source: clone(2), «clone3()».
    """
    pidfd = syscall.Buffer(4)
    flags |= CLONE_PIDFD
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
    exit_signal = 0 if flags & CLONE_PARENT else SIGCHLD
    arguments = struct.pack("11Q", flags, pidfd.address, 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup_fd, 0))
    pid = syscall.call("clone3", f"flags={flags:#x}", arguments, len(arguments))
    if pid == 0:
        return 0, -1
    return pid, struct.unpack("i", pidfd.data)[0]


def setns(fd: int, kind: int = 0) -> None:
    """Moves this process (for pid: its future children) into the namespace `fd`; `kind` is a CLONE_NEW… flag or 0.

    `fd` may also be a pidfd; `kind` is then the set of namespaces to join at once. Source: setns(2).
    """
    syscall.call("setns", f"fd={fd} kind={kind:#x}", fd, kind)


def unshare(flags: int) -> None:
    """Gives this process new namespaces of its own. Source: man 2 unshare."""
    syscall.call("unshare", f"flags={flags:#x}", flags)


def enter_new_time(offsets: tuple[tuple[str, int, int], ...]) -> None:
    """Children of this process get a new time namespace whose clocks differ by (clock, seconds, nanoseconds).

    The clocks can be set only until the first process is in it, so not by that process. Source: time_namespaces(7).
    """
    unshare(CLONE_NEWTIME)
    if offsets:
        text = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in offsets)
        fd = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def bring_up_loopback(socket_fd: int) -> None:
    """Brings `lo` up, with its addresses, where the socket was made: in a new network namespace it is down. netdevice(7)."""
    fcntl.ioctl(socket_fd, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def open_namespace(path: str) -> int:
    """A descriptor of the namespace file `path`; the caller closes it. OSError when it is none."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than the machine's first, which maps every id to itself."""
    with open("/proc/self/uid_map", encoding="utf-8") as lines:
        return [line.split() for line in lines] != [["0", "0", "4294967295"]]


def same(first: str, second: str) -> bool:
    """Whether two namespace files name the same namespace."""
    a, b = os.stat(first), os.stat(second)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
