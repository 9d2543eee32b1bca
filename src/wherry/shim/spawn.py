"""Executes the zygote: a fresh interpreter that no container can ever write to.

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


def zygote_argv(package_parent: str) -> list[str]:
    """The command line: no site, no user's folders, padded so that a shim's title fits into its memory (proc(5), arg_start)."""
    code = (f"import sys; sys.path.insert(0, {package_parent!r}); from wherry.shim.zygote import main; "
            f"main({CONTROL_FD}, {MOUNTS_FD})")
    argv = ["wherry-zygote", "-sSc", code]
    argv[2] += " " * max(0, TITLE_BYTES - sum(len(os.fsencode(one)) + 1 for one in argv))
    return argv


def spawn_zygote(control_fd: int, stderr_fd: int = 2) -> int:
    """Executes the zygote with its end of the control socket; its pid. It is a child of the caller, who reaps it.

    Its environment is empty but for what the interpreter and the look-up of programs need. Raises OSError.
    """
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {
        "PATH": os.environ.get("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONHOME": sys.base_prefix,
        "PYTHONDONTWRITEBYTECODE": "1", **_MALLOC,
    }
    for name in ("XDG_RUNTIME_DIR", "DBUS_SYSTEM_BUS_ADDRESS", "NOTIFY_SOCKET", "LANG", "WHERRY_TRACE"):
        if name in os.environ:
            environment[name] = os.environ[name]
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    # High numbers, so that no copy to a low one overwrites what is still to be copied.
    control = fcntl.fcntl(control_fd, fcntl.F_DUPFD_CLOEXEC, 10)
    mounts_fd = namespace.open_namespace("/proc/self/ns/mnt")
    mounts = fcntl.fcntl(mounts_fd, fcntl.F_DUPFD_CLOEXEC, 10)
    program = seal(_read_only_hop(zygote_argv(package_parent), environment))
    try:
        return os.posix_spawn(
            f"/proc/self/fd/{program}",
            ["wherry-zygote"],
            {},
            setsid=True,
            setsigmask=[],
            setsigdef=[2, 3, 13, 15],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, stderr_fd, 2),
                (os.POSIX_SPAWN_DUP2, control, CONTROL_FD),
                (os.POSIX_SPAWN_DUP2, mounts, MOUNTS_FD),
            ],
        )
    finally:
        for fd in (null, control, mounts_fd, mounts, program):
            os.close(fd)


def _read_only_hop(argv: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """The program in between: new mount namespace, private, read-only, then the interpreter."""
    hop = Hop(4)

    def failed(what: str) -> int:
        return hop.put_failures([(0, 2, f"wherry-zygote: {what} failed\n".encode(), 1)])

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
