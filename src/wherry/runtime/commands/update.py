"""`wherry-runc update`: changes a container's limits while it runs."""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.oci import jsontext
from wherry.oci.runtime import check_resources
from wherry.runtime import container
from wherry.runtime.flags import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.runtime.main import Context

# flag → (section, field of «linux.resources», whether it is text)
_FIELDS = {
    "blkio-weight": ("blockIO", "weight", False),
    "cpu-period": ("cpu", "period", False),
    "cpu-quota": ("cpu", "quota", False),
    "cpu-share": ("cpu", "shares", False),
    "cpu-burst": ("cpu", "burst", False),
    "cpu-idle": ("cpu", "idle", False),
    "cpu-rt-period": ("cpu", "realtimePeriod", False),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", False),
    "cpuset-cpus": ("cpu", "cpus", True),
    "cpuset-mems": ("cpu", "mems", True),
    "memory": ("memory", "limit", False),
    "memory-reservation": ("memory", "reservation", False),
    "memory-swap": ("memory", "swap", False),
    "pids-limit": ("pids", "limit", False),
}
_HELP = {
    "blkio-weight": "weight of block I/O, 10 to 1000", "cpu-period": "CPU period in microseconds",
    "cpu-quota": "CPU quota in microseconds", "cpu-share": "CPU shares", "cpu-burst": "CPU burst in microseconds",
    "cpu-idle": "1: only the CPU time that nobody else wants", "cpu-rt-period": "realtime period in microseconds",
    "cpu-rt-runtime": "realtime runtime in microseconds",
    "cpuset-cpus": "CPUs to use", "cpuset-mems": "memory nodes to use", "memory": "memory limit in bytes",
    "memory-reservation": "memory reservation in bytes", "memory-swap": "limit of memory and swap; -1: none",
    "pids-limit": "how many processes",
}
_NUMBERS = ("blkio-weight", "pids-limit")  # the others may be given as «not at all» by an empty text
_SIZES = ("memory", "memory-reservation", "memory-swap")
_GONE = ("kernel-memory", "kernel-memory-tcp")
_RDT = {"l3-cache-schema": "Intel RDT/CAT: l3 cache schema is not enabled",
        "mem-bw-schema": "Intel RDT/MBA: memory bandwidth schema is not enabled"}

COMMAND = Command(
    name="update", usage="change the limits of a container", arguments="<container-id>",
    flags=(Flag(names=("resources", "r"), kind="text",
                help="file with linux.resources as JSON, - for standard input; other flags are ignored"),
           *(Flag(names=(name,), kind="number" if name in _NUMBERS else "text", help=_HELP[name]) for name in _FIELDS),
           *(Flag(names=(name,), kind="text", help="ignored: kernels have no such limit any more") for name in _GONE),
           *(Flag(names=(name,), kind="text", help="refused: Intel RDT is not managed") for name in _RDT)))


def run(context: Context) -> int:
    """Changes them."""
    found = container.load(context.root, context.arguments[0])
    for name, refusal in _RDT.items():
        if context.flags[name]:
            raise InvalidArgument(refusal)
    if any(context.flags[name] for name in _GONE):
        context.log.write("warning", "Kernel memory settings are ignored and will be removed")
    source = context.flags["resources"]
    container.update(found, read(source) if source else from_flags(context.flags))
    return 0


def read(source: str) -> Mapping[str, Any]:
    """linux.resources from a file or standard input. InvalidArgument when it is not such a document."""
    if source == "-":
        parts = []
        while part := os.read(0, 1 << 16):
            parts.append(part)
        text = b"".join(parts)
    else:
        from wherry.linux import file

        try:
            text = file.read(source)
        except OSError as error:
            raise InvalidArgument(f"open {source}: {(error.strerror or '').lower()}") from error
    try:
        document = jsontext.loads(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{source}: expected an object")
    check_resources(document)
    document.pop("devices", None)  # as runc: the rules of a running container stay
    return document


def from_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """linux.resources with what was given on the command line."""
    resources: dict[str, Any] = {}
    for name, (section, field, is_text) in _FIELDS.items():
        value = flags[name]
        if not value:
            continue
        if name in _SIZES:
            value = size(name, value)
        elif not is_text:
            value = number(name, str(value))
        resources.setdefault(section, {})[field] = value
    return resources


def size(name: str, text: str) -> int:
    """Bytes, with a unit (k, m, g, t, p; powers of 1024) or without; -1 for no limit."""
    digits, unit = text.lower().removesuffix("b"), 1
    digits = digits.removesuffix("i")
    if digits[-1:] in ("k", "m", "g", "t", "p"):
        unit = 1024 ** ("kmgtp".index(digits[-1]) + 1)
        digits = digits[:-1]
    try:
        return int(float(digits) * unit) if "." in digits else int(digits) * unit
    except ValueError:
        raise InvalidArgument(f"invalid value for {name}: invalid size: '{text}'") from None


def number(name: str, text: str) -> int:
    """A plain number."""
    try:
        return int(text)
    except ValueError:
        kind = "Int" if name in ("cpu-quota", "cpu-rt-runtime") else "Uint"
        raise InvalidArgument(f'invalid value for {name}: strconv.Parse{kind}: parsing "{text}": invalid syntax') from None
