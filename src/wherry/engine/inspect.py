"""What `GET /containers/{id}/json` shows of a container, in every version of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from wherry.engine import gojson

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.model import ContainerConfig, HostConfig
    from wherry.engine.records import EndpointRecord, MountRecord, Record, State
    from wherry.store.overlaymount import Overlay

Version = tuple[int, int]


def inspect(container: Container, version: Version, overlay: Overlay | None,
            sizes: tuple[int, int] | None, links: tuple[str, ...] | None) -> dict[str, Any]:
    """The container as plain data. `overlay`: its folders where they exist; `sizes`: of its layer and its whole tree.

    `links`: those of the default bridge, as they are shown.
    """
    record = container.record
    if record.state.status == "created":  # the files are there from the first start on
        record = replace(record, resolv_conf_path="", hostname_path="", hosts_path="", log_path="")
    return {
        "Id": record.id,
        "Created": record.created,
        "Path": record.path,
        "Args": list(record.args),
        "State": _state(record.state),
        "Image": record.image,
        "ResolvConfPath": record.resolv_conf_path,
        "HostnamePath": record.hostname_path,
        "HostsPath": record.hosts_path,
        "LogPath": record.log_path,
        "Name": record.name,
        "RestartCount": record.restart_count,
        "Driver": record.driver,
        "Platform": record.os,
        "MountLabel": record.mount_label,
        "ProcessLabel": record.process_label,
        "AppArmorProfile": record.app_armor_profile,
        "ExecIDs": [one.id for one in container.execs.values() if one.exit_code is None] or None,
        "HostConfig": _host_config(replace(container.host, links=links), version),
        "GraphDriver": {"Data": _graph_data(overlay), "Name": record.driver},
        **({"SizeRw": sizes[0], "SizeRootFs": sizes[1]} if sizes else {}),
        "Mounts": [mount_point(one) for one in mounts_in_order(record)],
        "Config": _config(record.config, version),
        "NetworkSettings": _network_settings(record, container.host.network_mode, version),
    }


def mounts_in_order(record: Record) -> list[MountRecord]:
    """A container's mounts by destination."""
    return [one for _, one in sorted((record.mount_points or {}).items())]


def mount_point(mount: MountRecord) -> dict[str, Any]:
    """A mount as answers show it."""
    shown: dict[str, Any] = {"Type": mount.type}
    if mount.name:
        shown["Name"] = mount.name
    shown |= {"Source": mount.source, "Destination": mount.destination}
    if mount.driver:
        shown["Driver"] = mount.driver
    return shown | {"Mode": mount.relabel, "RW": mount.rw, "Propagation": mount.propagation}


def endpoint(record: EndpointRecord, version: Version) -> dict[str, Any]:
    """A place in a network as answers show it; names are shown from 1.44, priorities from 1.48."""
    shown = {
        "IPAMConfig": gojson.plain(record.ipam_config),
        "Links": _list(record.links),
        "Aliases": _list(record.aliases),
        "MacAddress": record.mac_address or record.desired_mac_address,
        "DriverOpts": record.driver_opts,
        "NetworkID": record.network_id,
        "EndpointID": record.endpoint_id,
        "Gateway": record.gateway,
        "IPAddress": record.ip_address,
        "IPPrefixLen": record.ip_prefix_len,
        "IPv6Gateway": record.ipv6_gateway,
        "GlobalIPv6Address": record.global_ipv6_address,
        "GlobalIPv6PrefixLen": record.global_ipv6_prefix_len,
    }
    if version >= (1, 48):
        shown["GwPriority"] = record.gw_priority
    if version >= (1, 44):
        shown["DNSNames"] = _list(record.dns_names)
    return shown


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _state(state: State) -> dict[str, Any]:
    shown = {
        "Status": state.status,
        "Running": state.running,
        "Paused": state.paused,
        "Restarting": state.restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "FinishedAt": state.finished_at,
    }
    if state.health is not None:
        shown["Health"] = gojson.plain(state.health)
    return shown


def _host_config(host: HostConfig, version: Version) -> dict[str, Any]:
    shown: dict[str, Any] = gojson.plain(host)
    if version >= (1, 42):
        shown.pop("KernelMemory", None)
        shown.pop("KernelMemoryTCP", None)
    if version < (1, 43):
        shown.pop("Annotations", None)
    if version < (1, 40):
        shown.pop("DeviceRequests", None)
    if version < (1, 41):
        shown.pop("CgroupnsMode", None)
    return shown


def _config(config: ContainerConfig, version: Version) -> dict[str, Any]:
    shown: dict[str, Any] = gojson.plain(config)
    if version >= (1, 44):
        shown.pop("MacAddress", None)
    if version < (1, 44) and (health := shown.get("Healthcheck")):
        health.pop("StartInterval", None)
    return shown


def _graph_data(overlay: Overlay | None) -> dict[str, str] | None:
    if overlay is None:
        return None
    return {"LowerDir": ":".join(overlay.lower), "MergedDir": overlay.target, "UpperDir": overlay.upper,
            "WorkDir": overlay.work}


def _network_settings(whole: Record, mode: str, version: Version) -> dict[str, Any]:
    record = whole.network_settings
    networks = record.networks or {}
    # The flat fields are those of the default bridge, for programs older than user-defined networks.
    bridge = networks.get("bridge") if mode in ("", "default", "bridge") else None
    shown: dict[str, Any] = {
        "Bridge": record.bridge,
        "SandboxID": record.sandbox_id,
        "SandboxKey": record.sandbox_key,
        "Ports": gojson.plain(record.ports or {}),
        "HairpinMode": record.hairpin_mode,
        "LinkLocalIPv6Address": record.link_local_ipv6_address,
        "LinkLocalIPv6PrefixLen": record.link_local_ipv6_prefix_len,
        "SecondaryIPAddresses": _list(record.secondary_ip_addresses),
        "SecondaryIPv6Addresses": _list(record.secondary_ipv6_addresses),
        "EndpointID": bridge.endpoint_id if bridge else "",
        "Gateway": bridge.gateway if bridge else "",
        "GlobalIPv6Address": bridge.global_ipv6_address if bridge else "",
        "GlobalIPv6PrefixLen": bridge.global_ipv6_prefix_len if bridge else 0,
        "IPAddress": bridge.ip_address if bridge else "",
        "IPPrefixLen": bridge.ip_prefix_len if bridge else 0,
        "IPv6Gateway": bridge.ipv6_gateway if bridge else "",
        "MacAddress": bridge.mac_address if bridge else "",
        "Networks": {name: endpoint(one if version >= (1, 45) else _with_names(name, one, whole), version)
                     for name, one in networks.items()},
    }
    return shown


def _with_names(network: str, one: EndpointRecord, record: Record) -> EndpointRecord:
    """An endpoint as clients before 1.45 know it: on a user's network its aliases have the short id and the host name."""
    if network in ("bridge", "host", "none"):
        return one
    names = dict.fromkeys((*(one.aliases or ()), record.id[:12], record.config.hostname))
    return replace(one, aliases=tuple(name for name in names if name))


