"""Whether a config makes sense: small named checks, each given the whole config, none changing it."""

from __future__ import annotations

from wherry.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.runtime import Config, Process

_NAMESPACES = ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
_IPC_SYSCTLS = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
                "kernel.shmmni", "kernel.shm_rmid_forced")


def check_config(config: Config) -> None:
    """Runs all checks. InvalidArgument or Unsupported from the first that objects."""
    for check in (_version, _process, _root, _namespaces, _time_offsets, _hostname,
                  _user_namespace, _sysctls, _hooks, _net_devices, _unsupported):
        check(config)


def _version(config: Config) -> None:
    major = config.oci_version.split(".")[0]
    if major not in ("1", ""):
        raise InvalidArgument(f'unsupported ociVersion "{config.oci_version}"')


def _root(config: Config) -> None:
    if config.root is None or not config.root.path:
        raise InvalidArgument("root must be specified")


def _process(config: Config) -> None:
    if config.process is None:
        raise InvalidArgument("process property must not be empty")
    check_process(config.process)


def check_process(process: Process) -> None:
    """A container's own process, or a further one. InvalidArgument."""
    if not process.args:
        raise InvalidArgument("args must not be empty")
    if not process.cwd:
        raise InvalidArgument("Cwd property must not be empty")
    if not process.cwd.startswith("/"):
        raise InvalidArgument("Cwd must be an absolute path")
    for text in (*process.args, *process.env, process.cwd):
        if "\0" in text:
            raise InvalidArgument("args, env and cwd must not contain NUL bytes")
    if process.exec_affinity is not None:
        from wherry.runtime.scheduling import parse_list

        for word in (process.exec_affinity.initial, process.exec_affinity.final):
            parse_list(word)


def _namespaces(config: Config) -> None:
    seen: set[str] = set()
    for namespace in config.linux.namespaces:
        if namespace.type not in _NAMESPACES:
            raise InvalidArgument(f'namespace {{"{namespace.type}" "{namespace.path}"}} does not exist')
        if namespace.type in seen:
            raise InvalidArgument(f'malformed spec file: duplicated ns {{"{namespace.type}" "{namespace.path}"}}')
        if namespace.path and not namespace.path.startswith("/"):
            raise InvalidArgument(f'path for namespace "{namespace.type}" must be absolute: "{namespace.path}"')
        seen.add(namespace.type)
    if "mount" not in seen and (config.linux.masked_paths or config.linux.readonly_paths):
        raise InvalidArgument("unable to restrict sys entries without a private MNT namespace")


def _time_offsets(config: Config) -> None:
    offsets = config.linux.time_offsets
    if not offsets:
        return
    time = config.linux.namespace("time")
    if time is None:
        raise InvalidArgument("time namespace offsets specified, but time namespace isn't enabled in the config")
    if time.path:
        raise InvalidArgument("time namespace enabled, but both namespace path and time offsets specified -- "
                              "you may only provide one")
    for clock, _, nanoseconds in offsets:
        if clock not in ("monotonic", "boottime"):
            raise InvalidArgument(f'timeOffsets: there is no clock "{clock}" (boottime, monotonic)')
        if nanoseconds >= 1_000_000_000:
            raise InvalidArgument(f'timeOffsets: nanosecs of "{clock}" must be less than a second')


def _hostname(config: Config) -> None:
    if config.linux.namespace("uts") is None:
        if config.hostname:
            raise InvalidArgument("unable to set hostname without a private UTS namespace")
        if config.domainname:
            raise InvalidArgument("unable to set domainname without a private UTS namespace")


def _user_namespace(config: Config) -> None:
    """Mappings without a user namespace say nothing, as with runc and crun; half of them would leave the other ids unmapped."""
    user = config.linux.namespace("user")
    if user is None or user.path:
        return
    for kind, mappings in (("uid", config.linux.uid_mappings), ("gid", config.linux.gid_mappings)):
        if not mappings:
            raise InvalidArgument(f"User namespaces enabled, but no {kind} mappings found.")


def _sysctls(config: Config) -> None:
    """Only what belongs to a namespace of the container may be set: anything else would change the host."""
    for name in config.linux.sysctl:
        key = name.replace("/", ".")
        if ".." in name or key.startswith("."):
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')
        if key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
            needed = "ipc"
        elif key.startswith("net."):
            needed = "network"
        elif key in ("kernel.domainname", "kernel.hostname"):
            needed = "uts"
            if key == "kernel.hostname":
                raise InvalidArgument(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
        else:
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')
        if config.linux.namespace(needed) is None:
            network = needed == "network"  # runc has two ways to say it
            where = "not allowed in host network namespace" if network else f"is not allowed in the hosts {needed} namespace"
            raise InvalidArgument(f'sysctl "{name}" {where}')


def _hooks(config: Config) -> None:
    for name, hooks in config.hooks.as_dict().items():
        first, *others = name.split("_")
        name = first + "".join(word.title() for word in others)
        for hook in hooks:
            if not hook.path.startswith("/"):
                raise InvalidArgument(f'hook {name}: path "{hook.path}" must be absolute')
            if hook.timeout is not None and hook.timeout <= 0:
                raise InvalidArgument(f'hook {name}: timeout of "{hook.path}" must be greater than zero')


def _net_devices(config: Config) -> None:
    devices = config.linux.net_devices
    network = config.linux.namespace("network")
    if devices and (network is None or network.path):
        raise InvalidArgument("unable to move network devices without a private NET namespace")
    for name in (*devices, *devices.values()):
        if not name or len(name) > 15 or name in (".", "..") or any(char in "/:" or char.isspace() for char in name):
            raise InvalidArgument(f"invalid network device name {name!r}")
    if len(set(devices.values())) < len(devices):
        raise InvalidArgument("netDevices: two of them would have the same name in the container")


def _unsupported(config: Config) -> None:
    if "linux.intelRdt" in config.linux.unsupported:  # in runc's words for a machine without it
        raise Unsupported("intelRdt is specified in config, but Intel RDT is not supported or enabled")
    for name in config.linux.unsupported:
        raise Unsupported(f"{name} is not supported")
