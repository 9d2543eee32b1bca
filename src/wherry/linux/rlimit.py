"""Resource limits by their names in the runtime-spec. prlimit(2)."""

from __future__ import annotations

import struct

from wherry.linux import syscall

NUMBERS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}
INFINITY = (1 << 64) - 1


def set_(name: str, soft: int, hard: int, pid: int = 0) -> None:
    """Sets a limit of a process (0: this one); -1 is infinity. KeyError for an unknown name, OSError when not allowed."""
    values = struct.pack("2Q", soft & INFINITY, hard & INFINITY)
    syscall.call("prlimit64", f"{name} soft={soft} hard={hard}", pid, NUMBERS[name], values, 0)


def get(name: str, pid: int = 0) -> tuple[int, int]:
    """(soft, hard) of a process's limit; INFINITY where there is none."""
    values = syscall.Buffer(16)
    syscall.call("prlimit64", name, pid, NUMBERS[name], 0, values)
    soft, hard = struct.unpack("2Q", values.data)
    return soft, hard
