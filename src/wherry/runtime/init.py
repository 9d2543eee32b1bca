"""The life of a container's init, from clone3 to exec: what the plan says, in the order that the kernel allows.

It runs in the child of `create`, in new namespaces, and never returns. Each step's place has a reason:

 1. loopback and the netlink socket first: the creator attaches the network while the mounts are made;
 2. /proc of the host serves for sysctls, and for the label to execute with, as long as it is there: the container's own
    could be prepared by an image;
 3. cgroup mounts last, after the creator's JOINED; the cgroup namespace begins where the init is at that moment;
 4. a pid namespace of another container is entered last of all, by the fork of a last hop that has become what is to run: a
    process can be looked into from the moment when it is born there;
 5. the rest is `become`'s.
"""

from __future__ import annotations

import _socket
import os

from wherry import trace
from wherry.errors import WherryError, describe
from wherry.linux import namespace, path, process
from wherry.runtime import channel, credentials, rootfs
from wherry.runtime.become import (
    become,
    execute_plan,
    forbid_imports,
    join_keyring,
    open_label,
    preload,
    take_stdio,
    take_terminal,
)
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from wherry.oci.runtime import State
    from wherry.runtime.plan import InitPlan
    from wherry.runtime.program import ProgramPlan

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


def preload_init(plan: InitPlan) -> None:
    """The same for an init."""
    preload(
        plan.program, hooks=any(plan.hooks.as_dict().values()), cold=plan.fifo_fd >= 0, user_namespace=plan.in_user_namespace,
        copies=any(step.copy_up for step in plan.rootfs.mounts), foreign_proc=plan.pid_namespace >= 0,
        no_pivot=plan.rootfs.no_pivot)


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
    if plan.program.credentials.groups is not None:
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


def offer_network(connection: _socket.socket) -> None:
    """Brings the loopback up, and gives the creator a netlink socket of the new network namespace."""
    link = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    namespace.bring_up_loopback(link.fileno())
    channel.tell(connection, channel.NETWORK, (link.fileno(),))
    link.close()


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


def _set_names(plan: InitPlan) -> None:
    if plan.hostname:
        _socket.sethostname(plan.hostname)
    if plan.domainname:
        process.set_domain_name(plan.domainname)
