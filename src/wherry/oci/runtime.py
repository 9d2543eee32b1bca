"""The runtime-spec's config.json as values; state.json's document.

`Config.from_json` turns parsed JSON into immutable values and refuses wrong types by their place («process.args»). What the
values mean together is judged next door (`wherry.runtime.validate`). Unknown fields are ignored, as the specification
demands («Extensibility»). Two sections stay parsed JSON, because rooms of their own read them: `linux.resources`
(`linux/cgroup`) and `linux.seccomp` (`linux/seccomp`).
"""

from __future__ import annotations

from wherry.oci import RUNTIME_VERSION
from wherry.oci.jsontext import Section
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class User(Record):
    """Who a process is: numeric ids, seen from inside the container."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(Record):
    """The five sets, by name."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Record):
    """One resource limit: `type` as RLIMIT_…, unsigned 64 bits; the largest number is infinity."""

    type: str
    soft: int
    hard: int


class Scheduler(Record):
    """«process.scheduler»: sched_setattr(2)."""

    policy: str
    nice: int = 0
    priority: int = 0
    flags: tuple[str, ...] = ()
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class IOPriority(Record):
    """«process.ioPriority»: ioprio_set(2)."""

    io_class: str
    priority: int = 0


class ExecAffinity(Record):
    """«process.execCPUAffinity»: the processors of a further process before and after it is in the cgroup, as «0-3,7»."""

    initial: str = ""
    final: str = ""


class Process(Record):
    """«process»: what runs. `console_size` is (rows, columns)."""

    terminal: bool = False
    console_size: tuple[int, int] | None = None
    user: User = User()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    selinux_label: str = ""
    oom_score_adj: int | None = None
    scheduler: Scheduler | None = None
    io_priority: IOPriority | None = None
    exec_affinity: ExecAffinity | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any], place: str = "process") -> Process:
        """The value of a parsed process document. InvalidArgument for wrong types."""
        return _process(Section(document, place))

    def to_json(self) -> dict[str, Any]:
        """The document, without what has its default."""
        user: dict[str, Any] = {"uid": self.user.uid, "gid": self.user.gid}
        if self.user.umask is not None:
            user["umask"] = self.user.umask
        if self.user.additional_gids:
            user["additionalGids"] = list(self.user.additional_gids)
        document: dict[str, Any] = {"user": user, "args": list(self.args), "env": list(self.env), "cwd": self.cwd}
        if self.terminal:
            document["terminal"] = True
        if self.console_size:
            document["consoleSize"] = {"height": self.console_size[0], "width": self.console_size[1]}
        if self.capabilities is not None:
            document["capabilities"] = {name: list(names) for name, names in self.capabilities.as_dict().items() if names}
        if self.rlimits:
            document["rlimits"] = [limit.as_dict() for limit in self.rlimits]
        if self.no_new_privileges:
            document["noNewPrivileges"] = True
        if self.apparmor_profile:
            document["apparmorProfile"] = self.apparmor_profile
        if self.selinux_label:
            document["selinuxLabel"] = self.selinux_label
        if self.oom_score_adj is not None:
            document["oomScoreAdj"] = self.oom_score_adj
        if self.scheduler is not None:
            document["scheduler"] = {**self.scheduler.as_dict(), "flags": list(self.scheduler.flags)}
        if self.io_priority is not None:
            document["ioPriority"] = {"class": self.io_priority.io_class, "priority": self.io_priority.priority}
        if self.exec_affinity is not None:
            document["execCPUAffinity"] = self.exec_affinity.as_dict()
        return document


class IdMapping(Record):
    """`size` ids from `container_id` inside are the ids from `host_id` outside."""

    container_id: int
    host_id: int
    size: int


class Mount(Record):
    """One of «mounts», in order."""

    destination: str
    source: str = ""
    type: str = ""
    options: tuple[str, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()


class Hook(Record):
    """A program that runs at a point of the container's life. `timeout` in seconds, None: no limit; `env` None: not given."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: int | None = None


class Hooks(Record):
    """The six lists of «hooks», each run in order."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Namespace(Record):
    """A namespace to make (no path) or to join."""

    type: str
    path: str = ""


class Device(Record):
    """A device node to make: `type` is c, u, b or p."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class Root(Record):
    """«root»: the folder that becomes /; relative paths start at the bundle."""

    path: str
    readonly: bool = False


class MemoryPolicy(Record):
    """«linux.memoryPolicy»: set_mempolicy(2). `nodes` as «0-3,7»."""

    mode: str
    nodes: str = ""
    flags: tuple[str, ...] = ()


class Linux(Record):
    """«linux», as far as this runtime does it. `unsupported` names the fields that are set and that it does not do."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    devices: tuple[Device, ...] = ()
    sysctl: Mapping[str, str] = {}
    cgroups_path: str = ""
    resources: Mapping[str, Any] | None = None
    rootfs_propagation: str = ""
    seccomp: Mapping[str, Any] | None = None
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""
    personality: str = ""
    personality_flags: tuple[str, ...] = ()
    memory_policy: MemoryPolicy | None = None
    time_offsets: tuple[tuple[str, int, int], ...] = ()
    net_devices: Mapping[str, str] = {}
    unsupported: tuple[str, ...] = ()

    def namespace(self, kind: str) -> Namespace | None:
        """The namespace of this type, or None: the container shares the caller's."""
        for namespace in self.namespaces:
            if namespace.type == kind:
                return namespace
        return None


class Config(Record):
    """config.json."""

    oci_version: str = ""
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: Mapping[str, str] = {}
    linux: Linux = Linux()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Config:
        """The value of a parsed config.json. InvalidArgument names the place whose type is wrong."""
        top = Section(document, "")
        process, root = top.section("process"), top.section("root")
        return cls(
            oci_version=top.text("ociVersion"),
            process=_process(process) if process else None,
            root=Root(path=root.text("path"), readonly=root.flag("readonly")) if root else None,
            hostname=top.text("hostname"),
            domainname=top.text("domainname"),
            mounts=tuple(_mount(section) for section in top.sections("mounts")),
            hooks=_hooks(top.section("hooks")),
            annotations=top.texts_by_name("annotations"),
            linux=_linux(top.section("linux")),
        )


def _process(section: Section) -> Process:
    user, size, capabilities = section.section("user"), section.section("consoleSize"), section.section("capabilities")
    scheduler, priority = section.section("scheduler"), section.section("ioPriority")
    affinity = section.section("execCPUAffinity")
    return Process(
        terminal=section.flag("terminal"),
        console_size=(size.count("height"), size.count("width")) if size else None,
        user=User(uid=user.count("uid"), gid=user.count("gid"), umask=user.number("umask"),
                  additional_gids=user.numbers("additionalGids")) if user else User(),
        args=section.texts("args"),
        env=section.texts("env"),
        cwd=section.text("cwd"),
        capabilities=Capabilities(
            bounding=capabilities.texts("bounding"), effective=capabilities.texts("effective"),
            permitted=capabilities.texts("permitted"), inheritable=capabilities.texts("inheritable"),
            ambient=capabilities.texts("ambient")) if capabilities else None,
        rlimits=tuple(Rlimit(type=item.text("type"), soft=item.count("soft"), hard=item.count("hard"))
                      for item in section.sections("rlimits")),
        no_new_privileges=section.flag("noNewPrivileges"),
        apparmor_profile=section.text("apparmorProfile"),
        selinux_label=section.text("selinuxLabel"),
        oom_score_adj=section.number("oomScoreAdj"),
        scheduler=Scheduler(
            policy=scheduler.text("policy"), nice=scheduler.number("nice") or 0, priority=scheduler.number("priority") or 0,
            flags=scheduler.texts("flags"), runtime=scheduler.count("runtime"), deadline=scheduler.count("deadline"),
            period=scheduler.count("period")) if scheduler else None,
        io_priority=IOPriority(io_class=priority.text("class"), priority=priority.number("priority") or 0) if priority else None,
        exec_affinity=ExecAffinity(initial=affinity.text("initial"), final=affinity.text("final")) if affinity else None,
    )


def _mappings(sections: list[Section]) -> tuple[IdMapping, ...]:
    return tuple(IdMapping(container_id=item.count("containerID"), host_id=item.count("hostID"), size=item.count("size"))
                 for item in sections)


def _mount(section: Section) -> Mount:
    return Mount(
        destination=section.text("destination"),
        source=section.text("source"),
        type=section.text("type"),
        options=section.texts("options"),
        uid_mappings=_mappings(section.sections("uidMappings")),
        gid_mappings=_mappings(section.sections("gidMappings")),
    )


def _hooks(section: Section | None) -> Hooks:
    if section is None:
        return Hooks()

    def some(name: str) -> tuple[Hook, ...]:
        return tuple(Hook(path=item.text("path"), args=item.texts("args"), timeout=item.number("timeout"),
                          env=None if item.document.get("env") is None else item.texts("env"))
                     for item in section.sections(name))

    return Hooks(
        prestart=some("prestart"), create_runtime=some("createRuntime"), create_container=some("createContainer"),
        start_container=some("startContainer"), poststart=some("poststart"), poststop=some("poststop"))


# Fields of «linux» that mean something to a container and that this runtime does not do yet.
_NOT_DONE = ("intelRdt",)


# The fields of «linux.resources» by section and by the getter that knows their type.
_LIMITS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "memory": {"number": ("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"),
               "flag": ("disableOOMKiller", "useHierarchy", "checkBeforeUpdate")},
    "cpu": {"number": ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle"),
            "text": ("cpus", "mems")},
    "pids": {"number": ("limit",)},
    "blockIO": {"number": ("weight", "leafWeight"),
                "sections": ("weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice",
                             "throttleWriteIOPSDevice")},
    "network": {"number": ("classID",), "sections": ("priorities",)},
}


def check_resources(document: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The same document of «linux.resources»: it stays as it is, but wrong types are InvalidArgument."""
    if document is None:
        return None
    top = Section(document, "linux.resources")
    for name, kinds in _LIMITS.items():
        section = top.section(name)
        for kind, fields in kinds.items() if section is not None else ():
            for field in fields:
                getattr(section, kind)(field)
    for limit in top.sections("hugepageLimits"):
        limit.text("pageSize")
        limit.number("limit")
    for rule in top.sections("devices"):
        rule.flag("allow")
        rule.text("type")
        rule.text("access")
        rule.number("major")
        rule.number("minor")
    top.texts_by_name("unified")
    return document


def _linux(section: Section | None) -> Linux:
    if section is None:
        return Linux()
    personality, policy, offsets = section.section("personality"), section.section("memoryPolicy"), section.section("timeOffsets")
    return Linux(
        namespaces=tuple(Namespace(type=item.text("type"), path=item.text("path")) for item in section.sections("namespaces")),
        uid_mappings=_mappings(section.sections("uidMappings")),
        gid_mappings=_mappings(section.sections("gidMappings")),
        devices=tuple(
            Device(path=item.text("path"), type=item.text("type"), major=item.number("major") or 0,
                   minor=item.number("minor") or 0, file_mode=item.number("fileMode"), uid=item.number("uid"),
                   gid=item.number("gid"))
            for item in section.sections("devices")),
        sysctl=section.texts_by_name("sysctl"),
        cgroups_path=section.text("cgroupsPath"),
        resources=check_resources(section.object("resources")),
        rootfs_propagation=section.text("rootfsPropagation"),
        seccomp=section.object("seccomp"),
        masked_paths=section.texts("maskedPaths"),
        readonly_paths=section.texts("readonlyPaths"),
        mount_label=section.text("mountLabel"),
        personality=personality.text("domain") if personality else "",
        personality_flags=personality.texts("flags") if personality else (),
        memory_policy=MemoryPolicy(
            mode=policy.text("mode"), nodes=policy.text("nodes"), flags=policy.texts("flags")) if policy else None,
        time_offsets=_time_offsets(offsets) if offsets else (),
        net_devices=_net_devices(section.section("netDevices")),
        unsupported=tuple(f"linux.{name}" for name in _NOT_DONE if section.document.get(name)),
    )


def _net_devices(section: Section | None) -> Mapping[str, str]:
    """The name in the container by the name on the host."""
    if section is None:
        return {}
    found = {}
    for name in section.document:
        given = section.section(name)
        found[name] = (given.text("name") if given else "") or name
    return found


def _time_offsets(section: Section) -> tuple[tuple[str, int, int], ...]:
    """(clock, seconds, nanoseconds) of each clock."""
    clocks = []
    for clock in section.document:
        given = section.section(clock)
        if given is not None:
            clocks.append((clock, given.number("secs") or 0, given.count("nanosecs")))
    return tuple(clocks)


class State(Record):
    """The runtime-spec's state document. `status` is creating, created, running, paused or stopped; pid 0 when stopped."""

    id: str
    status: str
    pid: int
    bundle: str
    annotations: Mapping[str, str] = {}
    oci_version: str = RUNTIME_VERSION

    def to_json(self) -> dict[str, Any]:
        """The document that hooks get on their standard input."""
        return {
            "ociVersion": self.oci_version, "id": self.id, "status": self.status, "pid": self.pid, "bundle": self.bundle,
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
        }
