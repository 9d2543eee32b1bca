"""The plan of a container: all that its init will do, decided before it exists, and the functions that decide it.

Nothing is changed here. What is opened: namespaces to join, sources of mounts that only the creator may read.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.linux import namespace
from wherry.record import Record
from wherry.runtime.cgroupmount import plan_cgroup_mounts
from wherry.runtime.container import StartFailed
from wherry.runtime.devices import plan_devices
from wherry.runtime.mountplan import plan_mounts, plan_root_propagation, seal_late
from wherry.runtime.program import plan_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.linux.cgroup import Manager
    from wherry.linux.cgroup.layout import Layout
    from wherry.linux.seccomp import Program
    from wherry.oci.runtime import Config, Hooks
    from wherry.runtime.cgroupmount import CgroupMounts
    from wherry.runtime.container import CreateRequest
    from wherry.runtime.devices import DevicePlan
    from wherry.runtime.mountplan import MountStep
    from wherry.runtime.program import ProgramPlan
    from wherry.runtime.scheduling import Scheduling

_START = "unable to start container process: "


class InitPlan(Record):
    """All that an init does, decided before it exists. `joins` are (CLONE_NEW… flag, descriptor) of namespaces to enter.

    `fifo_fd` ≥ 0: the init waits there, in the last hop (cold); otherwise it waits on its creator's socket. `pid_namespace` ≥ 0:
    it is a child of this process, born into that namespace, and waits in the last hop in any case.
    """

    id: str
    new: int
    in_user_namespace: bool
    joins: tuple[tuple[int, int], ...]
    cgroup_namespace: bool
    keyring: str
    rootfs: RootfsPlan
    hostname: str
    domainname: str
    sysctls: tuple[tuple[str, str], ...]
    program: ProgramPlan
    hooks: Hooks
    fifo_fd: int
    time_offsets: tuple[tuple[str, int, int], ...] = ()
    pid_namespace: int = -1

    def new_at_birth(self) -> int:
        """The namespaces that the init is born into: not the ipc namespace where it is in a user namespace.

        That one is made by the root of the user namespace, to whom belongs what lies in there (/dev/mqueue).
        """
        return self.new & ~namespace.CLONE_NEWIPC if self.in_user_namespace else self.new


class RootfsPlan(Record):
    """All that `build` and `enter` need. `explicit_propagation`: «rootfsPropagation» was given, and goes for the new root too.

    `own_mounts`: there is a mount namespace; without, the tree is mounted where the rootfs lies, for everybody to see.
    `pid_namespace` ≥ 0 is the one that procfs shows, where this process is not in it. `sealed` are changes of mounts that end
    the tree.
    """

    rootfs: str
    readonly: bool
    propagation: tuple[int, bool]
    explicit_propagation: bool
    mounts: tuple[MountStep, ...]
    devices: DevicePlan
    masked: tuple[str, ...]
    read_only: tuple[str, ...]
    cgroups: CgroupMounts | None
    no_pivot: bool
    own_mounts: bool
    pid_namespace: int = -1
    sealed: tuple[MountStep, ...] = ()


def cgroup_path(config: Config, request: CreateRequest) -> str:
    """Where the container's cgroup is: what the config says, otherwise one with the container's id below the caller's."""
    if config.linux.cgroups_path:
        return config.linux.cgroups_path
    return f":wherry:{request.id}" if request.cgroup_driver == "systemd" else request.id


class Found(Record):
    """What a plan needs to know of the host's files: the folder that becomes /, and the compiled filter."""

    rootfs: str
    seccomp: Program | None


def plan_init(
    request: CreateRequest, config: Config, bundle: str, group: Manager, layout: Layout, fds: list[int],
    found: Found | None = None,
) -> InitPlan:
    """Decides everything that the init does. What has to be opened for that (see above) goes to `fds`.

    `found` is what `look_up` would find, for those who cannot look.
    """
    found = found or look_up(request, config, bundle)
    assert config.process is not None
    assert config.root is not None
    new, joins, pid_namespace = 0, [], -1
    new_user = any(entry.type == "user" and not entry.path for entry in config.linux.namespaces)
    for entry in config.linux.namespaces:
        flag = namespace.FLAGS[entry.type]
        if not entry.path:
            new |= flag
            continue
        try:
            fds.append(namespace.open_namespace(entry.path))
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise StartFailed(f"{_START}namespace path: lstat {entry.path}: {reason}") from error
        if entry.type == "pid" and not new_user:  # from a new user namespace it could not be entered any more
            pid_namespace = fds[-1]
        else:
            joins.append((flag, fds[-1]))
    cgroup_namespace = bool(new & namespace.CLONE_NEWCGROUP)
    mounts, sealed = seal_late(plan_mounts(config, bundle))
    if any(step.id_map is not None for step in mounts):
        from wherry.runtime.idmap import open_sources

        mounts = open_sources(mounts, config, fds)
    devices = plan_devices(config)
    in_user_namespace = config.linux.namespace("user") is not None
    if in_user_namespace:
        from wherry.runtime.hostnodes import make_nodes
        from wherry.runtime.idmap import open_plain_sources

        devices = make_nodes(devices, config, fds)
        mounts = open_plain_sources(mounts, fds)
    shows_cgroups = any(step.kind == "cgroup" for step in mounts)
    program = plan_program(request, config.process, found.seccomp).replace(scheduling=plan_scheduling(config))
    return InitPlan(
        id=request.id,
        new=new & ~namespace.CLONE_NEWCGROUP,
        in_user_namespace=in_user_namespace,
        joins=tuple(joins),
        cgroup_namespace=cgroup_namespace,
        keyring="" if request.no_new_keyring else f"_ses.{request.id}",
        rootfs=RootfsPlan(
            rootfs=found.rootfs,
            readonly=config.root.readonly,
            propagation=plan_root_propagation(config.linux.rootfs_propagation),
            explicit_propagation=bool(config.linux.rootfs_propagation),
            mounts=mounts,
            devices=devices,
            masked=config.linux.masked_paths,
            read_only=config.linux.readonly_paths,
            cgroups=plan_cgroup_mounts(layout, group.paths(), cgroup_namespace) if shows_cgroups else None,
            no_pivot=request.no_pivot,
            own_mounts=bool(new & namespace.CLONE_NEWNS),
            pid_namespace=pid_namespace,
            sealed=sealed,
        ),
        hostname=config.hostname,
        domainname=config.domainname,
        sysctls=tuple(config.linux.sysctl.items()),
        program=program,
        hooks=config.hooks,
        fifo_fd=-1,
        time_offsets=config.linux.time_offsets,
        pid_namespace=pid_namespace,
    )


def plan_scheduling(config: Config) -> Scheduling | None:
    """How the program is scheduled; None when the config says nothing of it, as most do."""
    assert config.process is not None
    process, linux = config.process, config.linux
    if process.scheduler is None and process.io_priority is None and not linux.personality and linux.memory_policy is None:
        return None
    from wherry.runtime import scheduling

    domain = scheduling.plan_personality(linux.personality, linux.personality_flags) if linux.personality else None
    return scheduling.plan(process, domain, linux.memory_policy)


def look_up(request: CreateRequest, config: Config, bundle: str) -> Found:
    """What a plan needs to know. InvalidArgument where there is no such folder."""
    assert config.root is not None
    folder = os.path.join(bundle, config.root.path)
    if not os.path.isdir(folder):
        raise InvalidArgument(f"invalid rootfs: stat {folder}: no such file or directory")
    return Found(rootfs=os.path.realpath(folder), seccomp=load_filter(config, request))


def load_filter(config: Config, request: CreateRequest) -> Program | None:
    """The compiled system call filter, or None."""
    if config.linux.seccomp is None:
        return None
    from wherry.linux import seccomp

    return seccomp.compile(config.linux.seccomp, cache=request.seccomp_cache)
