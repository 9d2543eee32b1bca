"""Annotations `run.oci.…` of a config, by which crun's callers ask for what the specification has no field for.

The names and meanings are crun's (its manual, «EXTENSIONS TO OCI»). What would change how a container runs and is not done here
is refused by name; names that crun does not know either say nothing, as the specification wants it. Seen to elsewhere:
`pidfd_receiver` (as --pidfd-socket), `hooks.stdout` and `hooks.stderr` (see `hooks`).
"""

from __future__ import annotations

from wherry.errors import InvalidArgument, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from wherry.oci.runtime import Config

_PREFIX = "run.oci."
KEEP_GROUPS = _PREFIX + "keep_original_groups"
# Values with which each says nothing.
_REFUSED = {"handler": ("",), "systemd.subgroup": ("",), "systemd.force_cgroup_v1": ("",), "delegate-cgroup": ("",),
            "mount_context_type": ("", "context")}
_CLOCKS = {"1": "monotonic", "7": "boottime", "monotonic": "monotonic", "boottime": "boottime"}


def obey(config: Config) -> Config:
    """The config as its annotations change it. InvalidArgument for a value without sense, Unsupported for what is not done."""
    given = {name.removeprefix(_PREFIX): value for name, value in config.annotations.items() if name.startswith(_PREFIX)}
    for name, plain in _REFUSED.items():
        if given.get(name, "") not in plain:
            raise Unsupported(f'annotation "{_PREFIX}{name}" is not supported')
    linux = config.linux
    if offsets := given.get("timens_offset"):
        linux = linux.replace(time_offsets=_read_offsets(offsets))
    if linux.seccomp is not None:
        if _is_on(given, "seccomp_fail_unknown_syscall"):
            _check_system_calls(linux.seccomp)
        if receiver := given.get("seccomp.receiver"):
            linux = linux.replace(seccomp={"listenerPath": receiver, **linux.seccomp})
    return config.replace(linux=linux)


def keeps_groups(annotations: Mapping[str, str]) -> bool:
    """Whether the container's program has the groups of whoever calls the runtime."""
    return _is_on(annotations, KEEP_GROUPS)


def _is_on(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "0") not in ("0", "false")


def _read_offsets(text: str) -> tuple[tuple[str, int, int], ...]:
    """A line per clock: its name or number, seconds, nanoseconds; as time_namespaces(7) has them in timens_offsets."""
    found = []
    for line in text.splitlines():
        clock, *numbers = line.split() or [""]
        if clock not in _CLOCKS or len(numbers) != 2 or not all(one.removeprefix("-").isdigit() for one in numbers):
            raise InvalidArgument(f'annotation "{_PREFIX}timens_offset": {line!r} is no clock with seconds and nanoseconds')
        found.append((_CLOCKS[clock], int(numbers[0]), int(numbers[1])))
    return tuple(found)


def _check_system_calls(section: Mapping[str, Any]) -> None:
    """InvalidArgument for a name that no machine's kernel knows; without this such a rule says nothing."""
    from wherry.linux.seccomp import architecture

    known = {name for one in architecture.NAMES for name in architecture.numbers(architecture.architecture(one))}
    for rule in section.get("syscalls") or ():
        for name in rule.get("names") or ():
            if name not in known:
                raise InvalidArgument(f"invalid seccomp syscall `{name}`")
