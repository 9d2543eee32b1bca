"""What systemd must be told about a container's scope, so that its picture of the cgroup and ours agree: pure.

systemd writes its own values again whenever it reloads, so a limit that it does not know would be lost.

Sources: systemd.resource-control(5), systemd.slice(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.devices import ANY, device_set
from wherry.linux.cgroup.plan_v2 import DEFAULT_PERIOD_US, io_weight_from_blkio, swap_alone, weight_from_shares
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    # (name, (signature, value)) as D-Bus takes properties
    Property = tuple[str, tuple[str, Any]]

INFINITY = (1 << 64) - 1


class Unit(Record):
    """A unit's name, the slice that holds it, and its path in the hierarchies."""

    name: str
    slice: str
    path: str


def parse_path(cgroups_path: str) -> Unit:
    """`slice:prefix:name` of the runtime-spec's cgroupsPath. A name that ends in `.slice` is a slice, else a scope is made.

    Raises InvalidArgument for any other form.
    """
    parts = cgroups_path.split(":")
    if len(parts) != 3 or not parts[2] or "/" in cgroups_path:
        detail = f"got {cgroups_path!r} instead"
        raise InvalidArgument(f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, {detail}')
    slice_name, prefix, name = parts
    slice_name = slice_name or "system.slice"
    if name.endswith(".slice"):
        unit = name
    else:
        unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    return Unit(name=unit, slice=slice_name, path=f"{slice_path(slice_name)}/{unit}")


def slice_path(name: str) -> str:
    """Where a slice lies: `a-b.slice` is `/a.slice/a-b.slice`, `-.slice` the root. Raises InvalidArgument."""
    stem = name.removesuffix(".slice")
    if stem == name or "/" in name:
        raise InvalidArgument(f"invalid slice name: {name}")
    if stem == "-":
        return ""
    parts = stem.split("-")
    if "" in parts:
        raise InvalidArgument(f"invalid slice name: {name}")
    return "".join("/" + "-".join(parts[: count + 1]) + ".slice" for count in range(len(parts)))


def unit_properties(unit: Unit, pid: int, unified: bool) -> list[Property]:
    """The properties that make the unit; a scope is made around the process `pid`."""
    accounting = ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting" if unified else "BlockIOAccounting"]
    found: list[Property] = [("Description", ("s", f"wherry container {unit.name.rsplit('.', 1)[0]}"))]
    if unit.name.endswith(".slice"):
        found.append(("Wants", ("as", [unit.slice])))
    else:
        found += [("Slice", ("s", unit.slice)), ("Delegate", ("b", True)), ("PIDs", ("au", [pid]))]
    return [*found, ("DefaultDependencies", ("b", False)), *((name, ("b", True)) for name in accounting)]


def resource_properties(resources: Mapping[str, Any], unified: bool) -> list[Property]:
    """The limits that systemd has words for; the others are only in the control files."""
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    found: list[Property] = []

    def size(name: str, value: int | None) -> None:
        if value:
            found.append((name, ("t", INFINITY if value == -1 else value)))

    size("MemoryMax" if unified else "MemoryLimit", memory.get("limit"))
    if unified:
        size("MemoryLow", memory.get("reservation"))
        swap = swap_alone(memory.get("swap") or 0, memory.get("limit") or 0)
        if swap is not None:
            found.append(("MemorySwapMax", ("t", INFINITY if swap == -1 else swap)))
    if shares := cpu.get("shares"):
        found.append(("CPUWeight", ("t", weight_from_shares(shares))) if unified else ("CPUShares", ("t", shares)))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if period:
        found.append(("CPUQuotaPeriodUSec", ("t", period)))
    if quota or period:
        found.append(("CPUQuotaPerSecUSec", ("t", _per_second(quota, period or DEFAULT_PERIOD_US))))
    if unified:
        found += [(name, ("ay", bitmask(cpu[key]))) for key, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes"))
                  if cpu.get(key)]
    if limit := (resources.get("pids") or {}).get("limit"):
        found.append(("TasksMax", ("t", limit if limit > 0 else INFINITY)))
    if weight := (resources.get("blockIO") or {}).get("weight"):
        found.append(("IOWeight", ("t", io_weight_from_blkio(weight))) if unified else ("BlockIOWeight", ("t", weight)))
    return found + _file_properties(resources.get("unified") or {}) if unified else found


_FILES = {"memory.min": "MemoryMin", "memory.low": "MemoryLow", "memory.high": "MemoryHigh", "memory.max": "MemoryMax",
          "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax", "cpu.weight": "CPUWeight"}
_LISTS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def _file_properties(files: Mapping[str, str]) -> list[Property]:
    """`unified`, where systemd has a word for the file; the last property of a name wins, as the file does."""
    found: list[Property] = []
    for file, text in files.items():
        if file in _FILES:
            found.append((_FILES[file], ("t", _file_number(file, text))))
        elif file in _LISTS:
            found.append((_LISTS[file], ("ay", bitmask(text))))
        elif file == "cpu.max":
            quota, _, period = text.strip().partition(" ")
            period_us = _file_number(file, period) if period else DEFAULT_PERIOD_US
            per_second = INFINITY if quota == "max" else _per_second(_file_number(file, quota), period_us)
            found += [("CPUQuotaPeriodUSec", ("t", period_us)), ("CPUQuotaPerSecUSec", ("t", per_second))]
    return found


def _file_number(file: str, text: str) -> int:
    try:
        return INFINITY if text.strip() == "max" else int(text)
    except ValueError:
        raise InvalidArgument(f"unified resource {file!r} value conversion error: {text!r}") from None


def _per_second(quota_us: int, period_us: int) -> int:
    """The quota for a second, rounded up to 10 ms, which is what systemd counts in."""
    if quota_us <= 0:
        return INFINITY
    per_second = quota_us * 1_000_000 // period_us
    return (per_second + 9999) // 10000 * 10000


def bitmask(ranges: str) -> list[int]:
    """`0-2,9` as bytes, the lowest bit first. Raises InvalidArgument."""
    bits = 0
    try:
        for part in ranges.split(","):
            low, _, high = part.strip().partition("-")
            for number in range(int(low), int(high or low) + 1):
                bits |= 1 << number
    except ValueError:
        raise InvalidArgument(f"invalid list of processors or memory nodes: {ranges!r}") from None
    return list(bits.to_bytes(max(1, (bits.bit_length() + 7) // 8), "little"))


def device_properties(resources: Mapping[str, Any], proc_devices: str) -> list[Property]:
    """The device rules. `proc_devices` is the text of /proc/devices, where systemd too finds the names of major numbers.

    A rule without a name there, or for one minor number of all majors, is left to the control files.
    """
    rules = resources.get("devices")
    if not rules:
        return []
    wanted = device_set(rules)
    if wanted.allow_by_default:
        # systemd cannot say «all but»: it is told to keep out, and the control files have the list.
        return [("DevicePolicy", ("s", "auto")), ("DeviceAllow", ("a(ss)", []))]
    names = _major_names(proc_devices)
    allowed = []
    for one in wanted.exceptions:
        kind = {"c": "char", "b": "block"}[one.kind]
        if one.major == ANY and one.minor == ANY:
            allowed.append((f"{kind}-*", one.access))
        elif one.major != ANY and one.minor == ANY:
            allowed += [(f"{kind}-{name}", one.access) for name in names.get((kind, one.major), [])]
        elif one.major != ANY:
            allowed.append((f"/dev/{kind}/{one.major}:{one.minor}", one.access))
    return [("DevicePolicy", ("s", "strict")), ("DeviceAllow", ("a(ss)", allowed))]


def _major_names(proc_devices: str) -> dict[tuple[str, int], list[str]]:
    kind = ""
    found: dict[tuple[str, int], list[str]] = {}
    for line in proc_devices.splitlines():
        if line.startswith(("Character", "Block")):
            kind = "char" if line.startswith("Character") else "block"
        elif line.strip():
            major, name = line.split(None, 1)
            found.setdefault((kind, int(major)), []).append(name)
    return found
