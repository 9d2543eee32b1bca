"""From the options of `run` and `create` to the body of POST /containers/create, field for field as docker sends it."""

from __future__ import annotations

from wherry.cli.command import CommandFailed
from wherry.cli.create.files import labels, variables
from wherry.cli.create.mounts import parse_volume
from wherry.cli.create.networks import networking
from wherry.cli.create.ports import expose, published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from wherry.cli.flags import Options

    Body = dict[str, Any]


def refuse(message: str) -> CommandFailed:
    """An error of the options, exit code 125."""
    return CommandFailed(message, 125, hinted=True)


def container_body(
    options: Options, arguments: Sequence[str], environment: Mapping[str, str], proxies: Mapping[str, str], *, run: bool
) -> Body:
    """The body; `arguments` are the image and the command. Raises CommandFailed with docker's words."""
    try:
        exposed, bindings = published(options.many("publish"))
        exposed.update(expose(options.many("expose")))
        volumes, binds = _volumes(options)
    except ValueError as wrong:
        raise refuse(str(wrong)) from None
    swappiness = options.value("memory-swappiness")
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise refuse(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    stdin, stdout, stderr = attached(options, run=run)
    for name, word in (("pid", "PID"), ("uts", "UTS"), ("userns", "USER"), ("cgroupns", "CGROUP")):
        if not _mode_fits(name, options.text(name)):
            raise refuse(f"--{name}: invalid {word} mode")
    health = healthcheck(options)
    env = variables(options.many("env-file"), options.many("env"), environment)
    named = {one.partition("=")[0] for one in env}
    env += [f"{name}={value}" for name, value in proxies.items() if name not in named]
    entrypoint = [options.text("entrypoint")] if options.text("entrypoint") else [""] if options.given("entrypoint") else None
    interactive = options.on("interactive")
    mode, endpoints = networking(options)
    body: Body = {
        "Hostname": options.text("hostname"),
        "Domainname": options.text("domainname"),
        "User": options.text("user"),
        "AttachStdin": stdin,
        "AttachStdout": stdout,
        "AttachStderr": stderr,
    }
    if exposed:
        body["ExposedPorts"] = dict(sorted(exposed.items()))
    body.update(
        {
            "Tty": options.on("tty"),
            "OpenStdin": interactive,
            "StdinOnce": interactive and stdin,
            "Env": env or None,
            "Cmd": list(arguments[1:]) or None,
        }
    )
    if health:
        body["Healthcheck"] = health
    body.update(
        {
            "Image": arguments[0],
            "Volumes": {volume: {} for volume in sorted(volumes)},
            "WorkingDir": options.text("workdir"),
            "Entrypoint": entrypoint,
        }
    )
    body.update({"OnBuild": None, "Labels": dict(sorted(labels(options.many("label-file"), options.many("label")).items()))})
    if options.text("stop-signal"):
        body["StopSignal"] = options.text("stop-signal")
    if options.given("stop-timeout"):
        body["StopTimeout"] = options.number("stop-timeout")
    body["HostConfig"] = host_config(options, binds, bindings, mode)
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def attached(options: Options, *, run: bool) -> tuple[bool, bool, bool]:
    """Which of stdin, stdout and stderr are attached."""
    given = options.many("attach")
    detached = run and options.on("detach")
    if given:
        stdin = "stdin" in given
        if stdin and options.on("interactive"):
            stdin = True
        return (False, False, False) if detached else (stdin, "stdout" in given, "stderr" in given)
    if detached:
        return False, False, False
    return options.on("interactive"), True, True


def _volumes(options: Options) -> tuple[list[str], list[str] | None]:
    volumes: list[str] = []
    binds: list[str] = []
    for text in dict.fromkeys(options.many("volume")):
        kind, value = parse_volume(text)
        (binds if kind == "bind" else volumes).append(value)
    return volumes, binds or None


def _mode_fits(name: str, mode: str) -> bool:
    if name == "cgroupns":
        return mode in ("", "host", "private")
    if name == "pid" and mode.startswith("container:"):
        return mode != "container:"
    return mode in ("", "host")


def healthcheck(options: Options) -> dict[str, Any] | None:
    """The Healthcheck, None when nothing was said about it."""
    names = ("health-cmd", "health-interval", "health-timeout", "health-start-period", "health-retries", "health-start-interval")
    some = any(options.value(name) for name in names)
    if options.on("no-healthcheck"):
        if some:
            raise refuse("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not some:
        return None
    for name in ("health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval"):
        if options.number(name) < 0:
            raise refuse(f"--{name} cannot be negative")
    found: dict[str, Any] = {"Test": ["CMD-SHELL", options.text("health-cmd")]} if options.text("health-cmd") else {}
    for key, name in (
        ("Interval", "health-interval"),
        ("Timeout", "health-timeout"),
        ("StartPeriod", "health-start-period"),
        ("StartInterval", "health-start-interval"),
        ("Retries", "health-retries"),
    ):
        if options.number(name):
            found[key] = options.number(name)
    return found


def host_config(options: Options, binds: list[str] | None, bindings: dict[str, Any], mode: str) -> dict[str, Any]:
    """The HostConfig in the order of its fields in Go."""
    policy = restart_policy(options)
    if options.on("rm") and policy["Name"] != "no":
        raise refuse("conflicting options: cannot specify both --restart and --rm")
    options_of_log = pairs(options.many("log-opt"))
    driver = options.text("log-driver")
    if driver == "none" and options_of_log:
        raise refuse(f"invalid logging opts for driver {driver}")
    added, dropped = capabilities(options.many("cap-add"), options.many("cap-drop"))
    security, masked, readonly = security_options(options.many("security-opt"))
    config: dict[str, Any] = {
        "Binds": binds,
        "ContainerIDFile": options.text("cidfile"),
        "LogConfig": {"Type": driver, "Config": dict(sorted(options_of_log.items()))},
        "NetworkMode": mode,
        "PortBindings": dict(sorted(bindings.items())),
        "RestartPolicy": policy,
        "AutoRemove": options.on("rm"),
        "VolumeDriver": options.text("volume-driver"),
        "VolumesFrom": options.many("volumes-from") or None,
        "ConsoleSize": [0, 0],
    }
    if options.many("annotation"):
        config["Annotations"] = dict(sorted(options.pairs("annotation").items()))
    config.update(
        {
            "CapAdd": added,
            "CapDrop": dropped,
            "CgroupnsMode": options.text("cgroupns"),
            "Dns": unique(options.many("dns")),
            "DnsOptions": unique(options.many("dns-option")),
            "DnsSearch": unique(options.many("dns-search")),
            "ExtraHosts": options.many("add-host") or None,
            "GroupAdd": options.many("group-add") or None,
            "IpcMode": options.text("ipc"),
            "Cgroup": "",
            "Links": options.many("link") or None,
            "OomScoreAdj": options.number("oom-score-adj"),
            "PidMode": options.text("pid"),
            "Privileged": options.on("privileged"),
            "PublishAllPorts": options.on("publish-all"),
            "ReadonlyRootfs": options.on("read-only"),
            "SecurityOpt": security,
        }
    )
    if options.many("storage-opt"):
        config["StorageOpt"] = storage_options(options.many("storage-opt"))
    if options.many("tmpfs"):
        config["Tmpfs"] = dict(sorted(tuple(one.partition(":")[::2]) for one in options.many("tmpfs")))
    config.update({"UTSMode": options.text("uts"), "UsernsMode": options.text("userns"), "ShmSize": options.number("shm-size")})
    if options.many("sysctl"):
        config["Sysctls"] = dict(sorted(options.pairs("sysctl").items()))
    if options.text("runtime"):
        config["Runtime"] = options.text("runtime")
    config["Isolation"] = options.text("isolation")
    config.update(resources(options))
    if options.many("mount"):
        config["Mounts"] = options.many("mount")
    config.update({"MaskedPaths": masked, "ReadonlyPaths": readonly})
    if options.given("init"):
        config["Init"] = options.on("init")
    return config


def capabilities(added: Sequence[str], dropped: Sequence[str]) -> tuple[list[str] | None, list[str] | None]:
    """(CapAdd, CapDrop) with full names, in order.

    ALL makes the others of its list superfluous, and what is added is not dropped.
    """
    full = [{_capability(one) for one in names} for names in (added, dropped)]
    add, drop = ({"ALL"} if "ALL" in names else names for names in full)
    return sorted(add) or None, sorted(drop - add) or None


def _capability(name: str) -> str:
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def resources(options: Options) -> dict[str, Any]:
    """The part of HostConfig that `update` has as well, as `create` sends it."""
    devices, cdi = _devices(options.many("device"))
    requests = options.many("gpus") + (
        [{"Driver": "cdi", "Count": 0, "DeviceIDs": cdi, "Capabilities": None, "Options": None}] if cdi else []
    )
    config: dict[str, Any] = {
        "CpuShares": options.number("cpu-shares"),
        "Memory": options.number("memory"),
        "NanoCpus": options.number("cpus"),
        "CgroupParent": options.text("cgroup-parent"),
        "BlkioWeight": options.number("blkio-weight"),
        "BlkioWeightDevice": options.many("blkio-weight-device"),
        "BlkioDeviceReadBps": options.many("device-read-bps"),
        "BlkioDeviceWriteBps": options.many("device-write-bps"),
        "BlkioDeviceReadIOps": options.many("device-read-iops"),
        "BlkioDeviceWriteIOps": options.many("device-write-iops"),
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpuRealtimePeriod": options.number("cpu-rt-period"),
        "CpuRealtimeRuntime": options.number("cpu-rt-runtime"),
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "Devices": devices,
        "DeviceCgroupRules": options.many("device-cgroup-rule") or None,
        "DeviceRequests": requests or None,
    }
    if options.number("kernel-memory"):
        config["KernelMemory"] = options.number("kernel-memory")
    config.update(
        {
            "MemoryReservation": options.number("memory-reservation"),
            "MemorySwap": options.number("memory-swap"),
            "MemorySwappiness": options.value("memory-swappiness"),
            "OomKillDisable": options.on("oom-kill-disable"),
            "PidsLimit": options.number("pids-limit"),
            "Ulimits": sorted({one["Name"]: one for one in options.many("ulimit")}.values(), key=lambda one: one["Name"]),
            "CpuCount": options.number("cpu-count"),
            "CpuPercent": options.number("cpu-percent"),
            "IOMaximumIOps": options.number("io-maxiops"),
            "IOMaximumBandwidth": options.number("io-maxbandwidth"),
        }
    )
    return config


def _devices(values: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    devices, cdi = [], []
    for value in values:
        if _is_cdi(value):
            cdi.append(value)
            continue
        parts = value.split(":")
        if len(parts) > 3:
            raise refuse(f"invalid device specification: {value}")
        outside, inside, mode = parts[0], parts[0], "rwm"
        if len(parts) == 2:
            if _is_mode(parts[1]):
                mode = parts[1]
            else:
                inside = parts[1] or inside
        elif len(parts) == 3:
            inside, mode = parts[1] or inside, parts[2]
            if not _is_mode(mode):
                raise refuse(f"bad mode specified: {mode}")
        if not inside.startswith("/"):
            raise refuse(f"{inside} is not an absolute path")
        devices.append({"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": mode})
    return devices, cdi


def _is_mode(text: str) -> bool:
    return bool(text) and all(one in "rwm" for one in text) and len(set(text)) == len(text)


def _is_cdi(text: str) -> bool:
    """`vendor.com/class=name`."""
    kind, equals, name = text.partition("=")
    vendor, slash, group = kind.partition("/")
    return bool(equals and slash and vendor and group and name) and vendor[0].isalpha() and "/" not in group


def restart_policy(options: Options) -> dict[str, Any]:
    """`name[:count]`."""
    text = options.text("restart")
    if not text:
        return {"Name": "", "MaximumRetryCount": 0}
    name, colon, count = text.partition(":")
    if not name:
        raise refuse("invalid restart policy format: no policy provided before colon")
    if not colon or not count:
        return {"Name": name, "MaximumRetryCount": 0}
    try:
        return {"Name": name, "MaximumRetryCount": int(count)}
    except ValueError:
        raise refuse("invalid restart policy format: maximum retry count must be an integer") from None


def pairs(values: Sequence[str]) -> dict[str, str]:
    """`a=b` as a table; a name alone has an empty value."""
    return dict(one.partition("=")[::2] for one in values)


def unique(values: Sequence[str]) -> list[str]:
    """The values without those that were there before."""
    return list(dict.fromkeys(values))


def storage_options(values: Sequence[str]) -> dict[str, str]:
    """`--storage-opt` as a table."""
    if any("=" not in one for one in values):
        raise refuse("invalid storage option")
    return dict(sorted(pairs(values).items()))


def security_options(values: Sequence[str]) -> tuple[list[str] | None, list[str] | None, list[str] | None]:
    """(SecurityOpt, MaskedPaths, ReadonlyPaths); a seccomp profile is read here and sent whole."""
    found: list[str] = []
    masked: list[str] | None = None
    for value in values:
        key, mark, rest = value.partition("=")
        if not mark:
            key, mark, rest = value.partition(":")
        if value == "systempaths=unconfined":
            masked = []
            continue
        if not mark and value != "no-new-privileges":
            raise refuse(f'Invalid --security-opt: "{value}"')
        if key == "seccomp" and rest not in ("unconfined", "builtin"):
            value = f"seccomp={_seccomp_profile(rest)}"
        found.append(value)
    return (found if values else None), masked, masked


def _seccomp_profile(path: str) -> str:
    from wherry.cli.jsontext import dumps, loads

    try:
        with open(path, "rb") as file:
            return dumps(loads(file.read()))
    except OSError as wrong:
        raise refuse(f"opening seccomp profile ({path}) failed: open {path}: {(wrong.strerror or '').lower()}") from None
    except ValueError as wrong:
        raise refuse(f"compacting json for seccomp profile ({path}) failed: {wrong}") from None
