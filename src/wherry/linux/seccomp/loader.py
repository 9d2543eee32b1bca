"""Puts a compiled filter on the calling thread: seccomp(2)."""

from __future__ import annotations

import errno
import struct

from wherry.linux import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.linux.seccomp import Program

SECCOMP_SET_MODE_FILTER = 1
_TSYNC, _NEW_LISTENER, _TSYNC_ESRCH = 1, 8, 16


def load(program: Program) -> int | None:
    """Filters this thread's system calls from now on, and those of its children; there is no way back.

    Needs CAP_SYS_ADMIN or no-new-privileges (prctl(2)). Returns the listener's descriptor (close-on-exec, the caller's)
    when the profile notifies, else None. Raises OSError: EACCES without the right, EINVAL for a filter or flag that the kernel
    does not take, EBUSY when there is a listener already.
    """
    flags = program.flags
    if program.notifies:
        flags |= _NEW_LISTENER | (_TSYNC_ESRCH if flags & _TSYNC else 0)
    instructions = syscall.Buffer(len(program.filter), program.filter)
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    header = struct.pack("@HP", len(program.filter) // 8, instructions.address)
    try:
        result = syscall.call("seccomp", "SECCOMP_SET_MODE_FILTER", SECCOMP_SET_MODE_FILTER, flags, header)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        raise OSError(errno.EACCES, "needs CAP_SYS_ADMIN or no-new-privileges", "seccomp SECCOMP_SET_MODE_FILTER") from error
    if program.notifies:
        return result
    if result:
        raise OSError(errno.ESRCH, f"thread {result} has a different filter", "seccomp SECCOMP_FILTER_FLAG_TSYNC")
    return None
