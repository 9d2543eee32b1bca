"""What the flags mean: one value for the daemon's own affairs, one for the engine. Pure; every wrong value is named."""

from __future__ import annotations

import ipaddress
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.api.containerd.pace import Pace
from wherry.cli.values import duration
from wherry.engine.options import ContainerdOptions, EngineOptions, NetworkOptions, Runtime, check_cgroup_parent
from wherry.errors import InvalidArgument, Unsupported
from wherry.proto import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.daemon.config import Values

BUILTIN_RUNTIME = "runc"
"""The runtime in this house goes by the name that dockerd knows."""

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


class Places(msgspec.Struct, frozen=True):
    """Where a daemon lives when nothing else is said."""

    socket: str
    data_root: str
    run_folder: str
    pid_file: str
    config_file: str
    bridge: str
    cgroup_parent: str
    group: str


OWN = Places("/run/wherry.sock", "/var/lib/wherry", "/run/wherry", "/run/wherry/wherryd.pid", "/etc/wherry/daemon.json",
             "wherry0", "/wherry", "wherry")
DOCKERS = Places("/var/run/docker.sock", "/var/lib/docker", "/var/run/docker", "/var/run/docker.pid",
                 "/etc/docker/daemon.json", "docker0", "/docker", "docker")


class Tls(msgspec.Struct, frozen=True):
    """Certificates for TCP. `verify`: clients need one signed by `ca`."""

    certificate: str
    key: str
    ca: str
    verify: bool


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a daemon. `group` is empty where none was asked for: then the default one is used if it exists."""

    places: Places
    hosts: tuple[str, ...]
    group: str
    pid_file: str
    debug: bool
    log_level: str
    log_format: str
    tls: Tls | None
    on_demand_s: int | None
    oom_score_adjust: int
    docker_api: bool
    containerd_address: str
    """Path of the socket of containerd's API; empty: it is not served."""
    pace: Pace
    environment: dict[str, str]
    engine: EngineOptions


def places_of(values: Values) -> Places:
    """Docker's places with `--drop-in`, else our own."""
    return DOCKERS if values.get("drop-in") else OWN


def settings(values: Values, cgroup_driver: str = "cgroupfs") -> Settings:
    """The values' meaning. `cgroup_driver` is this machine's, for when none is asked for.

    Raises InvalidArgument and Unsupported in dockerd's words, naming what is wrong.
    """
    places = places_of(values)
    level = str(values.get("log-level", "info"))
    if level not in LOG_LEVELS and level != "warning":
        raise InvalidArgument(f"unable to parse logging level: {level}")
    log_format = str(values.get("log-format", "text"))
    if log_format not in ("text", "json"):
        raise InvalidArgument(f"invalid log format: {log_format}")
    if values.get("storage-driver", "overlay2") not in ("", "overlay2"):
        raise Unsupported(f"the storage driver \"{values['storage-driver']}\" is not supported: only overlay2 is")
    for name in ("max-concurrent-downloads", "max-concurrent-uploads"):
        if values.get(name, 1) < 1:
            raise InvalidArgument(f"invalid {name.replace('-', ' ')}: {values[name]}")
    if values.get("mtu", 1500) < 0:
        raise InvalidArgument(f"invalid default MTU: {values['mtu']}")
    proxies = {name.replace("-", "_").upper(): str(values[name]) for name in ("http-proxy", "https-proxy", "no-proxy")
               if values.get(name)}
    return Settings(
        places=places,
        hosts=tuple(_host(text, places) for text in values.get("host", ())) or (f"unix://{places.socket}",),
        group=str(values.get("group", "")),
        pid_file=str(values.get("pidfile") or places.pid_file),
        debug=bool(values.get("debug")),
        log_level="warn" if level == "warning" else level,
        log_format=log_format,
        tls=_tls(values),
        on_demand_s=values.get("on-demand-seconds", 600) if values.get("on-demand") else None,
        oom_score_adjust=values.get("oom-score-adjust", 0),
        environment=proxies,
        docker_api=not values.get("no-docker-api"),
        containerd_address=_containerd_address(values, places),
        pace=_pace(values),
        engine=_engine(values, places, cgroup_driver),
    )


def _containerd_address(values: Values, places: Places) -> str:
    """As asked for; else beside our other sockets where the libraries are installed. Raises InvalidArgument."""
    address = values.get("containerd-address")
    if address is None:
        wanted = find_spec("grpc") is not None and not values.get("on-demand")  # that one is for the command line
        address = f"{_absolute(values, 'exec-root', places.run_folder)}/containerd.sock" if wanted else ""
    if not address and values.get("no-docker-api"):
        raise InvalidArgument("--no-docker-api leaves nothing to serve: containerd's API has no address",
                              hint="pip install 'wherry[containerd]', or give --containerd-address")
    return os.path.abspath(str(address).removeprefix("unix://")) if address else ""


def _pace(values: Values) -> Pace:
    """The settings of garbage collection: moments as Go writes durations. Raises InvalidArgument, naming the setting."""
    found: dict[str, Any] = {}
    for name, text in values.get("containerd-gc", ()):
        try:
            match name:
                case "pause_threshold":
                    found[name] = float(text)
                    is_valid = 0 <= found[name] <= 0.5
                case "deletion_threshold" | "mutation_threshold":
                    found[name] = int(text)
                    is_valid = found[name] >= 0
                case "schedule_delay" | "startup_delay":
                    found[f"{name}_s"] = duration(text) / 1e9
                    is_valid = found[f"{name}_s"] >= 0
                case _:
                    raise InvalidArgument(f"unknown setting of garbage collection: {name}")
        except ValueError:
            is_valid = False
        if not is_valid:
            raise InvalidArgument(f"invalid setting of garbage collection: {name}={text}")
    return Pace(**found)


def _containerd(values: Values) -> ContainerdOptions:
    """The containerd that is to run containers, if any. Raises InvalidArgument."""
    address = str(values.get("containerd", "")).removeprefix("unix://")
    namespace = str(values.get("containerd-namespace") or "moby")
    if address and not os.path.isabs(address):
        raise InvalidArgument(f"invalid address of a containerd: {address}: must be the absolute path of a socket")
    if address:
        try:
            require()
        except Unsupported as error:
            raise Unsupported(f"--containerd: {error.message}", hint=error.hint) from error
    if address and values.get("no-docker-api"):
        raise InvalidArgument("--containerd runs the containers of Docker's API, which --no-docker-api does not serve")
    return ContainerdOptions(address=address, namespace=namespace)


def _engine(values: Values, places: Places, cgroup_driver: str) -> EngineOptions:
    driver = values.get("log-driver", "json-file")
    if driver not in ("json-file", "none"):
        raise Unsupported(f"the log driver \"{driver}\" is not supported: json-file and none are")
    for text in values.get("exec-opt", ()):
        key, _, value = text.partition("=")
        if key.strip().lower() != "native.cgroupdriver":
            raise InvalidArgument(f"invalid exec option: {text}")
        if value not in ("cgroupfs", "systemd"):
            raise InvalidArgument(f"invalid native.cgroupdriver: {value}: must be cgroupfs or systemd")
        cgroup_driver = value
    cgroup_parent = str(values.get("cgroup-parent") or "")
    check_cgroup_parent(cgroup_parent, cgroup_driver)
    _one_of(values, "default-cgroupns-mode", ("", "host", "private"), "Default cgroup namespace mode ({}) is invalid. "
            "Use \"host\" or \"private\"")
    _one_of(values, "default-ipc-mode", ("private", "shareable"), "IPC mode is not supported: {}")
    containerd = _containerd(values)
    runtimes = _runtimes(values.get("add-runtime", {}))
    if containerd.address and any(runtime.arguments for runtime in runtimes.values()):
        raise Unsupported("runtimeArgs are not supported with --containerd: its shim runs a program without any")
    default_runtime = str(values.get("default-runtime") or BUILTIN_RUNTIME)
    if default_runtime not in runtimes and default_runtime != BUILTIN_RUNTIME:
        raise InvalidArgument(f"specified default runtime '{default_runtime}' does not exist")
    return EngineOptions(
        data_root=_absolute(values, "data-root", places.data_root),
        run_folder=_absolute(values, "exec-root", places.run_folder),
        cgroup_parent=cgroup_parent or ("system.slice" if cgroup_driver == "systemd" else places.cgroup_parent),
        cgroup_driver=cgroup_driver,
        scope_prefix=places.cgroup_parent.strip("/"),
        cgroupns_mode=str(values.get("default-cgroupns-mode", "")),
        default_runtime=default_runtime,
        runtimes={BUILTIN_RUNTIME: Runtime(BUILTIN_RUNTIME if containerd.address else ""), **runtimes},
        containerd=containerd,
        init_path=str(values.get("init-path", "")),
        init=bool(values.get("init")),
        live_restore=bool(values.get("live-restore")),
        shutdown_timeout_s=values.get("shutdown-timeout", 15),
        default_shm_size_bytes=values.get("default-shm-size", 64 << 20),
        default_ipc_mode=str(values.get("default-ipc-mode", "private")),
        log_driver=driver,
        log_options=dict(values.get("log-opt", ())),
        default_ulimits=_ulimits(values.get("default-ulimit", {})),
        seccomp_profile=str(values.get("seccomp-profile", "")),
        no_new_privileges=bool(values.get("no-new-privileges")),
        dns=tuple(_address(text) for text in values.get("dns", ())),
        dns_options=tuple(values.get("dns-opt", ())),
        dns_search=tuple(values.get("dns-search", ())),
        host_gateway_ip=_address(values["host-gateway-ip"]) if values.get("host-gateway-ip") else "",
        labels=tuple(_label(text) for text in values.get("label", ())),
        insecure_registries=tuple(text.removeprefix("http://").removeprefix("https://").rstrip("/")
                                  for text in values.get("insecure-registry", ())),
        registry_mirrors=tuple(_mirror(text) for text in values.get("registry-mirror", ())),
        max_concurrent_downloads=values.get("max-concurrent-downloads", 3),
        max_concurrent_uploads=values.get("max-concurrent-uploads", 5),
        network=_network(values, places),
    )


def _network(values: Values, places: Places) -> NetworkOptions:
    if (backend := values.get("firewall-backend", "nftables")) not in ("", "nftables"):
        raise Unsupported(f"the firewall backend \"{backend}\" is not supported: only nftables is")
    if values.get("bip") and values.get("bridge"):
        raise InvalidArgument("You specified -b & --bip, mutually exclusive options. Please specify only one")
    if values.get("bip"):
        try:
            ipaddress.IPv4Interface(values["bip"])
        except ValueError as error:
            raise InvalidArgument(f"invalid CIDR address: {values['bip']}") from error
    if values.get("fixed-cidr"):
        try:
            ipaddress.IPv4Network(values["fixed-cidr"], strict=False)
        except ValueError as error:
            raise InvalidArgument(f"invalid CIDR address: {values['fixed-cidr']}") from error
    if values.get("fixed-cidr-v6"):
        try:
            ipaddress.IPv6Network(values["fixed-cidr-v6"], strict=False)
        except ValueError as error:
            raise InvalidArgument(f"invalid CIDR address: {values['fixed-cidr-v6']}") from error
    table = "wherry" if places is OWN else "wherry-docker"
    return NetworkOptions(
        bridge=str(values.get("bridge") or places.bridge), bip=str(values.get("bip", "")),
        fixed_cidr=str(values.get("fixed-cidr", "")), ipv6=values.get("ipv6", False),
        fixed_cidr_v6=str(values.get("fixed-cidr-v6", "")),
        default_gateway=_address(values["default-gateway"]) if values.get("default-gateway") else "",
        default_gateway_v6=_address(values["default-gateway-v6"]) if values.get("default-gateway-v6") else "",
        mtu=values.get("mtu") or 1500, icc=values.get("icc", True), ip_forward=values.get("ip-forward", True),
        ip_masq=values.get("ip-masq", True), iptables=values.get("iptables", True), ip6tables=values.get("ip6tables", False),
        firewall_backend="nftables", table=table,
        userland_proxy=values.get("userland-proxy", True), userland_proxy_path=str(values.get("userland-proxy-path", "")),
        default_address_pools=_pools(values.get("default-address-pool", ())), ip=_address(values.get("ip", "0.0.0.0")))


def _tls(values: Values) -> Tls | None:
    if not values.get("tls") and not values.get("tlsverify"):
        if any(values.get(name) for name in ("tlscacert", "tlscert", "tlskey")) and "tls" not in values:
            # As dockerd: certificates that were given mean that TLS is wanted.
            return _certificates(values, verify=False)
        return None
    return _certificates(values, verify=bool(values.get("tlsverify")))


def _certificates(values: Values, *, verify: bool) -> Tls:
    folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    return Tls(str(values.get("tlscert") or f"{folder}/cert.pem"), str(values.get("tlskey") or f"{folder}/key.pem"),
               str(values.get("tlscacert") or f"{folder}/ca.pem"), verify)


def _host(text: str, places: Places) -> str:
    """A socket's address in full. Raises InvalidArgument for one of no known form."""
    text = text.strip()
    if text in ("", "unix://"):
        return f"unix://{places.socket}"
    kind, colon, rest = text.partition("://")
    if not colon:
        kind, rest = "tcp", text
    if kind in ("unix", "fd"):
        return f"{kind}://{rest}"
    if kind != "tcp":
        raise InvalidArgument(f"invalid bind address ({text}): unsupported proto '{kind}'")
    return f"tcp://{rest}"


def _runtimes(given: Any) -> dict[str, Runtime]:
    """`name=path` of the flag, or `{"name": {"path": …, "runtimeArgs": […]}}` of the file."""
    found: dict[str, Runtime] = {}
    if isinstance(given, list):
        given = {name: {"path": path} for name, path in given}
    for name, runtime in given.items():
        if name == BUILTIN_RUNTIME:
            raise InvalidArgument(f"runtime name '{name}' is reserved")
        if not isinstance(runtime, dict) or not set(runtime) <= {"path", "runtimeArgs"}:
            raise Unsupported(f"the runtime '{name}' has something other than a path and runtimeArgs, which is not supported")
        if not runtime.get("path"):
            raise InvalidArgument(f"runtime '{name}' has no path")
        found[name] = Runtime(str(runtime["path"]), tuple(str(one) for one in runtime.get("runtimeArgs") or ()))
    return found


def _ulimits(given: Any) -> dict[str, tuple[int, int]]:
    """`name=soft[:hard]` of the flag, or `{"name": {"Name": …, "Soft": …, "Hard": …}}` of the file."""
    found: dict[str, tuple[int, int]] = {}
    if isinstance(given, list):
        for text in given:
            name, _, limits = text.partition("=")
            soft, _, hard = limits.partition(":")
            try:
                found[name] = (int(soft), int(hard or soft))
            except ValueError as error:
                raise InvalidArgument(f"invalid ulimit argument: {text}") from error
    else:
        for name, limit in given.items():
            found[name] = (int(limit.get("Soft", 0)), int(limit.get("Hard", 0)))
    for name, (soft, hard) in found.items():
        if hard != -1 and (soft > hard or soft == -1):
            raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard} ({name})")
    return found


def _pools(given: Any) -> tuple[tuple[str, int], ...]:
    """`base=172.30.0.0/16,size=24` of the flag, or `[{"base": …, "size": …}]` of the file."""
    found = []
    for one in given:
        fields: Mapping[str, Any] = one if isinstance(one, dict) else dict(
            part.partition("=")[::2] for part in one.split(","))
        try:
            base, size = ipaddress.ip_network(str(fields["base"])), int(fields["size"])
        except (KeyError, ValueError) as error:
            raise InvalidArgument(f"invalid default address pool: {one}") from error
        if size < base.prefixlen or size > base.max_prefixlen:
            raise InvalidArgument(f"invalid pools size: {size}")
        found.append((str(base), size))
    return tuple(found)


def _label(text: str) -> str:
    if "=" not in text or text.startswith("="):
        raise InvalidArgument(f"bad attribute format: {text}")
    return text


def _mirror(text: str) -> str:
    scheme, colon, rest = text.partition("://")
    if not colon or scheme not in ("http", "https") or not rest or "/" in rest.rstrip("/") or "?" in rest or "#" in rest:
        raise InvalidArgument(f"invalid mirror: \"{text}\" is no URL of a registry's root, as https://host")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise InvalidArgument(f"{text} is not an ip address") from None


def _absolute(values: Values, name: str, default: str) -> str:
    path = str(values.get(name) or default)
    return os.path.abspath(path)


def _one_of(values: Values, name: str, allowed: tuple[str, ...], message: str) -> None:
    if name in values and values[name] not in allowed:
        raise InvalidArgument(message.format(values[name]))
