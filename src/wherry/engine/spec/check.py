"""What a container is refused for at create, before anything is changed: named checks, each given everything, none changing it.

InvalidArgument, in dockerd's words, for what makes no sense; Unsupported, naming the field, for what is not done. What is not
looked at here is looked at by the room that does it: mounts (`engine.mounts`), log options (`engine.logconfig`), networks and
ports (`engine.connections`), restart policies (`engine.restart`), names, images.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from wherry.engine.spec.capabilities import normalize
from wherry.engine.spec.devices import parse_rule
from wherry.engine.spec.facts import LIMITS, Facts
from wherry.engine.spec.limits import check_limits
from wherry.engine.spec.mounts import tmpfs_options
from wherry.engine.spec.security import check_security
from wherry.errors import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from wherry.engine.model import ContainerConfig, HostConfig, NetworkingConfig

__all__ = ["Facts", "check_create"]

_MILLISECOND = 1_000_000  # nanoseconds
_IPC_SYSCTLS = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
                "kernel.shmmni", "kernel.shm_rmid_forced")


def check_create(
    config: ContainerConfig, host: HostConfig, networking: NetworkingConfig | None, facts: Facts,
) -> tuple[str, ...]:
    """Refuses or gives the warnings for the client. `config` has the image's settings merged in."""
    for check in (_config, _health, _not_done, _modes, _shared_network, _extra_hosts, _security, _sysctls, _ulimits, _devices,
                  _tmpfs, _numbers):
        check(config, host, networking, facts)
    warnings = check_limits(host, facts)
    if host.network_mode == "host" and host.port_bindings:
        warnings = (*warnings, "Published ports are discarded when using host network mode")
    if host.privileged and not set(facts.capabilities) >= {"CAP_SYS_ADMIN"}:
        return (*warnings, "This machine does not let wherry hand on CAP_SYS_ADMIN: the container is less than privileged.")
    return warnings


def _config(config: ContainerConfig, _host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path")
    for text in config.env or ():
        if not text or text.startswith("="):
            raise InvalidArgument(f"invalid environment variable: {text}")
    if config.stop_signal:
        from wherry.engine.lifecycle import signal_number

        signal_number(config.stop_signal)
    for name in (config.hostname, config.domainname):
        if "\0" in name or "\n" in name:
            raise InvalidArgument(f"invalid hostname: {name!r}")


def _health(config: ContainerConfig, _host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    health = config.healthcheck
    if health is None:
        return
    for name, value in (("Interval", health.interval), ("Timeout", health.timeout), ("StartPeriod", health.start_period),
                        ("StartInterval", health.start_interval)):
        if value != 0 and value < _MILLISECOND:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def _not_done(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    """Fields that have no effect here are accepted at their zero value and refused otherwise."""
    if host.isolation not in ("", "default"):
        raise InvalidArgument(f"Invalid isolation: \"{host.isolation}\" - linux only supports 'default'")
    for request in host.device_requests or ():
        wanted = "[" + " ".join("[" + " ".join(names or ()) + "]" for names in request.capabilities or ()) + "]"
        raise Unsupported(f'could not select device driver "{request.driver}" with capabilities: {wanted}')
    if host.storage_opt:
        raise Unsupported("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
    for name, value in (("HostConfig.CpuCount", host.cpu_count), ("HostConfig.CpuPercent", host.cpu_percent),
                        ("HostConfig.IOMaximumIOps", host.io_maximum_iops),
                        ("HostConfig.IOMaximumBandwidth", host.io_maximum_bandwidth), ("HostConfig.Cgroup", host.cgroup)):
        if value:
            raise Unsupported(f"{name} is not supported")


def _modes(config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    """The words of the namespace modes."""
    kind, _, name = host.ipc_mode.partition(":")
    if host.ipc_mode not in ("", "none", "private", "shareable", "host") and not (kind == "container" and name):
        raise InvalidArgument(f"invalid IPC mode: {host.ipc_mode}")
    kind, _, name = host.pid_mode.partition(":")
    if host.pid_mode not in ("", "host") and not (kind == "container" and name):
        raise InvalidArgument(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host.uts_mode}")
    if host.uts_mode == "host" and config.hostname:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if host.userns_mode not in ("", "host"):
        raise InvalidArgument(f"invalid userns mode: {host.userns_mode}")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    kind, _, name = host.network_mode.partition(":")
    if kind == "container" and not name:
        raise InvalidArgument("invalid network mode: invalid container format container:<name|id>")


def _shared_network(config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    """Who shares another container's network has its names, ports and resolver too."""
    if not host.network_mode.startswith("container:"):
        return
    for given, message in (
        (config.hostname, "hostname and the network mode"), (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (config.mac_address, "mac-address and the network mode"),
        (host.port_bindings or host.publish_all_ports, "port publishing and the container type network mode"),
        (config.exposed_ports, "port exposing and the container type network mode"),
    ):
        if given:
            raise InvalidArgument(f"conflicting options: {message}")


def _extra_hosts(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    for text in host.extra_hosts or ():
        name, colon, address = text.partition(":")
        if not name or not colon:
            raise InvalidArgument(f'bad format for add-host: "{text}"')
        if address != "host-gateway":
            try:
                ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
            except ValueError:
                raise InvalidArgument(f'invalid IP address in add-host: "{address}"') from None


def _security(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, facts: Facts) -> None:
    normalize(host.cap_add, "CapAdd")
    normalize(host.cap_drop, "CapDrop")
    check_security(host, facts)
    for name in ("masked_paths", "readonly_paths"):
        for path in getattr(host, name) or ():
            if not path.startswith("/"):
                raise InvalidArgument(f"invalid {name.replace('_', ' ')}: '{path}' is not an absolute path")


def _sysctls(config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    """Only what a namespace of the container's own has; a sysctl of a shared one would be the host's or another's."""
    for name in host.sysctls or {}:
        if name.startswith("net."):
            if host.network_mode == "host":
                raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
            if host.network_mode.startswith("container:"):
                raise InvalidArgument(f'sysctl "{name}" not allowed: the network namespace is another container\'s')
        elif name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if host.ipc_mode == "host":
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
            if host.ipc_mode.startswith("container:"):
                raise InvalidArgument(f'sysctl "{name}" not allowed: the ipc namespace is another container\'s')
        elif name == "kernel.domainname":
            if host.uts_mode == "host":
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts uts namespace')
            if config.domainname:
                raise InvalidArgument(f'sysctl "{name}" and the domain name cannot both be set')
        else:
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')


def _ulimits(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, facts: Facts) -> None:
    for one in host.ulimits or ():
        if one.name not in LIMITS:
            raise InvalidArgument(f"invalid ulimit type: {one.name}")
        if one.hard != -1 and (one.soft > one.hard or one.soft == -1):
            raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {one.soft} > {one.hard}")
        own = facts.hard_limits.get(one.name, -1)
        if own != -1 and (one.hard > own or one.hard == -1) and "CAP_SYS_RESOURCE" not in facts.capabilities:
            raise InvalidArgument(f"ulimit {one.name}: the hard limit {one.hard} is above the daemon's own hard limit {own}, and "
                                  "this machine does not let it be raised (CAP_SYS_RESOURCE)")


def _devices(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    for text in host.device_cgroup_rules or ():
        parse_rule(text)
    for one in host.devices or ():
        if not one.path_on_host.startswith("/"):
            raise InvalidArgument(f'invalid device: "{one.path_on_host}" is not an absolute path')
        if set(one.cgroup_permissions) - set("rwm"):
            raise InvalidArgument(f'invalid device mode: {one.cgroup_permissions}')
        if one.path_in_container and not one.path_in_container.startswith("/"):
            raise InvalidArgument(f'invalid device: "{one.path_in_container}" is not an absolute path')


def _tmpfs(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    for destination, options in (host.tmpfs or {}).items():
        if not destination.startswith("/"):
            raise InvalidArgument(f"invalid mount path: '{destination}' mount path must be absolute")
        if destination.strip("/") == "":
            raise InvalidArgument("invalid specification: destination can't be '/'")
        tmpfs_options(options)


def _numbers(_config: ContainerConfig, host: HostConfig, _networking: NetworkingConfig | None, _facts: Facts) -> None:
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    for name in host.group_add or ():
        if not name:
            raise InvalidArgument("Unable to find group : no name given")
