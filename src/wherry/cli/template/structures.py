"""JSON objects that stand for Go structs and nil values, so that templates print and refuse what docker's do."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class NilList(list[object]):
    """A Go slice that is nil: `[]` when printed, `null` in JSON."""

    is_nil = True


class NilMap(dict[str, object]):
    """A Go map that is nil: `map[]` when printed, `null` in JSON."""

    is_nil = True


class NilPointer:
    """A Go pointer that is nil: `<nil>` when printed, `null` in JSON."""

    is_nil = True

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<nil>"


# Fields that Go spells otherwise than JSON does, where templates of docker's users have them.
SPELLED = {"APIVersion": "ApiVersion", "CPUCfsPeriod": "CpuCfsPeriod", "CPUCfsQuota": "CpuCfsQuota", "HTTPProxy": "HttpProxy",
           "HTTPSProxy": "HttpsProxy"}


class Struct:
    """An object whose unknown fields are an error that names the Go type."""

    def __init__(self, value: dict[str, Any], go_type: str, inner: dict[str, str] | None = None) -> None:
        self._value = value
        self._inner = inner or {}
        self.go_type = go_type

    def template_field(self, name: str, arguments: list[Any]) -> Any:
        """The field's value; KeyError for none."""
        if arguments:
            raise TypeError(f"{name} has arguments but cannot be invoked as function")
        if name not in self._value:
            name = SPELLED.get(name, name)
        value = self._value[name]
        return Struct(value, self._inner[name]) if name in self._inner and isinstance(value, dict) else value

    def template_json(self) -> dict[str, Any]:
        """The object itself."""
        return self._value


LISTS = frozenset(
    (
        "Binds",
        "VolumesFrom",
        "CapAdd",
        "CapDrop",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "SecurityOpt",
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
        "Devices",
        "DeviceCgroupRules",
        "DeviceRequests",
        "Ulimits",
        "MaskedPaths",
        "ReadonlyPaths",
        "Env",
        "Cmd",
        "Entrypoint",
        "OnBuild",
        "Shell",
        "ExecIDs",
        "Mounts",
        "Aliases",
        "DNSNames",
        "SecondaryIPAddresses",
        "SecondaryIPv6Addresses",
        "RepoTags",
        "RepoDigests",
        "Layers",
        "Args",
        "Peers",
    )
)
MAPS = frozenset(
    (
        "Labels",
        "Volumes",
        "ExposedPorts",
        "PortBindings",
        "Ports",
        "Networks",
        "Options",
        "DriverOpts",
        "Tmpfs",
        "Sysctls",
        "StorageOpt",
        "Annotations",
        "Status",
        "Config",
        "AuxiliaryAddresses",
        "Containers",
    )
)
# Fields that a daemon leaves out when they are empty, by the object in which they are missing.
OMITTED: dict[str, tuple[str, ...]] = {
    "": ("SizeRw", "SizeRootFs"),
    "State": ("Health",),
    "Config": ("Healthcheck", "StopSignal", "StopTimeout", "Shell", "ExposedPorts", "ArgsEscaped"),
    "HostConfig": ("Annotations", "Mounts", "Tmpfs", "Sysctls", "StorageOpt", "Init", "Runtime"),
}
_EMPTY_TEXT = frozenset(("StopSignal", "Runtime"))


def nil_of(name: str) -> Any:
    """The nil of a field's Go type."""
    return NilList() if name in LISTS else NilMap() if name in MAPS else NilPointer()


def typed(value: Any, name: str = "") -> Any:
    """The value with its nulls replaced by nils of the type that the field has in Go, all the way down."""
    if value is None:
        return nil_of(name)
    if isinstance(value, dict):
        return {key: typed(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [typed(one) if one is not None else None for one in value]
    return value


def with_omitted(container: dict[str, Any]) -> dict[str, Any]:
    """A container's inspection with the fields that were left out for being empty."""
    for place, names in OMITTED.items():
        holder = container.get(place) if place else container
        if isinstance(holder, dict):
            for name in names:
                holder.setdefault(name, "" if name in _EMPTY_TEXT else False if name == "ArgsEscaped" else nil_of(name))
    return container
