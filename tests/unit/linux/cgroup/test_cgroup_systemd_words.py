"""What is said to systemd, and how D-Bus spells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidArgument
from wherry.linux.cgroup import dbus
from wherry.linux.cgroup.units import bitmask, device_properties, parse_path, resource_properties, slice_path, unit_properties

ROUND_TRIPS = [
    ("yyyyuua(yv)", (108, 1, 0, 1, 0, 1, [(1, "/a")]), (108, 1, 0, 1, 0, 1, [(1, ("o", "/a"))])),
    ("sa(sv)", ("x", [("Delegate", True), ("PIDs", [1, 2])]), ("x", [("Delegate", ("b", True)), ("PIDs", ("au", [1, 2]))])),
    ("a{sx}g", ({"a": -1, "b": 2**60}, "ai"), ({"a": -1, "b": 2**60}, "ai")),
    ("ayt", ([1, 2, 3], 2**64 - 1), ([1, 2, 3], 2**64 - 1)),
    ("a(ss)", ([],), ([],)),
]


@pytest.mark.parametrize(("signature", "out", "given"), ROUND_TRIPS)
def test_round_trips(signature, out, given):
    assert dbus.unmarshal(signature, bytes(dbus.marshal(signature, given))) == out


def test_a_message_as_the_specification_spells_it():
    """Hello, as libdbus sends it."""
    message = dbus.encode(dbus.METHOD_CALL, 1, {1: ("o", "/org/freedesktop/DBus"), 6: ("s", "org.freedesktop.DBus"),
                                                2: ("s", "org.freedesktop.DBus"), 3: ("s", "Hello")})
    assert message == (
        b"l\1\0\1\0\0\0\0\1\0\0\0\x6e\0\0\0" b"\1\1o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0"
        b"\6\1s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0" b"\2\1s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0"
        b"\3\1s\0\5\0\0\0Hello\0\0\0")
    assert dbus.message_size(message[:16]) == len(message)
    assert dbus.decode(message).headers[3] == "Hello"


@given(st.binary(max_size=80), st.sampled_from(["s", "g", "v", "a(sv)", "a{sv}", "yyyyuua(yv)"]))
def test_broken_bytes_are_told(data, signature):
    try:
        dbus.unmarshal(signature, data)
    except (ValueError, RecursionError):
        pass


def test_unit_names():
    unit = parse_path("machine-x.slice:libpod:abc")
    assert (unit.name, unit.slice, unit.path) == (
        "libpod-abc.scope", "machine-x.slice", "/machine.slice/machine-x.slice/libpod-abc.scope")
    assert parse_path("::abc").path == "/system.slice/abc.scope"
    assert parse_path("-.slice:x:pod.slice").name == "pod.slice"
    assert slice_path("-.slice") == ""
    for bad in ("/a/b", "a:b", "x.slice:a:", "x.slice:a/b:c", "x:a:b"):
        with pytest.raises(InvalidArgument):
            parse_path(bad)
    for bad in ("a--b.slice", "-a.slice", "a", "a/b.slice"):
        with pytest.raises(InvalidArgument, match="invalid slice name"):
            slice_path(bad)


def test_the_limits_in_systemds_words():
    cpu = {"shares": 1024, "quota": 15000, "cpus": "0,9"}
    resources = {"memory": {"limit": 100, "swap": 150}, "cpu": cpu, "pids": {"limit": -1}}
    assert resource_properties(resources, unified=True) == [
        ("MemoryMax", ("t", 100)), ("MemorySwapMax", ("t", 50)), ("CPUWeight", ("t", 39)), ("CPUQuotaPerSecUSec", ("t", 150000)),
        ("AllowedCPUs", ("ay", [1, 2])), ("TasksMax", ("t", 2**64 - 1))]
    assert resource_properties({"cpu": {"shares": 5}}, unified=False) == [("CPUShares", ("t", 5))]
    assert ("PIDs", ("au", [7])) in unit_properties(parse_path("::abc"), 7, unified=True)
    with pytest.raises(InvalidArgument, match="invalid list"):
        bitmask("a-b")


def test_the_files_of_unified_in_systemds_words():
    files = {"memory.high": "4096", "pids.max": "max", "cpu.max": "25000 50000", "cpuset.cpus": "0-1", "io.latency": "x"}
    assert resource_properties({"pids": {"limit": 5}, "unified": files}, unified=True) == [
        ("TasksMax", ("t", 5)), ("MemoryHigh", ("t", 4096)), ("TasksMax", ("t", 2**64 - 1)), ("CPUQuotaPeriodUSec", ("t", 50000)),
        ("CPUQuotaPerSecUSec", ("t", 500000)), ("AllowedCPUs", ("ay", [3]))]
    assert resource_properties({"unified": {"cpu.max": "max"}}, unified=True)[1] == ("CPUQuotaPerSecUSec", ("t", 2**64 - 1))
    assert resource_properties({"unified": files}, unified=False) == []
    with pytest.raises(InvalidArgument, match=r"'memory.high' value conversion error: 'lots'"):
        resource_properties({"unified": {"memory.high": "lots"}}, unified=True)


def test_the_devices_in_systemds_words():
    rules = [{"allow": False, "access": "rwm"},
             {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
             {"allow": True, "type": "c", "major": 136, "minor": -1, "access": "rwm"}, {"allow": True, "type": "b", "access": "m"}]
    assert device_properties({"devices": rules}, "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n") == [
        ("DevicePolicy", ("s", "strict")),
        ("DeviceAllow", ("a(ss)", [("/dev/char/1:3", "rw"), ("char-pts", "rwm"), ("block-*", "m")]))]
