"""Processes: pidfds, prctl(2), signals across exec, close_range(2), the title that `ps` shows."""

from __future__ import annotations

import errno
import os
import sys

from wherry import trace
from wherry.linux import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Iterable
else:
    import _signal

PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
CLOSE_RANGE_CLOEXEC = 4
KEYCTL_JOIN_SESSION_KEYRING = 1
# Resource limits by their names in the runtime-spec. prlimit(2)
LIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}
_NO_LIMIT = (1 << 64) - 1


def pidfd_open(pid: int) -> int:
    """A close-on-exec descriptor that stands for the process and is readable once it has ended. man 2 pidfd_open."""
    return os.pidfd_open(pid)


def pidfd_send_signal(pidfd: int, number: int) -> None:
    """Sends a signal to exactly this process; ProcessLookupError when it has ended. man 2 pidfd_send_signal."""
    trace.step("pidfd_send_signal", f"pidfd={pidfd} signal={number}")
    _signal.pidfd_send_signal(pidfd, number)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A copy, close-on-exec, of a descriptor of another process. Needs the right to ptrace(2) it. man 2 pidfd_getfd."""
    return syscall.call("pidfd_getfd", f"pidfd={pidfd} fd={fd}", pidfd, fd, 0)


def reap(pidfd: int, block: bool = True) -> int | None:
    """Waits for a child by its pidfd: its exit code, or 128 + the signal that ended it; None when it still runs.

    ChildProcessError when it is no child of this process. waitid(2).
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | (0 if block else os.WNOHANG))
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def describe_end(code: int) -> str:
    """What `reap` returned, as Go words it: «exit status 1», «signal: killed»."""
    return f"exit status {code}" if code < 128 else f"signal: {(_signal.strsignal(code - 128) or str(code - 128)).lower()}"


def set_child_subreaper(on: bool = True) -> None:
    """Orphans below this process become its children instead of init's. prctl(2)."""
    syscall.call("prctl", f"PR_SET_CHILD_SUBREAPER {on}", PR_SET_CHILD_SUBREAPER, int(on))


def set_dumpable(on: bool) -> None:
    """Whether others may look into this process (/proc/<pid>/exe, ptrace) without CAP_SYS_PTRACE. prctl(2)."""
    syscall.call("prctl", f"PR_SET_DUMPABLE {on}", PR_SET_DUMPABLE, int(on))


def set_keep_capabilities(on: bool) -> None:
    """Whether the permitted capabilities survive giving up user id 0; cleared by exec. prctl(2)."""
    syscall.call("prctl", f"PR_SET_KEEPCAPS {on}", PR_SET_KEEPCAPS, int(on))


def set_no_new_privileges() -> None:
    """From here on no exec gains privileges; cannot be undone. prctl(2)."""
    syscall.call("prctl", "PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """The process's short name (`comm`), cut to 15 bytes. prctl(2)."""
    syscall.call("prctl", f"PR_SET_NAME {name}", PR_SET_NAME, name.encode() + b"\0")


def set_title(title: str) -> None:
    """What `ps` shows as this process's command line: overwrites the memory of its arguments, and its short name.

    No longer than the arguments the program was started with (pad them when starting it: PR_SET_MM needs a capability that
    may be missing); the rest is cut. proc(5), «/proc/[pid]/cmdline».
    """
    fields = _stat_fields("self")
    start, end = int(fields[45]), int(fields[46])
    if start and end > start:
        text = title.encode()[: end - start - 1]
        syscall.write_memory(start, text.ljust(end - start, b"\0"))
    set_name(title.rsplit("/", 1)[-1])


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot: with the pid it names one process for ever.

    ProcessLookupError when there is none. proc(5), «/proc/[pid]/stat», field 22.
    """
    return int(_stat_fields(str(pid))[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process that had this pid and start time still runs (a zombie does not)."""
    try:
        fields = _stat_fields(str(pid))
    except ProcessLookupError:
        return False
    return int(fields[19]) == started and fields[0] not in ("Z", "X")


def pid_inside(pid: int) -> int:
    """The pid by which a process is known in its own pid namespace. proc_pid_status(5), «NSpid»."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return pid


def _stat_fields(pid: str) -> list[str]:
    """The fields of /proc/<pid>/stat from the third (state) on; the second may contain anything, so it is cut off."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, 4096)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError) as gone:
        raise ProcessLookupError(errno.ESRCH, "no such process", pid) from gone
    return text[text.rindex(b")") + 2 :].decode().split()


def set_limit(name: str, soft: int, hard: int, pid: int = 0) -> None:
    """Sets a limit of a process (0: this one); -1 is infinity. KeyError for an unknown name, OSError when not allowed."""
    values = b"".join([(value & _NO_LIMIT).to_bytes(8, sys.byteorder) for value in (soft, hard)])
    syscall.call("prlimit64", f"{name} soft={soft} hard={hard}", pid, LIMITS[name], values, 0)


def close_on_exec_from(first: int) -> None:
    """Marks all descriptors from `first` on as close-on-exec. close_range(2)."""
    syscall.call("close_range", f"{first}… cloexec", first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)


def close_from(first: int, last: int = 0xFFFFFFFF) -> None:
    """Closes all descriptors from `first` to `last`. close_range(2)."""
    if first <= last:
        syscall.call("close_range", f"{first}…{last}", first, last, 0)


def close_all_but(kept: Iterable[int]) -> None:
    """Closes all descriptors but these. close_range(2)."""
    first = 0
    for fd in sorted(set(kept)):
        close_from(first, fd - 1)
        first = fd + 1
    close_from(first)


def reset_signals() -> None:
    """All signals to their default action and none blocked: Python leaves SIGPIPE and SIGXFSZ ignored across exec."""
    for number in range(1, 65):
        if number in (9, 19, 32, 33):
            continue
        if _signal.getsignal(number) not in (0, None):
            _signal.signal(number, 0)
    _signal.pthread_sigmask(2, ())


def new_session_keyring(name: str) -> None:
    """A fresh session keyring, so that the keys of the caller's session are not reachable. keyctl(2)."""
    syscall.call("keyctl", f"join session keyring {name}", KEYCTL_JOIN_SESSION_KEYRING, name.encode() + b"\0")


def set_domain_name(name: str) -> None:
    """The NIS domain name of this UTS namespace. setdomainname(2)."""
    text = name.encode()
    syscall.call("setdomainname", name, text + b"\0", len(text))


def write_once(path: str, text: str) -> None:
    """Writes `text` in one write(2) to a control file such as /proc/<pid>/uid_map."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
