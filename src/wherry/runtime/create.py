"""Creates a container: plans, forks the init into its namespaces, and stands by until it waits for `start`.

The chart of the conversation is in `container`. What was made is undone in reverse when a step fails: the init ends, its
cgroups and its state go.
"""

from __future__ import annotations

import os

from wherry import trace
from wherry.errors import Conflict, InvalidArgument, WherryError, describe
from wherry.linux import cgroup, file, namespace, process, unixsocket
from wherry.linux.cgroup.layout import read_layout
from wherry.oci import jsontext
from wherry.oci.runtime import Config, State
from wherry.runtime import channel, container, state, validate
from wherry.runtime.container import CreateRequest, Init, StartFailed
from wherry.runtime.devices import allow_default_devices
from wherry.runtime.plan import cgroup_path, plan_init

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from wherry.linux.cgroup import Manager
    from wherry.linux.cgroup.layout import Layout
    from wherry.runtime.plan import InitPlan

_START = "unable to start container process: "
_JOINED_BY_INIT = namespace.CLONE_NEWNET | namespace.CLONE_NEWIPC | namespace.CLONE_NEWUTS | namespace.CLONE_NEWCGROUP


def create(request: CreateRequest) -> Init:
    """See `container.create`."""
    request, config, bundle, layout, group = prepare(request)
    undo: list[Callable[[], None]] = []
    lock = claim(request.root, request.id)
    undo.append(lambda: state.remove(request.root, request.id))
    fds: list[int] = [lock]
    try:
        if request.notify:
            from wherry.runtime.notify import add_mount

            config = add_mount(config, request.root, request.id, request.notify)
        plan = plan_init(request, config, bundle, group, layout, fds)
        # Into a pid namespace of others goes nothing but a last hop, which waits on the fifo, whoever made it.
        in_hop = request.mode == "cold" or plan.pid_namespace >= 0
        if in_hop:
            plan = plan.replace(fifo_fd=_make_fifo(request.root, request.id))
            fds.append(plan.fifo_fd)
        else:
            fds.append(state.make_waiting(request.root, request.id))
        init = _fork(request, config, bundle, plan, group, fds, undo)
    except BaseException as error:
        starved = isinstance(error, StartFailed) and group.oom_count() > 0
        for step in reversed(undo):
            try:
                step()
            except (OSError, WherryError):
                continue  # the first failure is what counts; the next start removes what is left
        if config.hooks.poststop:
            _end_of(request, config, bundle)
        if starved:
            raise StartFailed(f"{_START}container init was OOM-killed (memory limit too low?)") from error
        raise
    finally:
        for fd in fds:
            os.close(fd)
    return init


def _end_of(request: CreateRequest, config: Config, bundle: str) -> None:
    """The poststop hooks of a container that could not be made: the specification's lifecycle goes on with its end."""
    from wherry.runtime.hooks import run_every_hook

    told = State(id=request.id, status="stopped", pid=0, bundle=bundle, annotations=config.annotations)
    for failure in run_every_hook("poststop", config.hooks.poststop, told):
        trace.step("hook", failure)


def prepare(request: CreateRequest) -> tuple[CreateRequest, Config, str, Layout, Manager]:
    """What is known before anything is made: the request and the config as they count, bundle, the machine's cgroups, ours."""
    state.check_id(request.id)
    bundle = os.path.abspath(request.bundle)
    config = request.config or read_config(bundle)
    if os.geteuid() or config.linux.namespace("user"):
        from wherry.runtime.usernamespace import complete

        config = complete(config)
    validate.check_config(config)
    layout = read_layout()
    group = cgroup.manager(cgroup_path(config, request), request.cgroup_driver, layout)
    if request.rootless and not config.linux.cgroups_path and not group.may_create():
        request = request.replace(cgroup_driver="disabled")
        group = cgroup.manager("", "disabled")
    return request, config, bundle, layout, group


def read_config(bundle: str, name: str = "config.json") -> Config:
    """config.json of a bundle, or another file. InvalidArgument when it is missing or makes no sense."""
    try:
        text = file.read(os.path.join(bundle, name))
    except FileNotFoundError:
        raise InvalidArgument(f"JSON specification file {name} not found") from None
    try:
        document = jsontext.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{name}: {error}") from error
    return Config.from_json(document)


def wait_ready(init: Init) -> None:
    """See `Init.wait_ready`."""
    if init.ready or init.channel is None:
        return
    try:
        fds = channel.expect(init.channel, channel.READY, "the init ended before it was ready")
    except StartFailed:
        init.channel.close()
        init.channel = None
        raise
    init.ready = True
    if fds:
        init.console = fds[0]


def start(init: Init) -> None:
    """See `Init.start`."""
    if init.waits_on_fifo is not None:
        init.waits_on_fifo()
        return
    if init.channel is None:
        raise Conflict("cannot start a container that has stopped")
    wait_ready(init)
    try:
        channel.tell(init.channel, channel.START)
    except OSError as error:
        raise StartFailed(f"{_START}the init ended before it was started") from error
    data, _ = channel.receive(init.channel)
    init.channel.close()
    init.channel = None
    if init.on_started is not None:
        init.on_started()
    if data:
        raise channel.failure(data)


def claim(root: str, container_id: str) -> int:
    """Makes the container's state folder and locks it. Conflict when it is taken; a creator's ruin is taken over."""
    import fcntl

    place = state.folder(root, container_id)
    try:
        os.mkdir(place, 0o711)
    except FileNotFoundError:
        os.makedirs(root, 0o711, exist_ok=True)
        return claim(root, container_id)
    except FileExistsError:
        pass
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict("container with given ID already exists") from None
    names = os.listdir(fd)
    if "state.json" in names:
        os.close(fd)
        raise Conflict("container with given ID already exists")
    state.clear(place)
    return fd


def _make_fifo(root: str, container_id: str) -> int:
    """The fifo on which a cold init waits, open for both ends: so a read waits, whoever opens and closes it meanwhile."""
    place = state.folder(root, container_id) + "/exec.fifo"
    os.mkfifo(place, 0o600)
    return os.open(place, os.O_RDWR | os.O_CLOEXEC)


def _fork(
    request: CreateRequest, config: Config, bundle: str, plan: InitPlan, group: Manager, fds: list[int],
    undo: list[Callable[[], None]],
) -> Init:
    """The init, made and followed until the caller can go on. `undo` is done in reverse when a later step fails."""
    trace.step("nsexec container setup", f"{request.id}: all is planned")  # runc's words, which readers of its log look for
    check_cgroup(group)
    resources = plan_resources(config, request)
    state.note_creation(request.root, request.id, cgroup_path(config, request), request.cgroup_driver)
    undo.append(group.remove)
    cgroup_fd = None
    if group.version == "v2":
        limit(group, resources)
        cgroup_fd = group.folder_fd()
        if cgroup_fd is not None:
            fds.append(cgroup_fd)
    connection, other = unixsocket.pair()
    # What hooks are told: they run after what the specification calls creating (its lifecycle's step 2).
    now = State(id=request.id, status="created", pid=0, bundle=bundle, annotations=config.annotations)
    try:
        pid, pidfd = _clone(plan, connection, other, fds, -1 if cgroup_fd is None else cgroup_fd, now)
    except BaseException:
        connection.close()
        raise
    finally:
        other.close()
    init = Init(pid, pidfd, process.start_time(pid))
    init.channel = connection
    trace.step("create", f"the init is {pid}")
    if not plan.rootfs.own_mounts:
        undo.append(lambda: _leave(plan))
    undo.append(lambda: end(init))
    _settle(init, config, plan)
    if cgroup_fd is None:
        # v1: while the init mounts. Its first move into a cgroup waits for milliseconds in the kernel, here and not there.
        if group.version != "v2":
            limit(group, resources)
        group.join(pid)
        # A slot is not there, since its cgroups are renamed, which the cgroup2 hierarchy cannot; nor is what is made as in one.
        group.join_unified(pid, make=request.mode == "cold")
    trace.step("create", "the init is in its cgroups")
    channel.tell_init(connection, channel.JOINED)
    _take_network(init, config, plan)
    kept = b"" if plan.program.seccomp is None else plan.program.seccomp.pack()
    saved = save(request, plan_saved(request, config, bundle, plan), kept, init)
    told = now.replace(pid=pid)
    _accompany(init, request, config, plan, saved, told)
    if plan.pid_namespace >= 0:
        _follow(init, request, saved)
    if plan.fifo_fd < 0:
        init.on_started = lambda: _started(request, config, init, told)
    elif plan.pid_namespace < 0:
        start(init)  # into the last hop, where it waits on the fifo
    if request.pid_file:
        file.write_pid(request.pid_file, init.pid)
    trace.step("create", f"{request.id} is made")
    return init


def _accompany(init: Init, request: CreateRequest, config: Config, plan: InitPlan, saved: state.Saved, told: State) -> None:
    """Does the creator's part while the init builds its tree, and waits for it where somebody counts on its being ready."""
    if config.hooks.prestart or config.hooks.create_runtime:
        _run_hooks(config, init, told)
    if saved.listener is not None:
        from wherry.runtime.listener import pass_on

        pass_on(init, saved.listener, told)
    if request.meanwhile is not None:
        request.meanwhile()
    if plan.program.terminal or plan.fifo_fd >= 0 or config.hooks.create_container:
        wait_ready(init)


def plan_resources(config: Config, request: CreateRequest) -> Mapping[str, Any]:
    """The limits to set. An ordinary user's have no list of devices: only root may change one."""
    given = config.linux.resources or {}
    if request.rootless:
        return {name: value for name, value in given.items() if name != "devices"}
    return allow_default_devices(given)


def limit(group: Manager, resources: Mapping[str, Any]) -> None:
    """Makes the cgroup with its limits. Raises StartFailed for limits that cannot be: the container is wrong, not the request."""
    where = f"{_START}error during container init: error setting cgroup config for procHooks process"
    try:
        group.create(resources)
    except InvalidArgument as error:
        raise StartFailed(f"{where}: {error}") from error
    except PermissionError as error:
        raise StartFailed(f"{_START}unable to apply cgroup configuration: {describe(error)}") from error
    except OSError as error:
        raise StartFailed(f"{where}: {describe(error)}") from error


def check_cgroup(group: Manager) -> None:
    """Conflict for a cgroup that is there already and would stop the init, or on v2 share its limits with strangers."""
    if not group.exists():
        return
    if group.frozen():
        raise Conflict("container's cgroup unexpectedly frozen")
    if group.version == "v2" and (found := len(group.processes())):
        raise Conflict(f"container's cgroup is not empty: {found} process(es) found")


def _settle(init: Init, config: Config, plan: InitPlan) -> None:
    """What only the creator can do for an init: limits in a user namespace, the OOM score, id maps."""
    assert init.channel is not None
    who = plan.program.credentials
    if plan.in_user_namespace:
        for name, soft, hard in who.rlimits:
            process.set_limit(name, soft, hard, init.pid)
    if who.oom_score_adj is not None:
        set_oom_score(init.pid, who.oom_score_adj)
    if plan.new & namespace.CLONE_NEWUSER:
        from wherry.runtime.usernamespace import write_maps

        write_maps(init.pid, config.linux.uid_mappings, config.linux.gid_mappings)
        channel.tell_init(init.channel, channel.MAPPED)


def _take_network(init: Init, config: Config, plan: InitPlan) -> None:
    """Takes the netlink socket of a new network namespace, which the init sends when it has read its modules; moves devices."""
    assert init.channel is not None
    if plan.new & namespace.CLONE_NEWNET:
        init.rtnetlink = channel.expect(init.channel, channel.NETWORK, "the init ended before its network was made")[0]
        if config.linux.net_devices:
            from wherry.runtime import netdevices

            netdevices.move(config.linux.net_devices, init.pid, init.rtnetlink)


def _run_hooks(config: Config, init: Init, told: State) -> None:
    from wherry.runtime.hooks import run_hooks

    assert init.channel is not None
    channel.expect(init.channel, channel.MOUNTED, "the init ended before its root was made")
    run_hooks("prestart", config.hooks.prestart, told)
    run_hooks("createRuntime", config.hooks.create_runtime, told)
    channel.tell_init(init.channel, channel.HOOKS_RAN)


def _started(request: CreateRequest, config: Config, init: Init, told: State) -> None:
    """Exec has happened (warm): the state says so, and the poststart hooks run. When one fails, the container is stopped."""
    state.waits_no_more(request.root, request.id)
    if config.hooks.poststart:
        from wherry.runtime.hooks import run_hooks

        try:
            run_hooks("poststart", config.hooks.poststart, told.replace(status="running"))
        except StartFailed:
            process.pidfd_send_signal(init.pidfd, 9)
            raise


def _clone(
    plan: InitPlan, connection: _socket.socket, other: _socket.socket, fds: list[int], cgroup_fd: int, now: State
) -> tuple[int, int]:
    """The init as a child of this process; through a process in between where namespaces have to be joined before."""
    early = [flag for flag, _ in plan.joins if not flag & _JOINED_BY_INIT]
    if early or plan.in_user_namespace:
        _import_init(plan)  # the child would have another tree, or other rights to our files
    if not early and not plan.new & namespace.CLONE_NEWTIME and not (plan.joins and plan.new & namespace.CLONE_NEWUSER):
        pid, pidfd = namespace.clone3(plan.new_at_birth(), cgroup_fd)
        if pid == 0:
            _become_init(plan, connection, other, fds, now)
        return pid, pidfd
    # A channel of its own: on the init's, the init itself may be the first to speak.
    told, telling = unixsocket.pair()
    stage, stage_fd = namespace.clone3(0)
    if stage == 0:
        try:
            process.set_dumpable(False)
            connection.close()
            told.close()
            _join(plan.joins)
            if plan.new & namespace.CLONE_NEWTIME:
                namespace.enter_new_time(plan.time_offsets)
            pid, pidfd = namespace.clone3(plan.new_at_birth() & ~namespace.CLONE_NEWTIME | namespace.CLONE_PARENT, cgroup_fd)
            if pid == 0:
                telling.close()
                _become_init(plan.replace(joins=()), None, other, fds, now)
            channel.tell(telling, channel.PID + str(pid).encode(), (pidfd,))
            os._exit(0)
        except OSError as error:
            channel.tell_failure(telling, 1, f"{_START}error during container init: {describe(error)}")
        finally:
            os._exit(1)
    telling.close()
    os.waitid(os.P_PIDFD, stage_fd, os.WEXITED)
    os.close(stage_fd)
    data, received = channel.receive(told)
    told.close()
    if data[:1] != channel.PID:
        raise channel.failure(data) if data else StartFailed(f"{_START}could not join the namespaces")
    return int(data[1:]), received[0]


def _join(joins: tuple[tuple[int, int], ...]) -> None:
    """Enters namespaces, each with the rights that it asks for: ours, or those that the user namespace among them gives."""
    later: list[tuple[int, int]] = []
    for kind, fd in joins:
        if kind == namespace.CLONE_NEWUSER:
            later.insert(0, (kind, fd))
            continue
        try:
            namespace.setns(fd, kind)
        except PermissionError:
            later.append((kind, fd))
    for kind, fd in later:
        namespace.setns(fd, kind)


def _leave(plan: InitPlan) -> None:
    from wherry.runtime.rootfs import leave

    leave(plan.rootfs.rootfs)


def _become_init(plan: InitPlan, connection: _socket.socket | None, other: _socket.socket, fds: list[int], now: State) -> None:
    """In the child: lets go of what is the creator's (its end of the channel, the lock on the state folder). Never returns."""
    try:
        if connection is not None:
            connection.close()
        os.close(fds[0])
        _import_init(plan)(plan, other, now)
    finally:
        os._exit(1)


def _import_init(plan: InitPlan) -> Callable[[InitPlan, _socket.socket, State], NoReturn]:
    """What the init runs, with all that it needs: in a cold start it is read by the child, while this process makes cgroups."""
    from wherry.runtime.init import preload_init, run_init

    preload_init(plan)
    return run_init


def set_oom_score(pid: int, value: int) -> None:
    """Writes the init's OOM score. StartFailed as runc words it."""
    try:
        process.write_once(f"/proc/{pid}/oom_score_adj", str(value))
    except OSError as error:
        raise StartFailed(f"{_START}write /proc/self/oom_score_adj: {(error.strerror or '').lower()}") from error


def plan_saved(request: CreateRequest, config: Config, bundle: str, plan: InitPlan) -> state.Saved:
    """What the later verbs need to know, but for the init and the moment."""
    assert config.process is not None
    return state.Saved(
        id=request.id, pid=0, start_time=0, bundle=bundle, rootfs=plan.rootfs.rootfs,
        created="", cgroup_path=cgroup_path(config, request), cgroup_driver=request.cgroup_driver,
        namespaces=tuple(entry.type for entry in config.linux.namespaces), process=config.process.to_json(),
        annotations=config.annotations, start_container=config.hooks.start_container if plan.fifo_fd >= 0 else (),
        poststart=config.hooks.poststart, poststop=config.hooks.poststop, seccomp=plan.program.seccomp is not None,
        no_new_keyring=request.no_new_keyring, listener=_agent(config, plan),
        personality=plan.program.scheduling.personality if plan.program.scheduling else None,
        joins_pids=any(one.type == "pid" and one.path for one in config.linux.namespaces))


def save(request: CreateRequest, planned: state.Saved, packed_filter: bytes, init: Init) -> state.Saved:
    """Writes what was planned; from here on the container exists. `packed_filter`: b"" for none."""
    saved = planned.replace(pid=init.pid, start_time=init.start_time, created=state.now_text())
    if packed_filter:
        state.save_filter(request.root, request.id, packed_filter)
    state.save(request.root, saved)
    state.creation_done(request.root, request.id)
    return saved


def _agent(config: Config, plan: InitPlan) -> tuple[str, str] | None:
    if plan.program.seccomp is None or not plan.program.seccomp.notifies:
        return None
    from wherry.runtime.listener import agent_of

    return agent_of(config.linux.seccomp or {})


def _follow(init: Init, request: CreateRequest, saved: state.Saved) -> None:
    """Goes on with the child that the init so far has made in the pid namespace of others; that one ends when this is saved."""
    assert init.channel is not None
    channel.tell(init.channel, channel.START)
    data, _ = channel.receive(init.channel)
    if data[:1] != channel.HOP_PID:
        raise channel.failure(data) if data else StartFailed(f"{_START}the init ended before it was in its pid namespace")
    before = init.pidfd
    init.pid = int.from_bytes(data[1:9], "little")
    init.pidfd = process.pidfd_open(init.pid)
    init.start_time = process.start_time(init.pid)
    state.save(request.root, saved.replace(pid=init.pid, start_time=init.start_time))
    init.channel.close()
    init.channel = None
    process.reap(before)
    os.close(before)
    if request.mode == "warm":
        init.waits_on_fifo = lambda: container.start(container.load(request.root, request.id))


def end(init: Init) -> None:
    """Ends an init that is not wanted any more, and reaps it."""
    try:
        process.pidfd_send_signal(init.pidfd, 9)
    except ProcessLookupError:
        pass
    process.reap(init.pidfd)
    init.close()
