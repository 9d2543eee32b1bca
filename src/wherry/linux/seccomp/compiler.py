"""From `linux.seccomp` of the runtime-spec to a filter: pure.

For each architecture the numbers are cut into ranges with the same verdict, neighbours are merged, and a binary search finds the
range; calls with conditions on their arguments are ranges of one number. As with runc, a number newer than the newest one that
the profile names is answered with ENOSYS, so that a C library tries the older call instead of giving up at EPERM.

Names that an architecture does not have are passed over: profiles list the calls of all of them. Where rules of one call
contradict each other, the first one without conditions decides, else the first whose conditions hold.
"""

from __future__ import annotations

import os

from wherry.errors import InvalidArgument
from wherry.linux.seccomp import Program, assembler
from wherry.linux.seccomp.architecture import X32_BIT, architecture, multiplexer, native, numbers
from wherry.linux.seccomp.assembler import Condition
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from wherry.linux.seccomp.architecture import Architecture
    from wherry.linux.seccomp.assembler import Block

EPERM, ENOSYS = 1, 38
KILL_THREAD = 0x00000000
_ACTIONS = {
    "SCMP_ACT_KILL": KILL_THREAD, "SCMP_ACT_KILL_THREAD": KILL_THREAD, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_NOTIFY": 0x7FC00000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
# A new call passes with these, so nothing needs to be said about it.
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
          "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32}
DEFAULT_FLAGS = FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]


class Rule(Record):
    """One rule of the profile: the calls, what all of `conditions` must say, and the answer."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()


class Profile(Record):
    """The section as values. `newer` is the answer to calls that are newer than all that are named; None: the default."""

    default: int
    newer: int | None
    architectures: tuple[Architecture, ...]
    rules: tuple[Rule, ...]
    flags: int


def compile_program(section: Mapping[str, Any], machine: str = "") -> Program:
    """Compiles a profile for a machine (uname's name; empty: this one).

    Raises InvalidArgument for an unknown action, architecture, operator or flag, naming it, and for a filter too long.
    """
    profile = read_profile(section, machine or os.uname().machine)
    groups: dict[int, list[Architecture]] = {}
    for one in profile.architectures:
        groups.setdefault(one.audit, []).append(one)
    program: Block = assembler.verdict(KILL_THREAD)  # an architecture that the profile does not name
    for audit, members in reversed(groups.items()):
        program = assembler.branch(assembler.EQUAL, audit, _section(profile, members), program)
    program = [(assembler.LOAD, 0, 0, assembler.ARCH), *program]
    try:
        text = assembler.encode(program)
    except ValueError as error:
        raise InvalidArgument(f"seccomp: {error}") from None
    notify = _ACTIONS["SCMP_ACT_NOTIFY"]
    return Program(filter=text, flags=profile.flags,
                   notifies=notify in (profile.default, *(rule.action for rule in profile.rules)))


def read_profile(section: Mapping[str, Any], machine: str) -> Profile:
    """Checks the section and makes values of it; the machine's own architecture is always among them, first."""
    name = section.get("defaultAction") or ""
    default = _action(name, section.get("defaultErrnoRet"))
    own = native(machine)
    names = dict.fromkeys([own, *(section.get("architectures") or ())])
    newer = ENOSYS | _ACTIONS["SCMP_ACT_ERRNO"]
    rules: list[Rule] = []
    for entry in section.get("syscalls") or ():
        rules += _rules(entry, default)
    return Profile(default=default, newer=None if name in _PERMISSIVE or default == newer else newer, rules=tuple(rules),
                   architectures=tuple(architecture(one) for one in names), flags=_flag_bits(section.get("flags")))


def _action(name: str, errno_value: int | None) -> int:
    if name not in _ACTIONS:
        raise InvalidArgument(f"string {name} is not a valid action for seccomp")
    if name in _WITH_ERRNO:
        value = EPERM if errno_value is None else errno_value
        if not 0 <= value <= 0xFFFF:
            raise InvalidArgument(f"seccomp: errnoRet {value} is out of range")
        return _ACTIONS[name] | value
    if errno_value:
        raise InvalidArgument(f"seccomp: action {name} does not return an errno, but errnoRet is {errno_value}")
    return _ACTIONS[name]


def _rules(entry: Mapping[str, Any], default: int) -> list[Rule]:
    names = tuple(entry.get("names") or ())
    if not names:
        raise InvalidArgument("seccomp: a rule without names of system calls")
    action = _action(entry.get("action") or "", entry.get("errnoRet"))
    conditions = tuple(_condition(one) for one in entry.get("args") or ())
    if action == default:
        return [Rule(names=names, action=action)] if not conditions else []
    if len({one.index for one in conditions}) < len(conditions):
        # Two comparisons of the same argument have always meant «either»: each is a rule of its own, here as in runc.
        return [Rule(names=names, action=action, conditions=(one,)) for one in conditions]
    return [Rule(names=names, action=action, conditions=conditions)]


def _condition(given: Mapping[str, Any]) -> Condition:
    operator = (given.get("op") or "").removeprefix("SCMP_CMP_")
    index, value, second = given.get("index"), given.get("value") or 0, given.get("valueTwo") or 0
    if operator not in _OPERATORS:
        raise InvalidArgument(f"string {given.get('op') or ''} is not a valid operator for seccomp")
    if index is None or not 0 <= index <= 5:
        raise InvalidArgument(f"seccomp: there is no argument {index!r} of a system call (0 to 5)")
    if operator == "MASKED_EQ":
        return Condition(index=index, operator=operator, value=second & value, mask=value)
    return Condition(index=index, operator=operator, value=value)


def _flag_bits(flags: Sequence[str] | None) -> int:
    if flags is None:
        return DEFAULT_FLAGS
    bits = 0
    for flag in flags:
        if flag not in FLAGS:
            raise InvalidArgument(f"seccomp: unknown flag {flag!r}")
        bits |= FLAGS[flag]
    return bits


# A call's rules, those with conditions in order and then the one without (or None).
_Calls = dict[int, list[Rule]]


def _section(profile: Profile, members: list[Architecture]) -> Block:
    """All for one value of `seccomp_data.arch`. x86_64 and x32 share one, and differ by a bit in the number."""
    load = (assembler.LOAD, 0, 0, assembler.NUMBER)
    if members[0].audit != architecture("SCMP_ARCH_X86_64").audit:
        return [load, *assembler.search(_ranges(profile, members[0]))]
    by_name = {one.name: one for one in members}
    wide, x32 = by_name.get("SCMP_ARCH_X86_64"), by_name.get("SCMP_ARCH_X32")
    low: list[tuple[int, Block]] = _ranges(profile, wide) if wide else [(0, assembler.verdict(KILL_THREAD))]
    high = _ranges(profile, x32, X32_BIT) if x32 else [(X32_BIT, assembler.verdict(KILL_THREAD))]
    return [load, *assembler.search([*low, *high])]


def _ranges(profile: Profile, arch: Architecture, first: int = 0) -> list[tuple[int, Block]]:
    """(first number, block) for all numbers from `first` on; neighbours with the same simple verdict are one."""
    calls, newest = _calls(profile, arch)
    default = assembler.verdict(profile.default)
    found: list[tuple[int, Block]] = [(first, default)]

    def put(number: int, block: Block) -> None:
        if found[-1][0] == number:
            found.pop()
        if not found or found[-1][1] != block:
            found.append((number, block))

    for number in sorted(calls):
        put(number, _block(calls[number], profile.default, arch))
        put(number + 1, default)
    if profile.newer is not None and newest >= 0:
        put(newest + 1, assembler.verdict(profile.newer))
    return found


def _calls(profile: Profile, arch: Architecture) -> tuple[_Calls, int]:
    """The rules by number, and the newest number that the profile names at all (-1: none)."""
    table = numbers(arch)
    calls: _Calls = {}
    newest = -1
    for rule in profile.rules:
        for name in rule.names:
            number = table.get(name)
            if number is not None:
                newest = max(newest, number)
                if rule.action != profile.default:
                    calls.setdefault(number, []).append(rule)
            many = multiplexer(arch, name)
            if many and rule.action != profile.default:
                first = Condition(index=0, operator="EQ", value=many[1])
                others = tuple(one for one in rule.conditions if one.index != 0)
                calls.setdefault(table[many[0]], []).append(rule.replace(conditions=(first, *others)))
    return calls, newest


def _block(rules: list[Rule], default: int, arch: Architecture) -> Block:
    """What happens for one call: a rule without conditions decides alone, else those with conditions in order."""
    for rule in rules:
        if not rule.conditions:
            return assembler.verdict(rule.action)
    block: Block = []
    for rule in rules:
        block += assembler.when_all(rule.conditions, arch.is_64_bit, arch.big_endian, assembler.verdict(rule.action))
    return block + assembler.verdict(default)
