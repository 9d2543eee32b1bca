"""Runs a further process in a container.

A process in between enters the container's namespaces (all at once, by the init's pidfd), since entering a pid namespace
counts for children only; its child is made with CLONE_PARENT, so that the caller is the parent and reaps it. What the child
holds can be reached through its /proc/<pid>/fd by a container with CAP_SYS_PTRACE before exec closes it (CVE-2016-9962), so
the one in between lets go of everything of ours, and is in the container's cgroups from its birth (v2) or moved there (v1).

    caller                              in between                         the process
      clone3 ───────────────────────────▶
      in its cgroups (v1), then GO ─────▶ setns; clone3 ───────────────────▶ ids, capabilities, look-up
      ◀──────────── PID + pidfd ────────── exit
      ◀───────────────────────────────────── READY + terminal's master (where there is one)
      ◀──────────────────────────────────────────── end of stream: exec has happened; or FAILED
"""

from __future__ import annotations

import errno
import os

from wherry import trace
from wherry.errors import Conflict, WherryError, describe
from wherry.linux import cgroup, namespace, path, process, unixsocket
from wherry.runtime import channel, state
from wherry.runtime.become import (
    become,
    execute_plan,
    forbid_imports,
    join_keyring,
    open_label,
    preload,
    take_stdio,
    take_terminal,
    write_label,
)
from wherry.runtime.container import ExecRequest, Process, StartFailed
from wherry.runtime.credentials import plan_credentials
from wherry.runtime.program import ProgramPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from wherry.linux.cgroup import Manager
    from wherry.linux.seccomp import Program
    from wherry.oci.runtime import Process as Given
    from wherry.runtime.container import Container
    from wherry.runtime.listener import Handover
    from wherry.runtime.scheduling import Scheduling
    from wherry.runtime.state import Saved

    Affinity = tuple[frozenset[int], frozenset[int]]

PAUSED = "cannot exec in a paused container (use --ignore-paused to override)"
_START = "unable to start container process: "
_ANYWHERE: Affinity = (frozenset(), frozenset())


def execute(container: Container, request: ExecRequest) -> Process:
    """See `container.execute`."""
    saved = container.saved
    _check_can_execute(container, request)
    plan = plan_exec(container, request)
    preload(plan, cold=request.mode == "cold", user_namespace="user" in saved.namespaces)
    group = exec_cgroup(saved, request)
    init_fd = _open_init(saved)
    try:
        return _run(container, request, plan, init_fd, group)
    finally:
        os.close(init_fd)


def _check_can_execute(container: Container, request: ExecRequest) -> None:
    """Conflict when the container has stopped, or is paused and that was not to be ignored."""
    now = state.status(container.root, container.saved)
    if now == "stopped":
        raise Conflict("cannot exec in a stopped container")
    if now == "paused" and not request.ignore_paused:
        raise Conflict(PAUSED)


def exec_cgroup(saved: Saved, request: ExecRequest) -> Manager:
    """The cgroup of a further process: the container's, or folders below it, which have to be there."""
    group = cgroup.manager(saved.cgroup_path, saved.cgroup_driver)
    if not request.cgroups:
        return group
    folders = group.paths()
    for name, place in request.cgroups:
        if ".." in place.split("/"):
            reason = f"bad sub cgroup path: {place} is not a sub cgroup path"  # runc 1.2 has the first words, 1.1 the others
            raise Conflict(f"unable to create new parent process: {reason}")
        chosen = list(folders) if not name else [name]
        if not set(chosen) <= set(folders):
            raise Conflict(f"unable to create new parent process: unknown controller {name} in SubCgroupPaths")
        for one in chosen:
            folders[one] = f"{folders[one]}/{place.strip('/')}".rstrip("/")
    return group.at(folders)


def plan_exec(container: Container, request: ExecRequest) -> ProgramPlan:
    """What is executed: what the process does not say is as with the init (capabilities, limits, OOM score)."""
    saved, given, own = container.saved, request.process, container.saved.own_process()
    if not given.args:
        raise StartFailed(f"{_START}process args cannot be empty")
    credentials = plan_credentials(given.replace(
        capabilities=own.capabilities if given.capabilities is None else given.capabilities, rlimits=given.rlimits or own.rlimits,
        oom_score_adj=own.oom_score_adj if given.oom_score_adj is None else given.oom_score_adj))
    return ProgramPlan(
        args=given.args, env=given.env, cwd=given.cwd or "/", credentials=credentials,
        terminal=request.console or given.terminal, console_size=given.console_size, stdio=request.stdio,
        preserve_fds=request.preserve_fds, apparmor_profile=given.apparmor_profile or own.apparmor_profile,
        selinux_label=given.selinux_label or own.selinux_label, seccomp=_load_filter(container),
        scheduling=_plan_scheduling(given, saved.personality), program=request.program)


def _plan_scheduling(given: Given, personality: int | None) -> Scheduling | None:
    if given.scheduler is None and given.io_priority is None and personality is None:
        return None
    from wherry.runtime import scheduling

    return scheduling.plan(given, personality)


def plan_affinity(saved: Saved, given: Given) -> tuple[frozenset[int], frozenset[int]]:
    """The processors before and after the process is in its cgroups; an empty set: as they are."""
    wanted = given.exec_affinity
    if wanted is None and "execCPUAffinity" in saved.process:
        wanted = saved.own_process().exec_affinity
    if wanted is None:
        return frozenset(), frozenset()
    from wherry.runtime.scheduling import parse_list

    return parse_list(wanted.initial), parse_list(wanted.final)


def _set_affinity(processors: frozenset[int]) -> None:
    if not processors:
        return
    try:
        os.sched_setaffinity(0, processors)
    except OSError as error:
        raise OSError(error.errno, f"error setting CPU affinity: {(error.strerror or '').lower()}") from error


def _load_filter(container: Container) -> Program | None:
    if not container.saved.seccomp:
        return None
    return state.load_filter(container.root, container.id)


def _open_init(saved: Saved) -> int:
    """A pidfd of exactly this init: the start time is compared after it was opened."""
    try:
        init_fd = process.pidfd_open(saved.pid)
    except ProcessLookupError:
        raise Conflict("cannot exec in a stopped container") from None
    if not process.is_alive(saved.pid, saved.start_time):
        os.close(init_fd)
        raise Conflict("cannot exec in a stopped container")
    return init_fd


def _run(container: Container, request: ExecRequest, plan: ProgramPlan, init_fd: int, group: Manager) -> Process:
    saved = container.saved
    initial, final = plan_affinity(saved, request.process)
    handover = _dial_agent(container, plan)
    connection, other = unixsocket.pair()
    try:
        try:
            trace.step("nsexec container setup", f"a further process of {saved.id}")
            stage, stage_fd, inside = _clone_into(group)
            if stage == 0:
                connection.close()
                if request.mode == "cold":
                    guard(lambda: _enter_cold(saved, plan, init_fd, other, (initial, final)), other)
                enter_and_run(saved, plan, init_fd, other, (initial, final))
        finally:
            other.close()
        try:
            if not inside:
                _join(group, stage, 0 if request.cgroups else saved.pid)
            trace.step("setns_init: about to exec", plan.args[0])  # runc's words, as in `create`
            channel.tell(connection, channel.GO)
            loader = (stage, stage_fd) if request.mode == "cold" else None
            return await_exec(connection, request.pid_file, plan.terminal, handover, loader)
        except OSError as error:
            raise StartFailed(f"{_START}{describe(error)}") from error
        finally:
            connection.close()
            process.reap(stage_fd)
            os.close(stage_fd)
    finally:
        connection.close()
        if handover is not None:
            handover.close()


def _dial_agent(container: Container, plan: ProgramPlan) -> Handover | None:
    """The way to the agent of a filter that notifies."""
    saved = container.saved
    if plan.seccomp is None or saved.listener is None:
        return None
    from wherry.oci.runtime import State
    from wherry.runtime.listener import Handover

    now = state.status(container.root, saved)
    return Handover(saved.listener, State(
        id=saved.id, status=now, pid=saved.pid, bundle=saved.bundle, annotations=saved.annotations))


def _clone_into(group: Manager) -> tuple[int, int, bool]:
    """A fork, in the cgroup where that can be had at once: (pid, pidfd, whether it is there); (0, -1, …) in the child.

    The cgroup may have become one without processes of its own, by a manager in the container: then `join` finds a place.
    """
    try:
        folder = group.folder_fd()
    except FileNotFoundError:
        folder = None  # `join` will say so
    if folder is None:
        return *namespace.clone3(0), False
    try:
        return *namespace.clone3(0, folder), True
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
            raise
        return *namespace.clone3(0), False
    finally:
        os.close(folder)


def _join(group: Manager, pid: int, beside: int) -> None:
    """Puts a process into its cgroup. StartFailed as runc words it."""
    try:
        group.join(pid, beside)
        group.join_unified(pid, make=False)
    except OSError as error:
        raise StartFailed(f"{_START}error adding pid {pid} to cgroups: {describe(error)}") from error


def await_exec(
    connection: _socket.socket, pid_file: str, terminal: bool, handover: Handover | None = None,
    loader: tuple[int, int] | None = None,
) -> Process:
    """Listens until exec has happened. StartFailed when it did not, OSError without a pid file: the process is reaped then.

    `handover` is for a filter that notifies; `loader` (pid, pidfd) loads it where the process itself does not.
    """
    pid, pidfd, master, loading = 0, -1, -1, b""
    failed: StartFailed | None = None
    while True:
        if handover is not None:
            failed = handover.serve(connection, loading, loader or (pid, pidfd), pid) or failed
        data, fds = channel.receive(connection)
        if not data:
            break
        if data[:1] == channel.PID:
            pid, pidfd = int(data[1:]), fds[0]
        elif data[:1] == channel.HOP_PID:
            pid = int.from_bytes(data[1:9], "little")
            pidfd = process.pidfd_open(pid)
        elif data[:1] == channel.READY and fds:
            master = fds[0]
        elif data[:1] == channel.LISTENER:
            loading = data
        elif data[:1] == channel.FAILED:
            failed = channel.failure(data)
    if failed is None and (pid == 0 or (terminal and master < 0)):
        failed = StartFailed(f"{_START}the process ended before it executed anything")
    if failed is not None:
        _give_up(pidfd, master)
        raise failed
    if pid_file:
        from wherry.linux import file

        try:
            file.write_pid(pid_file, pid)
        except OSError:
            _give_up(pidfd, master)
            raise
    return Process(pid=pid, pidfd=pidfd, console=master if master >= 0 else None)


def _give_up(pidfd: int, master: int) -> None:
    """Ends and reaps a process, where there is one, and lets go of what was opened for it."""
    if pidfd >= 0:
        try:
            process.pidfd_send_signal(pidfd, 9)
        except ProcessLookupError:
            pass
        process.reap(pidfd)
    for fd in (pidfd, master):
        if fd >= 0:
            os.close(fd)


def enter_and_run(
    saved: Saved, plan: ProgramPlan, init_fd: int, channel_end: _socket.socket, affinity: Affinity = _ANYWHERE
) -> None:
    """The process in between: enters the namespaces, makes the process and says who it is. Never returns."""
    guard(lambda: _enter(saved, plan, init_fd, channel_end, affinity), channel_end)


def _enter_cold(saved: Saved, plan: ProgramPlan, init_fd: int, channel_end: _socket.socket, affinity: Affinity) -> None:
    """As `_enter` and `_live`, but this process itself becomes what the plan says and the last hop forks."""
    from wherry.runtime import hop

    _prepare(saved, plan, init_fd, channel_end, affinity)
    executable, environment = _become(saved, plan, channel_end)
    hop.fork_and_execute(plan, executable, environment, channel_end.fileno())


def _enter(saved: Saved, plan: ProgramPlan, init_fd: int, channel_end: _socket.socket, affinity: Affinity) -> None:
    _prepare(saved, plan, init_fd, channel_end, affinity)
    pid, pidfd = namespace.clone3(namespace.CLONE_PARENT)
    if pid == 0:
        guard(lambda: _live(saved, plan, channel_end), channel_end)
    channel.tell(channel_end, channel.PID + str(pid).encode(), (pidfd,))
    os._exit(0)


def _prepare(saved: Saved, plan: ProgramPlan, init_fd: int, channel_end: _socket.socket, affinity: Affinity) -> None:
    """Waits to be in the cgroups, lets go of what is not the process's, then enters the namespaces.

    The security label for the next exec is written here, since a fork inherits it and nobody may write another process's.
    """
    forbid_imports()
    process.set_dumpable(False)
    trace.step("exec", "child process in init() enters the container")
    _set_affinity(affinity[0])
    channel.expect(channel_end, channel.GO, "the caller is gone")
    _set_affinity(affinity[1])
    write_label(plan, open_label(plan))
    if plan.terminal:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        take_stdio((null, null, null))
    else:
        take_stdio(plan.stdio)
    process.close_all_but((init_fd, channel_end.fileno(), *range(3 + plan.preserve_fds)))
    if plan.credentials.oom_score_adj is not None:
        _set_oom_score(plan.credentials.oom_score_adj)
    # Without a mount namespace of its own the container's root is a folder of the host's.
    root_fd = -1 if "mount" in saved.namespaces else os.open(f"/proc/{saved.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = 0
    for name in saved.namespaces:
        flags |= namespace.FLAGS[name]
    if flags:
        namespace.setns(init_fd, flags)
    if root_fd >= 0:
        os.fchdir(root_fd)
        os.chroot(".")
        os.close(root_fd)
    os.close(init_fd)


def _set_oom_score(value: int) -> None:
    try:
        process.write_once("/proc/self/oom_score_adj", str(value))
    except OSError as error:
        raise StartFailed(f"{_START}write /proc/self/oom_score_adj: {(error.strerror or '').lower()}") from error


def _live(saved: Saved, plan: ProgramPlan, channel_end: _socket.socket) -> None:
    """The process itself, in all of the container's namespaces, up to exec."""
    os.setsid()
    executable, environment = _become(saved, plan, channel_end)
    execute_plan(plan, executable, environment)


def _become(saved: Saved, plan: ProgramPlan, channel_end: _socket.socket) -> tuple[str, dict[str, str]]:
    if "user" in saved.namespaces:
        from wherry.runtime.usernamespace import become_root

        become_root(plan.credentials.uid, plan.credentials.gid)
        process.set_dumpable(False)
    if not saved.no_new_keyring:
        join_keyring(f"_ses.{saved.id}")
    if plan.terminal:
        master = _open_terminal(plan)
        channel.tell(channel_end, channel.READY, (master,))
        os.close(master)
    return become(plan, channel_end)


def _open_terminal(plan: ProgramPlan) -> int:
    from wherry.linux import pty

    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    master = path.open_in_root(root_fd, "/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    os.close(root_fd)
    slave, _ = pty.open_slave(master)
    take_terminal(slave, plan.console_size, os.getsid(0) == os.getpid())
    return master


def guard(live: Callable[[], None], connection: _socket.socket) -> None:
    """Runs a child's life; what goes wrong is told to the parent. Never returns."""
    try:
        live()
    except StartFailed as failed:
        channel.tell_failure(connection, failed.exit_code, failed.message)
    except WherryError as error:
        channel.tell_failure(connection, 1, _START + error.message)
    except OSError as error:
        channel.tell_failure(connection, 1, _START + describe(error))
    except BaseException as defect:  # noqa: BLE001 (a process boundary: the caller has to hear of it)
        channel.tell_failure(connection, 1, f"{_START}{type(defect).__name__}: {defect}")
    finally:
        os._exit(1)

