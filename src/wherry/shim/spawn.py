"""Executes the zygote, and the shims of containerd: fresh interpreters that no container can ever write to.

Every shim, and for some microseconds every process on its way into a container, is a copy of the zygote: `/proc/<pid>/exe` and
`/proc/<pid>/map_files` there name the zygote's interpreter and its libraries (CVE-2019-5736). They are therefore opened through
mounts that are read-only: opening them for writing fails with EROFS, whatever the container may do. The chain:

    wherryd ──▶ a tiny program in sealed memory (`runtime/lasthop`): a new mount namespace,
                with every mount private and read-only
            ──▶ the interpreter, which maps its libraries from there, imports all that it needs (zygote.py),
                and goes back to wherryd's mount namespace by a descriptor; what is mapped stays on the read-only mounts
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys

from wherry.linux import mount, namespace
from wherry.runtime.lasthop import Hop, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

# A shim is to give memory back: by itself glibc keeps blocks of the largest size it has ever freed (mallopt(3)).
_MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
TITLE_BYTES: Final = 128  # `wherry-shim ` and an id of 64 digits, with room
CONTROL_FD: Final = 3
MOUNTS_FD: Final = 4  # the mount namespace to go back to


def interpreter() -> str:
    """The program file of the running interpreter, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable or "/proc/self/exe")


def zygote_code() -> str:
    """What the zygote's interpreter runs."""
    return f"from wherry.shim.zygote import main; main({CONTROL_FD}, {MOUNTS_FD})"


def interpreter_argv(name: str, code: str) -> list[str]:
    """The command line: no site, no user's folders, padded so that a shim's title fits into its memory (proc(5), arg_start)."""
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    argv = [name, "-sSc", f"import sys; sys.path.insert(0, {package_parent!r}); {code}"]
    argv[2] += " " * max(0, TITLE_BYTES - sum(len(os.fsencode(one)) + 1 for one in argv))
    return argv


def spawn_zygote(control_fd: int, stderr_fd: int = 2) -> int:
    """Executes the zygote with its end of the control socket; its pid. It is a child of the caller, who reaps it.

    Its environment is empty but for what the interpreter and the look-up of programs need. Raises OSError.
    """
    environment = {"PATH": os.environ.get("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin"}
    for name in ("XDG_RUNTIME_DIR", "DBUS_SYSTEM_BUS_ADDRESS", "NOTIFY_SOCKET", "LANG", "WHERRY_TRACE"):
        if name in os.environ:
            environment[name] = os.environ[name]
    return spawn_interpreter("wherry-zygote", zygote_code(), control_fd, stderr_fd, environment)


def spawn_interpreter(name: str, code: str, served_fd: int, stderr_fd: int, environment: Mapping[str, str]) -> int:
    """Executes an interpreter from read-only mounts; its pid, a child of the caller and leader of a session of its own.

    `code` finds `served_fd` as CONTROL_FD and the caller's mount namespace as MOUNTS_FD; stdin and stdout are /dev/null. Raises
    OSError.
    """
    environment = {**environment, "PYTHONHOME": sys.base_prefix, "PYTHONDONTWRITEBYTECODE": "1", **_MALLOC}
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    # High numbers, so that no copy to a low one overwrites what is still to be copied.
    served = fcntl.fcntl(served_fd, fcntl.F_DUPFD_CLOEXEC, 10)
    stderr = fcntl.fcntl(stderr_fd, fcntl.F_DUPFD_CLOEXEC, 10)
    mounts_fd = namespace.open_namespace("/proc/self/ns/mnt")
    mounts = fcntl.fcntl(mounts_fd, fcntl.F_DUPFD_CLOEXEC, 10)
    program = seal(_read_only_hop(interpreter_argv(name, code), environment))
    try:
        return os.posix_spawn(
            f"/proc/self/fd/{program}",
            [name],
            {},
            setsid=True,
            setsigmask=[],
            setsigdef=[2, 3, 13, 15],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
                (os.POSIX_SPAWN_DUP2, served, CONTROL_FD),
                (os.POSIX_SPAWN_DUP2, mounts, MOUNTS_FD),
            ],
        )
    finally:
        for fd in (null, served, stderr, mounts_fd, mounts, program):
            os.close(fd)


def _read_only_hop(argv: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """The program in between: new mount namespace, private, read-only, then the interpreter."""
    hop = Hop(4)

    def failed(what: str) -> int:
        return hop.put_failures([(0, 2, f"{argv[0]}: {what} failed\n".encode(), 1)])

    root = hop.put(b"/\0")
    attributes = struct.pack("4Q", mount.MOUNT_ATTR_RDONLY, 0, 0, 0)
    hop.step("unshare", namespace.CLONE_NEWNS, failures=failed("a mount namespace"))
    hop.step("mount", 0, root, 0, mount.MS_REC | mount.MS_PRIVATE, 0, failures=failed("making mounts private"))
    hop.step("mount_setattr", mount.AT_FDCWD, root, mount.AT_RECURSIVE, hop.put(attributes), len(attributes),
             failures=failed("making the interpreter's files read-only"))
    arguments = hop.put_strings([os.fsencode(text) for text in argv])
    variables = hop.put_strings([os.fsencode(f"{name}={value}") for name, value in environment.items()])
    program = interpreter()
    hop.step("execve", hop.put(os.fsencode(program) + b"\0"), arguments, variables, failures=failed(f"executing {program}"))
    return hop.image()
