"""What is on disk of a container: `containers/<id>/config.v2.json` and `hostconfig.json`, as dockerd writes them.

    containers/<id>/
      config.v2.json     Record            replaced at every change of state
      hostconfig.json    model.HostConfig  replaced at create and update
      hostname  hosts  resolv.conf         mounted into the container; written at each start
      <id>-json.log      the json-file log driver's, written by the shim

dockerd 20.10 loads what is written here and the other way round. Creating and updating is synced to the disk, file and
folder; a change of state is only renamed: after a power cut the container is found stopped anyway.
"""

from __future__ import annotations

import datetime
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.engine import gojson
from wherry.engine.model import (
    ContainerConfig,
    EndpointIPAMConfig,
    Health,
    HostConfig,
    Int,
    Model,
    PortBinding,
    StringMap,
    Strings,
)
from wherry.errors import DataLoss, Internal, InvalidArgument
from wherry.linux.file import replace, replace_durably, sweep, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time

CONFIG = "config.v2.json"
HOST_CONFIG = "hostconfig.json"


class State(Model, frozen=True):
    """Where a container stands, with the flags that dockerd writes. `status` is the word people see."""

    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = msgspec.field(default=False, name="OOMKilled")
    removal_in_progress: bool = False
    dead: bool = False
    pid: Int = 0
    exit_code: Int = 0
    error: str = ""
    started_at: str = NEVER
    finished_at: str = NEVER
    health: Health | None = None

    @property
    def status(self) -> str:
        """One of created, running, paused, restarting, removing, exited, dead."""
        if self.running:
            return "paused" if self.paused else "restarting" if self.restarting else "running"
        if self.removal_in_progress:
            return "removing"
        if self.dead:
            return "dead"
        return "created" if self.started_at == NEVER else "exited"


class EndpointRecord(Model, frozen=True):
    """A container's place in one network, as dockerd keeps it. The addresses are empty while it does not run."""

    OMIT_EMPTY = frozenset({"gw_priority", "dns_names", "desired_mac_address"})

    ipam_config: EndpointIPAMConfig | None = msgspec.field(default=None, name="IPAMConfig")
    links: Strings = None
    aliases: Strings = None
    network_id: str = msgspec.field(default="", name="NetworkID")
    endpoint_id: str = msgspec.field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = msgspec.field(default="", name="IPAddress")
    ip_prefix_len: Int = msgspec.field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = msgspec.field(default="", name="IPv6Gateway")
    global_ipv6_address: str = msgspec.field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: Int = msgspec.field(default=0, name="GlobalIPv6PrefixLen")
    mac_address: str = ""
    driver_opts: StringMap = None
    ipam_operational: bool = msgspec.field(default=False, name="IPAMOperational")
    gw_priority: Int = 0
    dns_names: Strings = msgspec.field(default=None, name="DNSNames")
    desired_mac_address: str = ""


class NetworkRecord(Model, frozen=True):
    """The networks of a container and its published ports."""

    bridge: str = ""
    sandbox_id: str = msgspec.field(default="", name="SandboxID")
    hairpin_mode: bool = False
    link_local_ipv6_address: str = msgspec.field(default="", name="LinkLocalIPv6Address")
    link_local_ipv6_prefix_len: Int = msgspec.field(default=0, name="LinkLocalIPv6PrefixLen")
    networks: dict[str, EndpointRecord] | None = None
    service: str | None = None
    ports: dict[str, tuple[PortBinding, ...] | None] | None = None
    sandbox_key: str = ""
    secondary_ip_addresses: Strings = msgspec.field(default=None, name="SecondaryIPAddresses")
    secondary_ipv6_addresses: Strings = msgspec.field(default=None, name="SecondaryIPv6Addresses")
    is_anonymous_endpoint: bool = False
    has_swarm_endpoint: bool = False


class MountSpec(Model, frozen=True):
    """How a mount was asked for, in dockerd's short form inside a mount point."""

    OMIT_EMPTY = frozenset({"type", "source", "target", "read_only", "bind_options", "volume_options", "tmpfs_options"})

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    bind_options: dict[str, Any] | None = None
    volume_options: dict[str, Any] | None = None
    tmpfs_options: dict[str, Any] | None = None


class MountRecord(Model, frozen=True):
    """One mount of a container: a bind, a volume or a tmpfs, by its place inside."""

    OMIT_EMPTY = frozenset({"relabel", "propagation", "id", "copy_data"})

    source: str = ""
    destination: str = ""
    rw: bool = msgspec.field(default=False, name="RW")
    name: str = ""
    driver: str = ""
    type: str = ""
    relabel: str = ""
    propagation: str = ""
    id: str = msgspec.field(default="", name="ID")
    copy_data: bool = False
    """Whether an empty volume is filled from the image: while the container is created, so it is never written down as true."""
    spec: MountSpec = MountSpec()
    skip_mountpoint_creation: bool = False


class Record(Model, frozen=True):
    """`config.v2.json`: everything about a container but its host configuration."""

    stream_config: dict[str, Any] = msgspec.field(default_factory=dict)
    state: State = State()
    id: str = msgspec.field(default="", name="ID")
    created: str = NEVER
    managed: bool = False
    path: str = ""
    args: tuple[str, ...] = ()
    config: ContainerConfig = ContainerConfig()
    image: str = ""  # sha256:…
    network_settings: NetworkRecord = NetworkRecord()
    log_path: str = ""
    name: str = ""  # with a leading slash
    driver: str = "overlay2"
    os: str = msgspec.field(default="linux", name="OS")
    mount_label: str = ""
    process_label: str = ""
    restart_count: Int = 0
    has_been_started_before: bool = False
    has_been_manually_stopped: bool = False
    mount_points: dict[str, MountRecord] | None = None
    secret_references: Strings = None
    config_references: Strings = None
    app_armor_profile: str = ""
    hostname_path: str = ""
    hosts_path: str = ""
    shm_path: str = ""
    resolv_conf_path: str = ""
    seccomp_profile: str = ""
    no_new_privileges: bool = False
    local_log_cache_meta: dict[str, bool] = msgspec.field(default_factory=lambda: {"HaveNotifyEnabled": False})


class Records:
    """Reads and writes the folders below `containers/`. Synchronous: called from worker threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, container_id: str) -> Path:
        """The folder of one container."""
        return self.folder / container_id

    def create(self, record: Record, host: HostConfig) -> None:
        """Makes a container's folder with both files, synced, so that it survives a power cut.

        It is made under another name and renamed: there is never half a container.
        """
        draft = self.folder / f".{record.id}"
        draft.mkdir(mode=0o710)
        try:
            (draft / "checkpoints").mkdir(mode=0o700)
            contents = ((HOST_CONFIG, gojson.encode(host), 0o644), (CONFIG, gojson.encode(record), 0o600))
            files = [_written(str(draft / name), content, mode) for name, content, mode in contents]
            for fd in files:
                os.fsync(fd)
                os.close(fd)
            sync_folder(str(draft))
            draft.rename(self.place(record.id))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync_folder(str(self.folder))

    def write(self, record: Record) -> None:
        """Replaces `config.v2.json` after a change of state; survives a crash of ours."""
        replace(str(self.place(record.id) / CONFIG), gojson.encode(record))

    def write_durably(self, record: Record, host: HostConfig) -> None:
        """Replaces both files after a change of configuration (rename, update); survives a power cut."""
        place = self.place(record.id)
        replace_durably(str(place / HOST_CONFIG), gojson.encode(host), 0o644)
        replace_durably(str(place / CONFIG), gojson.encode(record))

    def unlink(self, container_id: str) -> None:
        """Makes a folder that of no container; `remove` or `sweep` takes it away."""
        (self.place(container_id) / CONFIG).unlink(missing_ok=True)

    def remove(self, container_id: str) -> None:
        """Removes a container's folder; `config.v2.json` goes first, so that half a folder is never taken for a container."""
        self.unlink(container_id)
        place = self.place(container_id)
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            raise Internal(f"container {container_id}: its folder {place} cannot be removed")

    def sweep(self) -> None:
        """Removes the folders of containers that never came to be, or that were half removed, and half-written files."""
        for draft in self.folder.glob(".*"):
            shutil.rmtree(draft, ignore_errors=True)
        for container_id in self.ids():
            if not (self.place(container_id) / CONFIG).exists():
                shutil.rmtree(self.place(container_id), ignore_errors=True)
            else:
                sweep(str(self.place(container_id)))

    def load(self, container_id: str) -> tuple[Record, HostConfig]:
        """What is on disk of one container. Raises DataLoss when it cannot be read as that."""
        place = self.place(container_id)
        try:
            record = gojson.convert(msgspec.json.decode((place / CONFIG).read_bytes()), Record)
            host = gojson.convert(msgspec.json.decode((place / HOST_CONFIG).read_bytes()), HostConfig)
        except (OSError, msgspec.DecodeError, InvalidArgument) as error:
            raise DataLoss(f"container {container_id} cannot be loaded: {error}") from error
        if record.id != container_id:
            raise DataLoss(f"container {container_id} cannot be loaded: its {CONFIG} is of {record.id!r}")
        return completed(record, host, place), host

    def ids(self) -> list[str]:
        """The ids for which there is a folder."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir() and len(entry.name) == 64)


def _written(path: str, content: bytes, mode: int) -> int:
    """A descriptor of a new file with this content."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view):]
    except BaseException:
        os.close(fd)
        raise
    return fd


def completed(record: Record, host: HostConfig, place: Path) -> Record:
    """A record with the paths that dockerd fills in only when it first starts a container."""
    logs = host.log_config.type in ("", "json-file")
    return msgspec.structs.replace(
        record,
        hostname_path=record.hostname_path or str(place / "hostname"),
        hosts_path=record.hosts_path or str(place / "hosts"),
        resolv_conf_path=record.resolv_conf_path or str(place / "resolv.conf"),
        log_path=record.log_path or (str(place / f"{record.id}-json.log") if logs else ""),
    )


def timestamp(ns: int) -> str:
    """A moment of the wall clock as Docker writes it: UTC, RFC 3339, nanoseconds without trailing zeros."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    whole = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction:09}".rstrip("0").rstrip(".") + "Z"


def nanoseconds(text: str) -> int:
    """The moment that a timestamp names, in nanoseconds since 1970; Go's zero time is 0.

    Raises InvalidArgument when it is no RFC 3339 timestamp.
    """
    if text == NEVER:
        return 0
    head, _, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    try:
        seconds = datetime.datetime.fromisoformat(head + tail[len(digits):]).timestamp()
    except ValueError as error:
        raise InvalidArgument(f"invalid timestamp {text!r}") from error
    return int(seconds) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)
