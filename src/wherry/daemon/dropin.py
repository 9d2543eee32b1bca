"""Whether Docker's places are free for `--drop-in`, and who holds them when they are not."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from wherry.errors import Conflict

if TYPE_CHECKING:
    from wherry.daemon.settings import Settings

# dockerd keeps these BoltDB files locked (flock) while it runs on a data root.
_LOCKED_FILES = ("volumes/metadata.db", "network/files/local-kv.db", "buildkit/cache.db")


def check(settings: Settings) -> None:
    """Raises Conflict, naming the process, while another daemon holds the socket, the PID file or the data root."""
    for place, pid in (
        *((host.removeprefix("unix://"), listener_of(host.removeprefix("unix://")))
          for host in settings.hosts if host.startswith("unix://")),
        (settings.pid_file, running_pid(settings.pid_file)),
        *((f"{settings.engine.data_root}/{name}", lock_holder(f"{settings.engine.data_root}/{name}")) for name in _LOCKED_FILES),
    ):
        if pid is not None and pid != os.getpid():
            raise Conflict(f"--drop-in: {place} is held by {name_of(pid)}: end it first (systemctl stop docker.socket docker)")


def listener_of(path: str) -> int | None:
    """The process that listens on a Unix socket (unix(7), SO_PEERCRED: whoever called listen), None when nobody does.

    0 when it is known only that there is one.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError:
            return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def running_pid(path: str) -> int | None:
    """The process that a PID file names, if it runs."""
    try:
        with open(path) as file:
            pid = int(file.read().strip() or "0")
    except (OSError, ValueError):
        return None
    return pid if pid > 0 and os.path.exists(f"/proc/{pid}") else None


def lock_holder(path: str) -> int | None:
    """The process that has a file locked with flock(2), None when nobody has; 0 when it cannot be told who."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _locker(os.fstat(fd).st_ino)
    finally:
        os.close(fd)
    return None


def _locker(inode: int) -> int:
    """By /proc/locks, proc_locks(5): `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`."""
    with open("/proc/locks") as lines:
        for line in lines:
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
                return max(int(fields[4]), 0)
    return 0


def name_of(pid: int) -> str:
    """`dockerd (pid 123)`."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return f"{file.read().strip()} (pid {pid})"
    except OSError:
        return f"the process {pid}" if pid else "another process"
