"""procfs of a pid namespace that this process is not in: for a container that joins another one's.

Who is born into that namespace can be looked into by a container there that has CAP_SYS_PTRACE, so its tree is made before
(see `init`), and the tree needs the procfs of the namespace. Linux 6.17 makes it from a descriptor (proc(5), «pidns»). Before,
it was always that of whoever called fsopen(2); then this is done inside by a process that has nothing: it is a last hop, not an
interpreter, its root is the container's, and of all capabilities it has the one that fsopen(2) asks for.

    this process             helper (a last hop)                    inside the pid namespace
      clone3 ──────────────▶ chroot, setns; clone, files shared ───▶ fsopen, exit
      ◀── one byte ───────── (its first descriptor is the result)
      pidfd_getfd
"""

from __future__ import annotations

import errno
import os

from wherry.linux import capability, mount, namespace, process, unixsocket
from wherry.runtime.lasthop import Hop, execute_hop, seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_CLONE_FILES = 0x400
_SYS_ADMIN = 1 << capability.NAMES.index("CAP_SYS_ADMIN")


def mount_proc(
    pid_namespace: int, root_fd: int, options: tuple[tuple[str, str | None], ...] = (), attributes: int = 0
) -> int:
    """A detached procfs of the pid namespace. OSError: EINVAL for one that is not below the caller's, EPERM without the right."""
    try:
        return mount.filesystem("proc", (*options, ("pidns", pid_namespace)), attributes)
    except OSError as error:
        if error.errno != errno.EINVAL:  # the kernel does not know the option
            raise
    return mount.configured(open_inside(pid_namespace, root_fd), options, attributes)


def open_inside(pid_namespace: int, root_fd: int) -> int:
    """fsopen("proc") by a process of the pid namespace. OSError when it cannot be."""
    ours, theirs = unixsocket.pair()
    helper, helper_fd = namespace.clone3(0)
    if helper == 0:
        try:
            _help(pid_namespace, root_fd, theirs.fileno())
        finally:
            os._exit(1)
    theirs.close()
    try:
        if not ours.recv(1):
            raise OSError(errno.EPERM, "cannot make the procfs of another pid namespace", "proc")
        return process.pidfd_getfd(helper_fd, 0)
    finally:
        ours.close()
        process.reap(helper_fd)
        os.close(helper_fd)


def _help(pid_namespace: int, root_fd: int, channel_fd: int) -> NoReturn:
    os.fchdir(root_fd)
    os.chroot(".")
    namespace.setns(pid_namespace, namespace.CLONE_NEWPID)
    channel_fd = os.dup2(channel_fd, max(channel_fd, 3))  # 0 is for the result
    process.close_all_but((channel_fd,))
    capability.limit_bounding(_SYS_ADMIN)  # the exec leaves no more than that
    hop = Hop(7)
    ended = hop.put_failures([(0, channel_fd, b"", 1)])
    byte = hop.put(b"p")
    hop.step("clone", _CLONE_FILES | namespace.SIGCHLD, 0, 0, 0, 0, positive=hop.address_of_step(3), failures=ended)
    hop.step("fsopen", hop.put(b"proc\0"), mount.FSOPEN_CLOEXEC)
    hop.step("exit_group", 0)
    hop.step("wait4", -1, 0, 0, 0)
    hop.step("write", channel_fd, byte, 1)
    hop.step("read", channel_fd, byte, 1)  # until it was taken
    hop.step("exit_group", 0)
    image = seal(hop.image())
    os.set_inheritable(channel_fd, True)
    execute_hop(image, ("wherry-runc", "proc"), {})
