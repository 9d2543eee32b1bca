"""The life of a container's init, from clone3 to exec: what the plan says, in the order that the kernel allows.

It runs in the child of `create`, in new namespaces, and never returns. Each step's place has a reason:

 1. loopback and the netlink socket first: the creator attaches the network while the mounts are made;
 2. /proc of the host serves for sysctls, and for the label to execute with, as long as it is there: the container's own
    could be prepared by an image;
 3. cgroup mounts last, after the creator's JOINED; the cgroup namespace begins where the init is at that moment;
 4. a pid namespace of another container is entered last of all, by the fork of a last hop that has become what is to run: a
    process can be looked into from the moment when it is born there;
 5. no-new-privileges and limits, then seccomp if it needs CAP_SYS_ADMIN, then ids and capabilities, then the program is looked
    up as the user who will run it; with no-new-privileges the filter comes last, so that it need not allow all this.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import stat
import sys

from wherry import trace
from wherry.errors import WherryError, describe
from wherry.linux import namespace, path, process
from wherry.runtime import channel, credentials, lookup, rootfs
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from wherry.linux.seccomp import Program
    from wherry.oci.runtime import State
    from wherry.runtime.plan import InitPlan, ProgramPlan

_START = "unable to start container process: "


def run_init(plan: InitPlan, connection: _socket.socket, state: State) -> NoReturn:
    """Becomes the container's program; failures are told to the creator. Never returns."""
    _run(lambda: _live(plan, connection, state), connection)


def _run(life: Callable[[], None], connection: _socket.socket) -> NoReturn:
    try:
        life()
    except StartFailed as failed:
        channel.tell_failure(connection, failed.exit_code, failed.message)
    except WherryError as error:
        channel.tell_failure(connection, 1, f"{_START}error during container init: {error.message}")
    except OSError as error:
        channel.tell_failure(connection, 1, f"{_START}error during container init: {describe(error)}")
    except BaseException as defect:  # noqa: BLE001 (a process boundary: the creator has to hear of it)
        channel.tell_failure(connection, 1, f"{_START}error during container init: {type(defect).__name__}: {defect}")
    finally:
        os._exit(1)


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


def preload_init(plan: InitPlan) -> None:
    """The same for an init."""
    preload(
        plan.program, hooks=any(plan.hooks.as_dict().values()), cold=plan.fifo_fd >= 0, user_namespace=plan.in_user_namespace,
        copies=any(step.copy_up for step in plan.rootfs.mounts), foreign_proc=plan.pid_namespace >= 0,
        no_pivot=plan.rootfs.no_pivot)


def forbid_imports() -> None:
    """From here on an import fails, instead of finding something in a container."""
    sys.meta_path.clear()
    sys.path.clear()


def _live(plan: InitPlan, connection: _socket.socket, state: State) -> None:
    forbid_imports()
    if plan.in_user_namespace:
        _arrive(plan, connection)
    process.set_dumpable(False)
    for kind, fd in plan.joins:
        namespace.setns(fd, kind)
    if plan.new & namespace.CLONE_NEWNET:
        offer_network(connection)
    os.setsid()
    os.umask(0)
    if plan.keyring:
        join_keyring(plan.keyring)
    for name, value in plan.sysctls:
        set_sysctl(name, value)
    label = open_label(plan.program)
    joined = _Joined(plan, connection)
    trace.step("init", "child process in init() builds the tree")
    root_fd = rootfs.build(plan.rootfs, joined.wait)
    trace.step("init", "the tree stands")
    make_cwd(root_fd, plan.program)
    joined.wait()
    _run_creation_hooks(plan, connection, state)
    master = _take_streams(root_fd, plan)
    move_in(plan, root_fd)
    os.close(root_fd)
    _become_and_wait(plan, connection, state, master, label)


def run_in_slot(plan: InitPlan, connection: _socket.socket, state: State, root_fd: int) -> NoReturn:
    """As `run_init`, in a slot (see `slot`): the root of this process is the tree, where the mounts of `plan` are missing yet."""
    _run(lambda: _live_in_slot(plan, connection, state, root_fd), connection)


def _live_in_slot(plan: InitPlan, connection: _socket.socket, state: State, root_fd: int) -> None:
    os.setsid()
    _Joined(plan, connection).wait()
    rootfs.furnish(root_fd, plan.rootfs)
    rootfs.hide(root_fd, plan.rootfs)
    master = _take_streams(root_fd, plan)
    os.close(root_fd)
    _become_and_wait(plan, connection, state, master)


def make_cwd(root_fd: int, plan: ProgramPlan) -> None:
    """The working directory, where the image has none."""
    try:
        os.close(path.make_folders(root_fd, plan.cwd))
    except OSError:
        pass  # entering it will say why


def move_in(plan: InitPlan, root_fd: int) -> None:
    """Makes the finished tree the root of this process, and gives the names."""
    rootfs.seal(root_fd, plan.rootfs)
    rootfs.enter(root_fd, plan.rootfs)
    _set_names(plan)


def _take_streams(root_fd: int, plan: InitPlan) -> int:
    """The program's terminal or its three streams; the terminal's master, or -1."""
    if plan.program.terminal:
        return _open_terminal(root_fd, plan)
    take_stdio(plan.program.stdio)
    return -1


def _become_and_wait(plan: InitPlan, connection: _socket.socket, state: State, master: int, label: int = -1) -> None:
    """From the new root to exec."""
    if plan.pid_namespace >= 0:
        namespace.setns(plan.pid_namespace, namespace.CLONE_NEWPID)  # for the children of this process; not for the hooks before
    trace.step("init", "is in its root; becomes the container's user")
    executable, environment = become(plan.program, connection, label)
    trace.step("init", f"will execute {executable}")
    channel.tell(connection, channel.READY, (master,) if master >= 0 else ())
    if master >= 0:
        os.close(master)
    channel.expect(connection, channel.START, "the creator is gone")
    if plan.fifo_fd >= 0:
        from wherry.runtime import hop

        if plan.pid_namespace >= 0:
            hop.fork_and_execute(plan.program, executable, environment, connection.fileno(), plan.fifo_fd)
        hop.wait_and_execute(plan.program, executable, environment, plan.fifo_fd)
    if plan.hooks.start_container:
        from wherry.runtime.hooks import host_launcher, run_hooks

        # This process is the container's user by now, and so are its children.
        run_hooks("startContainer", plan.hooks.start_container, state.replace(pid=os.getpid()), host_launcher(environment, ""))
    execute_plan(plan.program, executable, environment)


def _arrive(plan: InitPlan, connection: _socket.socket) -> None:
    """In a user namespace: waits for the maps of a new one, becomes its root, makes the namespaces that are to belong to it."""
    from wherry.runtime.usernamespace import become_root

    if plan.new & namespace.CLONE_NEWUSER:
        channel.expect(connection, channel.MAPPED, "the creator is gone")
    credentials.set_groups(())
    become_root(plan.program.credentials.uid, plan.program.credentials.gid)
    namespace.unshare(plan.new & ~plan.new_at_birth())


class _Joined:
    """The creator's word that this process is in its cgroups, asked for once; then the cgroup namespace begins here."""

    def __init__(self, plan: InitPlan, connection: _socket.socket) -> None:
        self._plan, self._connection, self._done = plan, connection, False

    def wait(self) -> None:
        if not self._done:
            channel.expect(self._connection, channel.JOINED, "the creator is gone")
            self._done = True
            if self._plan.cgroup_namespace:
                namespace.unshare(namespace.CLONE_NEWCGROUP)


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


def filter_is_late(plan: ProgramPlan) -> bool:
    """Whether the filter is loaded just before exec. One that notifies has to be known to its agent before that."""
    return plan.seccomp is not None and plan.credentials.no_new_privileges and not plan.seccomp.notifies


def _load_filter(program: Program, connection: _socket.socket) -> None:
    if program.notifies:
        from wherry.runtime.listener import load_and_wait

        load_and_wait(program, connection)
        return
    from wherry.linux.seccomp.loader import load

    load(program)


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


def offer_network(connection: _socket.socket) -> None:
    """Brings the loopback up, and gives the creator a netlink socket of the new network namespace."""
    link = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    namespace.bring_up_loopback(link.fileno())
    channel.tell(connection, channel.NETWORK, (link.fileno(),))
    link.close()


def join_keyring(name: str) -> None:
    """Leaves the session keyring of whoever started us for a fresh one."""
    try:
        process.new_session_keyring(name)
    except OSError as error:
        if error.errno != errno.ENOSYS:  # a kernel without keys, or a filter around us: nothing to keep apart
            raise OSError(error.errno, f"unable to join session keyring: {error.strerror}") from error


def set_sysctl(name: str, value: str) -> None:
    """Writes one. OSError as runc words it."""
    try:
        process.write_once("/proc/sys/" + (name if "/" in name else name.replace(".", "/")), value)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise OSError(error.errno, f'error setting sysctl "{name}" to "{value}": {reason}') from error


def _run_creation_hooks(plan: InitPlan, connection: _socket.socket, state: State) -> None:
    hooks = plan.hooks
    if hooks.prestart or hooks.create_runtime:
        channel.tell(connection, channel.MOUNTED)
        channel.expect(connection, channel.HOOKS_RAN, "the creator is gone")
    if hooks.create_container:
        from wherry.runtime.hooks import run_hooks

        run_hooks("createContainer", hooks.create_container, state.replace(pid=os.getpid()))


def _open_terminal(root_fd: int, plan: InitPlan) -> int:
    """Opens a terminal of the container's own devpts, makes it /dev/console and the init's session's; returns the master."""
    from wherry.linux import mount, pty

    try:
        master = path.open_in_root(root_fd, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    except FileNotFoundError:
        master = path.open_in_root(root_fd, "/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    slave, _ = pty.open_slave(master)
    try:
        # No link of the image leads the terminal over a file of /proc: CVE-2025-52565.
        console = path.openat2(root_fd, "dev/console", os.O_PATH, resolve=path.RESOLVE_IN_ROOT | path.RESOLVE_NO_SYMLINKS)
    except FileNotFoundError:
        console = path.make_file(root_fd, "/dev/console", 0o620)
    tree = mount.open_tree("", slave, recursive=False)
    mount.move_mount(tree, console)
    os.close(tree)
    os.close(console)
    take_terminal(slave, plan.program.console_size, leads_session=plan.pid_namespace < 0)
    return master


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


def _set_names(plan: InitPlan) -> None:
    if plan.hostname:
        _socket.sethostname(plan.hostname)
    if plan.domainname:
        process.set_domain_name(plan.domainname)


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

