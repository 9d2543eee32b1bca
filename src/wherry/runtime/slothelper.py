"""The process that makes a slot and waits in it: its side of the conversation that `slot` shows.

It is a copy of the creator's that lives in the slot's namespaces but the pid namespace, whose first process is the init it forks:
so procfs, and what is hidden in it, are made by that.
What it plans ahead is the plan of a container that has nothing of its own; `remaining` says whether another plan begins with it.
"""

from __future__ import annotations

import _socket
import os

from wherry.errors import InvalidArgument
from wherry.linux import cgroup, namespace, process
from wherry.linux.cgroup.layout import read_layout
from wherry.oci import jsontext
from wherry.oci.runtime import Config, State
from wherry.record import Record
from wherry.runtime import become, channel, create, init, rootfs, validate
from wherry.runtime.container import CreateRequest
from wherry.runtime.plan import Found, cgroup_path, load_filter, plan_init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from wherry.linux.cgroup import Manager
    from wherry.linux.cgroup.layout import Layout
    from wherry.linux.seccomp import Program
    from wherry.runtime.mountplan import MountStep
    from wherry.runtime.plan import InitPlan

PREFIX = "slot-"  # of the names of slots' cgroups


class Begun(Record):
    """What was made ahead: the config and the plan of it, and the machine's cgroups."""

    config: Config
    plan: InitPlan
    layout: Layout


def run(config: bytes, place: str, seccomp_cache: str, connection: _socket.socket) -> NoReturn:
    """The life of a helper, in a child of the creator's. Failures are told to the creator. Never returns."""
    try:
        process.close_all_but((0, 1, 2, connection.fileno()))
        process.set_dumpable(False)
        begun = _begin(config, place, seccomp_cache, connection)
        data, _ = channel.receive(connection)
        if data[:1] == channel.TAKE:
            _serve(data[1:], begun, connection)
    except BaseException as error:  # noqa: BLE001 (the boundary of a process: the creator has to hear of it)
        channel.tell_failure(connection, 1, f"{type(error).__name__}: {error}")
    finally:
        os._exit(1)


def _begin(config: bytes, place: str, seccomp_cache: str, connection: _socket.socket) -> Begun:
    """Makes what comes before the container's own tree."""
    given = Config.from_json(jsontext.loads(config.decode()))
    given = given.replace(linux=given.linux.replace(cgroups_path=place))
    request = CreateRequest(id="slot", bundle="/", root="", seccomp_cache=seccomp_cache)
    layout = read_layout()
    plan = plan_container(request, given, load_filter(given, request), layout)
    group = cgroup.manager(place, layout=layout)
    if group.version == "v1":
        _sweep(group)
        group.create({})
        group.join(os.getpid())
    become.forbid_imports()
    namespace.unshare(plan.new)
    init.offer_network(connection)
    os.umask(0)
    for name, value in plan.sysctls:
        init.set_sysctl(name, value)
    rootfs.build_slot(plan.rootfs.replace(mounts=ahead(plan)))
    channel.tell(connection, channel.PARKED + (b"1" if group.version == "v1" else b""))
    return Begun(config=given, plan=plan, layout=layout)


def _sweep(group: Manager) -> None:
    """Removes the cgroups of slots whose creators were killed. Those of living slots are not empty, so they stay."""
    for parent in {os.path.dirname(folder) for folder in group.paths().values()}:
        try:
            names = os.listdir(parent)
        except FileNotFoundError:
            continue
        for name in names:
            if name.startswith(PREFIX):
                try:
                    os.rmdir(f"{parent}/{name}")
                except OSError:
                    continue


def _serve(message: bytes, begun: Begun, connection: _socket.socket) -> None:
    """Plans a container, and if the slot serves makes its tree and forks its init. InvalidArgument when it does not."""
    head, _, text = message.partition(b"\0")
    request = CreateRequest(**jsontext.loads(head.decode("utf-8", "surrogateescape")))
    config = Config.from_json(jsontext.loads(text.decode("utf-8", "surrogateescape")))
    seccomp = begun.plan.program.seccomp if config.linux.seccomp is not None else None
    if seccomp is not None and config.linux.seccomp != begun.config.linux.seccomp:
        raise InvalidArgument("its filter is another one")
    plan = plan_container(request, config, seccomp, begun.layout)
    rest = remaining(plan, begun.plan)
    if rest is None:
        raise InvalidArgument("its plan does not begin with the slot's")
    binds = [one for one in rest if one.kind == "bind"]
    work = {
        "saved": create.plan_saved(request, config, request.bundle, plan).to_json(),
        "resources": create.plan_resources(config, request),
        "oom_score_adj": plan.program.credentials.oom_score_adj,
        "sources": [(plan.rootfs.rootfs, True), *((one.source, one.recursive) for one in binds)],
    }
    kept = b"" if seccomp is None else seccomp.pack()
    channel.tell(connection, channel.PLANNED + jsontext.dumps(work).encode("utf-8", "surrogateescape") + b"\0" + kept)
    now = State(id=request.id, status="created", pid=0, bundle=request.bundle, annotations=config.annotations)
    # The lock that says «waiting» comes first: it lasts until the init's exec.
    _, end, *given = channel.expect(connection, channel.SOURCES, "the creator is gone")
    if not request.console:
        plan = plan.replace(program=plan.program.replace(stdio=(given.pop(0), given.pop(0), given.pop(0))))
    root_fd = given.pop(0)
    mounts = [one.replace(source_fd=given.pop(0)) if one.kind == "bind" else one for one in rest]
    last = plan.replace(rootfs=plan.rootfs.replace(mounts=tuple(one for one in mounts if _is_late(one, plan))))
    if plan.keyring:
        become.join_keyring(plan.keyring)
    first = tuple(one for one in mounts if not _is_late(one, plan))
    procfs = tuple(one for one in mounts if one.fstype == "proc")
    rootfs.build_in_slot(plan.rootfs.replace(mounts=first), (*procfs, *ahead(begun.plan)), root_fd)
    init.make_cwd(root_fd, plan.program)
    rootfs.leave_slot()
    init.move_in(plan, root_fd)
    pid, pidfd = namespace.clone3(namespace.CLONE_PARENT, given.pop() if given else -1)
    if pid == 0:
        connection.close()
        init.run_in_slot(last, _socket.socket(fileno=end), now, root_fd)
    channel.tell(connection, channel.PID + str(pid).encode(), (pidfd,))


def plan_container(request: CreateRequest, config: Config, seccomp: Program | None, layout: Layout) -> InitPlan:
    """The plan of a container, without a look at the host. InvalidArgument where a look would be needed."""
    validate.check_config(config)
    if any(one.path for one in config.linux.namespaces) or config.root is None or not os.path.isabs(config.root.path):
        raise InvalidArgument("it joins namespaces, or its root is a relative path")
    if any(one.uid_mappings or one.gid_mappings for one in config.mounts):
        raise InvalidArgument("it has id-mapped mounts")
    group = cgroup.manager(cgroup_path(config, request), request.cgroup_driver, layout)
    found = Found(rootfs=config.root.path, seccomp=seccomp)
    return plan_init(request, config, request.bundle, group, layout, [], found)


def ahead(plan: InitPlan) -> tuple[MountStep, ...]:
    """The mounts that a slot has."""
    return tuple(one for one in plan.rootfs.mounts if not _is_late(one, plan))


def _is_late(step: MountStep, plan: InitPlan) -> bool:
    """Whether a mount is the init's to make, since it shows a namespace that begins with it: procfs, and cgroups in one's own."""
    return step.fstype == "proc" or (step.kind == "cgroup" and plan.cgroup_namespace)


def remaining(plan: InitPlan, begun: InitPlan) -> tuple[MountStep, ...] | None:
    """The mounts that are left to make where `begun` was made ahead; None when `plan` does not begin so.

    A container may have its own names, program, mounts beside those of the slot, and a root that is read-only; all else has to be
    the same in both.
    """
    tree = begun.rootfs
    alike = plan.replace(
        id=begun.id, keyring=begun.keyring, hostname=begun.hostname, domainname=begun.domainname, program=begun.program,
        rootfs=plan.rootfs.replace(rootfs=tree.rootfs, readonly=tree.readonly, mounts=tree.mounts, cgroups=tree.cgroups))
    made = ahead(begun)
    rest = tuple(one for one in plan.rootfs.mounts if one not in made)
    late = [one for one in rest if one in tree.mounts]
    own = [one for one in rest if one not in late]
    if (alike != begun or _shown(plan) != _shown(begun) or not _is_plain(plan)
            or tuple(one for one in plan.rootfs.mounts if one in made) != made
            or len(late) != len(tree.mounts) - len(made) or any(_is_late(one, plan) or one.kind == "cgroup" for one in own)
            or any(_meet(one, other) for one in own for other in tree.mounts)):
        return None
    return rest


def _is_plain(plan: InitPlan) -> bool:
    """Whether the program needs nothing else of the creator, and nothing before the tree is made: agents, scheduling, labels."""
    program = plan.program
    return (program.scheduling is None and not program.apparmor_profile and not program.selinux_label
            and not (program.seccomp is not None and program.seccomp.notifies))


def _meet(one: MountStep, other: MountStep) -> bool:
    """Whether one of the two lies in the other, or they are at the same place."""
    first, second = f"{one.destination.rstrip('/')}/", f"{other.destination.rstrip('/')}/"
    return first.startswith(second) or second.startswith(first)


def _shown(plan: InitPlan) -> tuple[object, ...]:
    """What a container sees of cgroups, but for the name of its own, which a rename changes."""
    shown = plan.rootfs.cgroups
    if shown is None:
        return ()
    return (shown.private, shown.unified,
            *((name, controllers, os.path.dirname(folder)) for name, controllers, folder in shown.hierarchies))
