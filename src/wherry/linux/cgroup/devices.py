"""Which devices a cgroup may use: the runtime-spec's list of rules, brought into one canonical form.

The rules of the specification are read in order, each changing what the earlier ones said. Both kernel interfaces want the
outcome: a default and the exceptions to it. v1 writes it to `devices.allow` and `devices.deny`; v2 has it compiled to eBPF
(`bpf.py`).

Sources: runtime-spec «Allowed Device list», cgroup-v1/devices.rst.
"""

from __future__ import annotations

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.plan import Step
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

ANY = -1
ACCESS = "rwm"  # read, write, mknod


class DeviceRule(Record):
    """One exception: `kind` is `c` or `b`, a number of ANY (-1) stands for all, `access` is some of `rwm` in that order."""

    kind: str
    major: int
    minor: int
    access: str

    def __str__(self) -> str:
        numbers = ":".join("*" if number == ANY else str(number) for number in (self.major, self.minor))
        return f"{self.kind} {numbers} {self.access}"


class DeviceSet(Record):
    """What is allowed: all but `exceptions`, or nothing but them."""

    allow_by_default: bool
    exceptions: tuple[DeviceRule, ...] = ()


def device_set(rules: Sequence[Mapping[str, Any]], start: DeviceSet | None = None) -> DeviceSet:
    """The outcome of a list of rules, beginning from `start` (a new cgroup's: nothing allowed).

    Raises InvalidArgument for a rule that is none, and for one that takes away a part of what an earlier rule allowed with a
    wildcard, which `devices.deny` cannot say.
    """
    allow = start.allow_by_default if start else False
    found = {(one.kind, one.major, one.minor): one.access for one in start.exceptions} if start else {}
    for rule in rules:
        kind, major, minor, access = _parts(rule)
        if kind == "a":
            allow, found = bool(rule.get("allow")), {}
        elif bool(rule.get("allow")) != allow:
            found[kind, major, minor] = _union(found.get((kind, major, minor), ""), access)
        else:
            _take_away(found, (kind, major, minor), access)
    return DeviceSet(allow_by_default=allow, exceptions=tuple(
        DeviceRule(kind=kind, major=major, minor=minor, access=access) for (kind, major, minor), access in found.items()))


def _parts(rule: Mapping[str, Any]) -> tuple[str, int, int, str]:
    kind = rule.get("type") or "a"
    access = rule.get("access") or ""
    numbers = []
    for key in ("major", "minor"):
        number = rule.get(key)
        number = ANY if number is None else int(number)
        if number < ANY:
            raise InvalidArgument(f"invalid cgroup device {key} {number}: a number, or -1 for all")
        numbers.append(number)
    if kind not in ("a", "b", "c", "u"):
        raise InvalidArgument(f'invalid cgroup device type "{kind}"')
    if (not access and kind != "a") or set(access) - set(ACCESS):
        raise InvalidArgument(f'invalid cgroup device access "{access}"')
    return "c" if kind == "u" else kind, numbers[0], numbers[1], _union("", access)


def _union(first: str, second: str) -> str:
    return "".join(letter for letter in ACCESS if letter in first + second)


def _take_away(found: dict[tuple[str, int, int], str], target: tuple[str, int, int], access: str) -> None:
    for key, held in list(found.items()):
        if key[0] != target[0] or not all(ANY in pair or pair[0] == pair[1] for pair in zip(key[1:], target[1:], strict=True)):
            continue
        if not set(access) & set(held):
            continue
        if any(ours == ANY != theirs for ours, theirs in zip(key[1:], target[1:], strict=True)):
            wide = DeviceRule(kind=key[0], major=key[1], minor=key[2], access=held)
            raise InvalidArgument(f"device rule {target[0]} {target[1]}:{target[2]} {access} takes away a part of {wide}")
        rest = "".join(letter for letter in held if letter not in access)
        if rest:
            found[key] = rest
        else:
            del found[key]


def parse_list(text: str) -> DeviceSet:
    """The present state from v1's `devices.list`: `a *:* rwm` alone, or the exceptions to «nothing».

    The kernel does not tell the exceptions to «all»; such a cgroup reads as if it had none.
    """
    exceptions = []
    for line in text.splitlines():
        kind, numbers, access = line.split()
        if kind == "a":
            return DeviceSet(allow_by_default=True)
        major, minor = (ANY if number == "*" else int(number) for number in numbers.split(":"))
        exceptions.append(DeviceRule(kind=kind, major=major, minor=minor, access=_union("", access)))
    return DeviceSet(allow_by_default=False, exceptions=tuple(exceptions))


def plan_list(wanted: DeviceSet, present: DeviceSet | None = None) -> tuple[Step, ...]:
    """What v1 must be told. With `present` (a cgroup in use) only the difference: nothing is denied in between."""
    plain, other = ("devices.deny", "devices.allow") if wanted.allow_by_default else ("devices.allow", "devices.deny")
    if present is None or present.allow_by_default != wanted.allow_by_default or wanted.allow_by_default:
        reset = Step(controller="devices", file=other, value="a")
        return (reset, *(Step(controller="devices", file=plain, value=str(one)) for one in wanted.exceptions))
    held = {(one.kind, one.major, one.minor): one.access for one in present.exceptions}
    steps = []
    for one in wanted.exceptions:
        have = held.pop((one.kind, one.major, one.minor), "")
        if set(one.access) - set(have):
            steps.append(Step(controller="devices", file=plain, value=str(one)))
        if surplus := "".join(letter for letter in have if letter not in one.access):
            steps.append(Step(controller="devices", file=other, value=str(one.replace(access=surplus))))
    for (kind, major, minor), access in held.items():
        gone = DeviceRule(kind=kind, major=major, minor=minor, access=access)
        steps.append(Step(controller="devices", file=other, value=str(gone)))
    return tuple(steps)
