"""Device rules: the outcome of a list, v1's writes, v2's program (interpreted here)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidArgument
from wherry.linux.cgroup.bpf import device_program
from wherry.linux.cgroup.devices import ANY, DeviceRule, DeviceSet, device_set, parse_list, plan_list

ALL = {"allow": False, "access": "rwm"}


def rule(allow, kind, major, minor, access):
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """What the kernel would answer: a small eBPF interpreter for the instructions that are used."""
    word = {"b": 1, "c": 2}[kind] | sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access) << 16
    context = struct.pack("<III", word, major, minor)
    code = list(struct.iter_unpack("<BBhI", program))
    register = [0] * 11
    place = 0
    while True:
        op, registers, offset, value = code[place]
        target, source = registers & 15, registers >> 4
        place += 1
        if op == 0x61:
            assert source == 1
            register[target] = struct.unpack_from("<I", context, offset)[0]
        elif op == 0xB7:
            register[target] = value
        elif op == 0xBC:
            register[target] = register[source]
        elif op == 0x54:
            register[target] &= value
        elif op == 0x74:
            register[target] >>= value
        elif op == 0x55:
            place += offset * (register[target] != value)
        elif op == 0x15:
            place += offset * (register[target] == value)
        elif op == 0x5D:
            place += offset * (register[target] != register[source])
        elif op == 0x95:
            return bool(register[0])
        else:
            raise AssertionError(f"instruction {op:#x}")


def allowed(wanted: DeviceSet, kind: str, major: int, minor: int, access: str) -> bool:
    """What devices.rst says: an exception that speaks of the device turns the default round."""
    for one in wanted.exceptions:
        if one.kind != kind or one.major not in (ANY, major) or one.minor not in (ANY, minor):
            continue
        if wanted.allow_by_default and set(access) & set(one.access):
            return False
        if not wanted.allow_by_default and set(access) <= set(one.access):
            return True
    return wanted.allow_by_default


def test_rules_are_read_in_order():
    outcome = device_set([rule(True, "c", 9, 9, "r"), ALL, rule(True, "c", 1, 3, "r"), rule(True, "c", 1, 3, "wm"),
                          rule(True, "b", 8, ANY, "rw"), rule(False, "b", 8, ANY, "w"), rule(False, "c", 10, 229, "rwm")])
    assert outcome == DeviceSet(allow_by_default=False, exceptions=(
        DeviceRule(kind="c", major=1, minor=3, access="rwm"), DeviceRule(kind="b", major=8, minor=ANY, access="r")))


def test_privileged_allows_all():
    assert device_set([ALL, {"allow": True, "access": "rwm"}]) == DeviceSet(allow_by_default=True)


def test_a_part_of_a_wildcard_cannot_be_taken_away():
    with pytest.raises(InvalidArgument, match="takes away a part of c 10:\\* rwm"):
        device_set([ALL, rule(True, "c", 10, ANY, "rwm"), rule(False, "c", 10, 229, "w")])


@pytest.mark.parametrize("bad", [rule(True, "c", -2, 0, "r"), rule(True, "c", 1, 0, "rx"), rule(True, "c", 1, 0, ""),
                                 rule(True, "z", 1, 0, "r")])
def test_broken_rules(bad):
    with pytest.raises(InvalidArgument, match=r"invalid cgroup device|device rule"):
        device_set([bad])


def test_v1_writes_only_the_difference_into_a_cgroup_in_use():
    present = parse_list("c 1:3 rwm\nb *:* m\nc 5:1 rw\n")
    wanted = device_set([ALL, rule(True, "c", 1, 3, "r"), rule(True, "c", 7, 7, "r"), rule(True, "b", ANY, ANY, "m")])
    assert [str(step) for step in plan_list(wanted, present)] == [
        "devices.deny = c 1:3 wm", "devices.allow = c 7:7 r", "devices.deny = c 5:1 rw"]
    assert plan_list(present, present) == ()
    fresh = plan_list(wanted, parse_list("a *:* rwm"))
    assert [str(step) for step in fresh][:2] == ["devices.deny = a", "devices.allow = c 1:3 r"]


numbers = st.sampled_from([ANY, 0, 1, 5, 8, 255])
rules = st.builds(lambda kind, major, minor, access: DeviceRule(kind=kind, major=major, minor=minor, access=access),
                  st.sampled_from("bc"), numbers, numbers, st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]))


@given(st.builds(lambda default, found: DeviceSet(allow_by_default=default, exceptions=tuple(found)), st.booleans(),
                 st.lists(rules, max_size=6)))
def test_the_program_says_what_the_rules_say(wanted):
    program = device_program(wanted)
    for kind in "bc":
        for major in (0, 1, 5, 8, 77):
            for minor in (0, 1, 255):
                for access in ("r", "w", "m", "rw", "rwm"):
                    assert run(program, kind, major, minor, access) == allowed(wanted, kind, major, minor, access)
