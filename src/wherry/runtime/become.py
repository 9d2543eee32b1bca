"""From a container's namespaces to exec: what an init and a further process have in common.

The order of `become` is the kernel's: no-new-privileges and limits, then seccomp if it needs CAP_SYS_ADMIN, then ids and
capabilities, then the program is looked up as the user who will run it; with no-new-privileges the filter comes last, so that it
need not allow all this. Next door, `init` and `execute` bring a process here, `credentials` and `lookup` have the details.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys

from wherry.linux import process
from wherry.runtime import credentials, lookup
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping
    from typing import NoReturn

    from wherry.linux.seccomp import Program
    from wherry.runtime.program import ProgramPlan

_START = "unable to start container process: "


def preload(plan: ProgramPlan, hooks: bool = False, cold: bool = False, copies: bool = False,
            foreign_proc: bool = False, user_namespace: bool = False, no_pivot: bool = False) -> None:
    """Imports what a process will need in a container: there nothing is imported, its files are not our code."""
    if plan.terminal:
        from wherry.linux import pty  # noqa: F401
    if cold:
        from wherry.runtime import hop  # noqa: F401
    if plan.seccomp is not None:
        from wherry.linux.seccomp import loader  # noqa: F401

        if plan.seccomp.notifies:
            from wherry.runtime import listener  # noqa: F401
    if copies:
        from wherry.runtime import copyup  # noqa: F401
    if user_namespace:
        from wherry.runtime import usernamespace  # noqa: F401
    if no_pivot:
        from wherry.runtime import nopivot  # noqa: F401
    if foreign_proc:
        from wherry.runtime import foreignproc  # noqa: F401
    if hooks:
        from wherry.runtime import hooks as _  # noqa: F401


def forbid_imports() -> None:
    """From here on an import fails, instead of finding something in a container."""
    sys.meta_path.clear()
    sys.path.clear()


def join_keyring(name: str) -> None:
    """Leaves the session keyring of whoever started us for a fresh one."""
    try:
        process.new_session_keyring(name)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # a kernel without keys, or a filter around us: nothing to keep apart
            raise OSError(error.errno, f"unable to join session keyring: {error.strerror}") from error


def open_label(plan: ProgramPlan) -> int:
    """The file through which a security module learns the label to execute with; -1: there is none to set."""
    if plan.apparmor_profile and plan.apparmor_profile != "unconfined":
        if not os.path.exists("/sys/module/apparmor/parameters/enabled"):
            raise StartFailed(_START + "apparmor: config provided but apparmor not supported")
        for name in ("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"):
            try:
                return os.open(name, os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
    if plan.selinux_label and os.path.exists("/sys/fs/selinux/enforce"):
        return os.open("/proc/self/attr/exec", os.O_WRONLY | os.O_CLOEXEC)
    return -1


def write_label(plan: ProgramPlan, fd: int) -> None:
    """Writes what `open_label` opened (nothing for -1), and closes it."""
    if fd < 0:
        return
    text = f"exec {plan.apparmor_profile}" if plan.apparmor_profile else plan.selinux_label
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"unable to apply security label {text!r}: {(error.strerror or '').lower()}") from error
    os.close(fd)


def take_stdio(stdio: tuple[int, int, int] | None) -> None:
    """Puts the three descriptors at 0, 1 and 2, inherited by the program."""
    if stdio is None:
        return
    if stdio == (0, 1, 2):
        return
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
    for number, fd in enumerate(kept):
        os.dup2(fd, number)
        os.close(fd)


def take_terminal(slave: int, size: tuple[int, int] | None, leads_session: bool = True) -> None:
    """Makes a terminal the three standard descriptors, and this session's controlling one; closes `slave`.

    Who does not lead the session leaves the latter to who will (the last hop).
    """
    from wherry.linux import pty

    if size is not None and size != (0, 0):
        pty.resize(slave, *size)
    if leads_session:
        pty.make_controlling(slave)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.close(slave)


def become(plan: ProgramPlan, connection: _socket.socket, label: int = -1) -> tuple[str, dict[str, str]]:
    """Everything between the new root and exec but the late filter. Returns (path to execute, environment).

    StartFailed when there is no such program; OSError when the kernel refuses an id, a limit or a capability.
    """
    process.close_on_exec_from(3 + plan.preserve_fds)
    write_label(plan, label)
    if plan.credentials.no_new_privileges:
        process.set_no_new_privileges()
    credentials.apply_limits(plan.credentials)
    if plan.scheduling is not None:
        from wherry.runtime.scheduling import apply

        apply(plan.scheduling)
    _give_stdio(plan.credentials.uid)
    if plan.seccomp is not None and not plan.credentials.no_new_privileges:
        _load_filter(plan.seccomp, connection)
    credentials.apply_identity(plan.credentials, plan.cwd)
    os.umask(plan.credentials.umask)
    environment = lookup.merge_environment(plan.env)
    if not environment.get("HOME"):
        environment["HOME"] = lookup.home_of(plan.credentials.uid)
    executable = lookup.find_program(plan.program or plan.args[0], environment)
    if plan.seccomp is not None and plan.credentials.no_new_privileges and plan.seccomp.notifies:
        _load_filter(plan.seccomp, connection)
    return executable, environment


def _give_stdio(uid: int) -> None:
    """Makes the user the owner of its own pipes, sockets and terminal; never of a device or file of the host."""
    if uid == 0:
        return
    for fd in (0, 1, 2):
        try:
            found = os.fstat(fd)
        except OSError:
            continue
        kind = stat.S_IFMT(found.st_mode)
        terminal = kind == stat.S_IFCHR and 136 <= os.major(found.st_rdev) <= 143  # the majors of /dev/pts
        if kind in (stat.S_IFIFO, stat.S_IFSOCK) or terminal:
            try:
                os.fchown(fd, uid, -1)
            except OSError:
                pass  # not mapped, or a read-only filesystem: it stays as it is, as with runc


def _load_filter(program: Program, connection: _socket.socket) -> None:
    if program.notifies:
        from wherry.runtime.listener import load_and_wait

        load_and_wait(program, connection)
        return
    from wherry.linux.seccomp.loader import load

    load(program)


def filter_is_late(plan: ProgramPlan) -> bool:
    """Whether the filter is loaded just before exec. One that notifies has to be known to its agent before that."""
    return plan.seccomp is not None and plan.credentials.no_new_privileges and not plan.seccomp.notifies


def execute_plan(plan: ProgramPlan, executable: str, environment: Mapping[str, str]) -> NoReturn:
    """The last steps: signals as a new program expects them, the late filter, exec.

    What execve(2) itself refuses (a script without its interpreter, a program for another machine) is the program's own failure,
    as with runc: told on its standard error, exit status 1.
    """
    process.reset_signals()
    arguments = list(plan.args)
    if plan.seccomp is not None and filter_is_late(plan):
        from wherry.linux.seccomp.loader import load

        load(plan.seccomp)
    try:
        os.execve(executable, arguments, environment)
    except OSError as error:
        os.write(2, lookup.exec_failed(executable, error.errno or 0))
        os._exit(1)
