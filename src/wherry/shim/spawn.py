"""Executes the zygote: a fresh interpreter that no container can ever write to.

Every shim, and for some microseconds every container's init, is a copy of the zygote, so `/proc/<pid>/exe` of a process inside a
container may name the zygote's interpreter. It is therefore executed from a detached, read-only mount of that file alone
(open_tree(2), mount_setattr(2)): opening it for writing fails with EROFS whatever the container may do (CVE-2019-5736).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# A shim is to give memory back: by itself glibc keeps blocks of the largest size it has ever freed (mallopt(3)).
_MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
TITLE_BYTES: Final = 128  # `wherry-shim ` and an id of 64 digits, with room
CONTROL_FD: Final = 3


def interpreter() -> str:
    """The program file of the running interpreter, outside any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable or "/proc/self/exe")


def zygote_argv(package_parent: str) -> list[str]:
    """The command line: no site, no user's folders, padded so that a shim's title fits into its memory (proc(5), arg_start)."""
    code = f"import sys; sys.path.insert(0, {package_parent!r}); from wherry.shim.zygote import main; main({CONTROL_FD})"
    argv = ["wherry-zygote", "-sSc", code]
    argv[2] += " " * max(0, TITLE_BYTES - sum(len(os.fsencode(one)) + 1 for one in argv))
    return argv


def spawn_zygote(control_fd: int, stderr_fd: int = 2) -> int:
    """Executes the zygote with its end of the control socket; its pid. It is a child of the caller, who reaps it.

    Its environment is empty but for what the interpreter and the look-up of programs need. Raises OSError.
    """
    from wherry.linux import mount

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
    program = mount.open_tree(interpreter(), recursive=False)
    try:
        mount.mount_setattr(program, mount.MOUNT_ATTR_RDONLY)
        return os.posix_spawn(
            f"/proc/self/fd/{program}",
            zygote_argv(package_parent),
            environment,
            setsid=True,
            setsigmask=[],
            setsigdef=[2, 3, 13, 15],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, stderr_fd, 2),
                (os.POSIX_SPAWN_DUP2, control_fd, CONTROL_FD),
            ],
        )
    finally:
        os.close(program)
        os.close(null)
