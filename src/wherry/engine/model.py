"""The bodies of the Docker API that say what a container is to be, as values.

The same values are in requests, in answers, and in `config.v2.json` and `hostconfig.json` on disk. Attributes are in
snake case; the names in JSON are the API's (`cpu_shares` is `CpuShares`). Defaults are Go's zero values: a list or map
that was not given is None and written as `null`, as dockerd writes it; `msgspec.structs.replace` makes changed copies.

`wherry.engine.gojson` reads them from JSON (null anywhere, unknown fields ignored, Go's error messages) and writes
them back (without the empty fields that dockerd leaves out).

Sources: the Engine API 1.24 to 1.51; units are the API's: bytes, nanoseconds, microseconds for CPU periods.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1, extra={"go": "int"})]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1, extra={"go": "int64"})]
Uint = Annotated[int, msgspec.Meta(ge=0, extra={"go": "uint"})]
Uint16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1, extra={"go": "uint16"})]
Uint32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1, extra={"go": "uint32"})]
Uint64 = Annotated[int, msgspec.Meta(ge=0, extra={"go": "uint64"})]
Duration = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1, extra={"go": "time.Duration"})]
Strings = tuple[str, ...] | None
# Also accepts one string, which stands for a list of one (Go's strslice).
StrSlice = Annotated[tuple[str, ...] | None, msgspec.Meta(extra={"strslice": True})]
StringMap = dict[str, str] | None


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The base of all bodies. `OMIT_EMPTY` names (in Python) the fields that Go leaves out of JSON when empty."""

    OMIT_EMPTY: ClassVar[frozenset[str]] = frozenset()


class Empty(Model, frozen=True):
    """The value of a map that is a set: `{}` in JSON."""


class HealthConfig(Model, frozen=True):
    """How to find out whether the container is well. Times in nanoseconds; zero: inherit or the default."""

    OMIT_EMPTY = frozenset({"test", "interval", "timeout", "start_period", "start_interval", "retries"})

    test: Strings = None
    interval: Duration = 0
    timeout: Duration = 0
    start_period: Duration = 0
    start_interval: Duration = 0
    retries: Int = 0


class HealthcheckResult(Model, frozen=True):
    """One probe. Times are RFC 3339 with nanoseconds."""

    start: str = "0001-01-01T00:00:00Z"
    end: str = "0001-01-01T00:00:00Z"
    exit_code: Int = 0
    output: str = ""


class Health(Model, frozen=True):
    """Where the probes stand: the last five results."""

    status: str = ""
    failing_streak: Int = 0
    log: tuple[HealthcheckResult, ...] | None = None


class ContainerConfig(Model, frozen=True):
    """The portable half of a container's settings: what an image may carry too."""

    OMIT_EMPTY = frozenset({"exposed_ports", "healthcheck", "args_escaped", "network_disabled", "mac_address",
                            "stop_signal", "stop_timeout", "shell"})

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Empty] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: Strings = None
    cmd: StrSlice = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Empty] | None = None
    working_dir: str = ""
    entrypoint: StrSlice = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: Strings = None
    labels: StringMap = None
    stop_signal: str = ""
    stop_timeout: Int | None = None
    shell: StrSlice = None


class WeightDevice(Model, frozen=True):
    """A block device's share of I/O."""

    path: str = ""
    weight: Uint16 = 0


class ThrottleDevice(Model, frozen=True):
    """A block device's limit, in bytes or operations per second."""

    path: str = ""
    rate: Uint64 = 0


class DeviceMapping(Model, frozen=True):
    """A device (or folder of devices) of the host for the container."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Model, frozen=True):
    """Devices asked of a driver (GPU, CDI)."""

    driver: str = ""
    count: Int = 0
    device_ids: Strings = msgspec.field(default=None, name="DeviceIDs")
    capabilities: tuple[Strings, ...] | None = None
    options: StringMap = None


class Ulimit(Model, frozen=True):
    """A resource limit of processes; -1 is unlimited."""

    name: str = ""
    hard: Int64 = 0
    soft: Int64 = 0


class Resources(Model, frozen=True):
    """What a container may use; `POST /containers/{id}/update` changes it while it runs. Zero is «no limit»."""

    cpu_shares: Int64 = 0
    memory: Int64 = 0
    nano_cpus: Int64 = 0
    cgroup_parent: str = ""
    blkio_weight: Uint16 = 0
    blkio_weight_device: tuple[WeightDevice, ...] | None = None
    blkio_device_read_bps: tuple[ThrottleDevice, ...] | None = None
    blkio_device_write_bps: tuple[ThrottleDevice, ...] | None = None
    blkio_device_read_iops: tuple[ThrottleDevice, ...] | None = msgspec.field(default=None, name="BlkioDeviceReadIOps")
    blkio_device_write_iops: tuple[ThrottleDevice, ...] | None = msgspec.field(
        default=None, name="BlkioDeviceWriteIOps")
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_realtime_period: Int64 = 0
    cpu_realtime_runtime: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: tuple[DeviceMapping, ...] | None = None
    device_cgroup_rules: Strings = None
    device_requests: tuple[DeviceRequest, ...] | None = None
    kernel_memory: Int64 = 0
    kernel_memory_tcp: Int64 = msgspec.field(default=0, name="KernelMemoryTCP")
    memory_reservation: Int64 = 0
    memory_swap: Int64 = 0
    memory_swappiness: Int64 | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Int64 | None = None
    ulimits: tuple[Ulimit, ...] | None = None
    cpu_count: Int64 = 0
    cpu_percent: Int64 = 0
    io_maximum_iops: Uint64 = msgspec.field(default=0, name="IOMaximumIOps")
    io_maximum_bandwidth: Uint64 = msgspec.field(default=0, name="IOMaximumBandwidth")


class LogConfig(Model, frozen=True):
    """Where the output goes; an empty type is the daemon's default driver."""

    type: str = ""
    config: StringMap = None


class RestartPolicy(Model, frozen=True):
    """`no` (also empty), `always`, `unless-stopped` or `on-failure` with at most so many tries (0: no end)."""

    name: str = ""
    maximum_retry_count: Int = 0


class PortBinding(Model, frozen=True):
    """Where a container's port appears on the host; an empty port is any free one."""

    host_ip: str = ""
    host_port: str = ""


class BindOptions(Model, frozen=True):
    """Options of a bind mount."""

    OMIT_EMPTY = frozenset({"propagation", "non_recursive", "create_mountpoint", "read_only_non_recursive",
                            "read_only_force_recursive"})

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class Driver(Model, frozen=True):
    """A volume driver and its options."""

    OMIT_EMPTY = frozenset({"name", "options"})

    name: str = ""
    options: StringMap = None


class VolumeOptions(Model, frozen=True):
    """Options of a volume mount."""

    OMIT_EMPTY = frozenset({"no_copy", "labels", "subpath", "driver_config"})

    no_copy: bool = False
    labels: StringMap = None
    subpath: str = ""
    driver_config: Driver | None = None


class ImageOptions(Model, frozen=True):
    """Options of an image mount."""

    OMIT_EMPTY = frozenset({"subpath"})

    subpath: str = ""


class TmpfsOptions(Model, frozen=True):
    """Options of a tmpfs mount; size in bytes, zero: no limit; mode zero: 1777."""

    OMIT_EMPTY = frozenset({"size_bytes", "mode", "options"})

    size_bytes: Int64 = 0
    mode: Uint32 = 0
    options: tuple[Strings, ...] | None = None


class ClusterOptions(Model, frozen=True):
    """Options of a Swarm cluster volume: none exist."""


class Mount(Model, frozen=True):
    """A mount asked for with `--mount`."""

    OMIT_EMPTY = frozenset({"type", "source", "target", "read_only", "consistency", "bind_options", "volume_options",
                            "image_options", "tmpfs_options", "cluster_options"})

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    cluster_options: ClusterOptions | None = None


class HostConfig(Resources, frozen=True):
    """The half of a container's settings that depends on the host."""

    OMIT_EMPTY = frozenset({"init", "annotations", "storage_opt", "tmpfs", "sysctls", "runtime", "mounts"})

    binds: Strings = None
    container_id_file: str = msgspec.field(default="", name="ContainerIDFile")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, tuple[PortBinding, ...] | None] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: Strings = None
    console_size: tuple[Uint, Uint] = (0, 0)
    annotations: StringMap = None
    cap_add: StrSlice = None
    cap_drop: StrSlice = None
    cgroupns_mode: str = ""
    dns: Strings = None
    dns_options: Strings = None
    dns_search: Strings = None
    extra_hosts: Strings = None
    group_add: Strings = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: Strings = None
    oom_score_adj: Int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: Strings = None
    storage_opt: StringMap = None
    tmpfs: StringMap = None
    uts_mode: str = msgspec.field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: Int64 = 0
    sysctls: StringMap = None
    runtime: str = ""
    isolation: str = ""
    mounts: tuple[Mount, ...] | None = None
    # None is «not given: the defaults», an empty list is «none at all».
    masked_paths: Strings = None
    readonly_paths: Strings = None
    init: bool | None = None


class EndpointIPAMConfig(Model, frozen=True):
    """Addresses that the client asks for."""

    OMIT_EMPTY = frozenset({"ipv4_address", "ipv6_address", "link_local_ips"})

    ipv4_address: str = msgspec.field(default="", name="IPv4Address")
    ipv6_address: str = msgspec.field(default="", name="IPv6Address")
    link_local_ips: Strings = msgspec.field(default=None, name="LinkLocalIPs")


class EndpointSettings(Model, frozen=True):
    """A container's place in one network: the first five fields are asked for, the others are what came of it."""

    ipam_config: EndpointIPAMConfig | None = msgspec.field(default=None, name="IPAMConfig")
    links: Strings = None
    aliases: Strings = None
    mac_address: str = ""
    driver_opts: StringMap = None
    gw_priority: Int = 0
    network_id: str = msgspec.field(default="", name="NetworkID")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: Int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: Int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: Strings = msgspec.field(default=None, name="DNSNames")


class NetworkingConfig(Model, frozen=True):
    """The networks that a container is created in, by name or id."""

    endpoints_config: dict[str, EndpointSettings | None] | None = None


class CreateRequest(ContainerConfig, frozen=True):
    """The body of `POST /containers/create`."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None

    def container_config(self) -> ContainerConfig:
        """The part that is the container's own configuration."""
        return ContainerConfig(**{name: getattr(self, name) for name in ContainerConfig.__struct_fields__})


class UpdateRequest(Resources, frozen=True):
    """The body of `POST /containers/{id}/update`."""

    restart_policy: RestartPolicy = RestartPolicy()


class ExecRequest(Model, frozen=True):
    """The body of `POST /containers/{id}/exec`. `detach` is accepted for old clients and means nothing."""

    OMIT_EMPTY = frozenset({"console_size"})

    user: str = ""
    privileged: bool = False
    tty: bool = False
    console_size: tuple[Uint, Uint] | None = None
    attach_stdin: bool = False
    attach_stderr: bool = False
    attach_stdout: bool = False
    detach: bool = False
    detach_keys: str = ""
    env: Strings = None
    working_dir: str = ""
    cmd: Strings = None


class ExecStartRequest(Model, frozen=True):
    """The body of `POST /exec/{id}/start`."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[Uint, Uint] | None = None


class NetworkConnectRequest(Model, frozen=True):
    """The body of `POST /networks/{id}/connect`."""

    container: str = ""
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnectRequest(Model, frozen=True):
    """The body of `POST /networks/{id}/disconnect`."""

    container: str = ""
    force: bool = False
