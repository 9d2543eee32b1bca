"""What an engine is told when it is opened: the daemon's flags and `daemon.json`, as one value."""

from __future__ import annotations

import msgspec

from wherry.errors import InvalidArgument


class Runtime(msgspec.Struct, frozen=True):
    """An OCI runtime by name. An empty path is the one in this house, run without another program."""

    path: str = ""
    arguments: tuple[str, ...] = ()


class ContainerdOptions(msgspec.Struct, frozen=True):
    """A containerd that runs the containers; without an address wherry's own shims do. Its namespaces have dockerd's names."""

    address: str = ""  # path of its socket
    namespace: str = "moby"


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The default bridge and what all networks share, as dockerd's flags of the same names."""

    bridge: str = "wherry0"  # "none" for no default bridge
    bip: str = ""  # empty: a first subnet that is free
    fixed_cidr: str = ""
    ipv6: bool = False
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    mtu: int = 1500
    icc: bool = True
    ip_forward: bool = True
    ip_masq: bool = True
    iptables: bool = True
    ip6tables: bool = False
    firewall_backend: str = "nftables"
    table: str = "wherry"
    userland_proxy: bool = True
    userland_proxy_path: str = ""
    default_address_pools: tuple[tuple[str, int], ...] = ()  # (base, prefix length of each)
    ip: str = "0.0.0.0"  # where ports are published that name no address


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an engine takes from outside. Paths are absolute; sizes in bytes, times in seconds."""

    data_root: str = "/var/lib/wherry"
    run_folder: str = "/run/wherry"
    cgroup_parent: str = "/wherry"
    cgroup_driver: str = "cgroupfs"  # or "systemd"
    scope_prefix: str = "wherry"  # systemd's scopes are `<prefix>-<id>.scope`
    cgroupns_mode: str = ""  # empty: host on cgroup v1, private on v2
    # The runtime in this house goes by the name that dockerd knows, so that either daemon starts the other's containers.
    default_runtime: str = "runc"
    runtimes: dict[str, Runtime] = msgspec.field(default_factory=lambda: {"runc": Runtime()})
    containerd: ContainerdOptions = ContainerdOptions()  # with one, no runtime is the one in this house
    init_path: str = ""  # empty: docker-init or tini from the host's path
    init: bool = False
    live_restore: bool = False
    shutdown_timeout_s: int = 15
    default_shm_size_bytes: int = 64 << 20
    default_ipc_mode: str = "private"
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}
    default_ulimits: dict[str, tuple[int, int]] = {}  # name → (soft, hard)
    seccomp_profile: str = ""  # path of a profile that replaces the default; "unconfined"
    no_new_privileges: bool = False
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    host_gateway_ip: str = ""
    labels: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    max_concurrent_downloads: int = 3
    max_concurrent_uploads: int = 5
    network: NetworkOptions = NetworkOptions()

    def read_seccomp_profile(self) -> str:
        """The daemon's own profile as text, «unconfined» or empty. Read each time: it may be edited while the daemon runs."""
        path = self.seccomp_profile
        if path in ("", "unconfined"):
            return path
        with open(path, encoding="utf-8") as file:
            return file.read()


def check_cgroup_parent(parent: str, driver: str) -> None:
    """Raises InvalidArgument, in dockerd's words, for a parent that systemd cannot have; empty means the default one."""
    if parent and driver == "systemd" and not (parent.endswith(".slice") and len(parent) > len(".slice")):
        raise InvalidArgument('cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"')
