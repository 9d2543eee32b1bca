"""Devices of the host, found in a /dev made for the test."""

from __future__ import annotations

import pytest

from wherry.engine.model import DeviceMapping, HostConfig, ThrottleDevice
from wherry.engine.spec.devices import look_up, parse_rule
from wherry.errors import InvalidArgument, NotFound


def mapping(path, inside="", access="rwm"):
    return HostConfig(devices=(DeviceMapping(path_on_host=str(path), path_in_container=inside, cgroup_permissions=access),))


def test_a_device_by_its_name_and_by_a_link(tmp_path):
    (one,) = look_up(mapping("/dev/null", "/dev/other", "r")).devices
    assert (one.path, one.kind, one.major, one.minor, one.access) == ("/dev/other", "c", 1, 3, "r")
    (tmp_path / "link").symlink_to("/dev/null")
    (one,) = look_up(mapping(tmp_path / "link")).devices
    assert (one.path, one.major, one.minor) == (str(tmp_path / "link"), 1, 3)


def test_what_is_no_device(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for path, kind, message in ((tmp_path / "missing", NotFound, "no such file or directory"),
                                (tmp_path / "file", InvalidArgument, "not a device node"),
                                (tmp_path / "empty", InvalidArgument, "no devices found")):
        with pytest.raises(kind) as refused:
            look_up(mapping(path))
        assert refused.value.message == f'error gathering device information while adding custom device "{path}": {message}'


def test_privileged_has_all_but_what_is_its_own():
    paths = [one.path for one in look_up(HostConfig(privileged=True)).devices]
    assert "/dev/null" in paths
    assert not [path for path in paths if path.startswith(("/dev/pts/", "/dev/shm/")) or path == "/dev/ptmx"]


def test_limits_of_block_devices_need_block_devices():
    for path, kind, message in (("/dev/nothing", NotFound, "stat /dev/nothing: no such file or directory"),
                                ("/dev/null", InvalidArgument, "/dev/null is not a block device")):
        with pytest.raises(kind) as refused:
            look_up(HostConfig(blkio_device_read_bps=(ThrottleDevice(path=path, rate=1),)))
        assert refused.value.message == message


def test_rules():
    assert parse_rule("c 42:* rmw") == {"allow": True, "type": "c", "major": 42, "minor": -1, "access": "rmw"}
    for bad in ("", "c 42 r", "d 1:1 r", "c 1:1 x", "c -1:1 r", "c 1:1 rwmr"):
        with pytest.raises(InvalidArgument, match="invalid device cgroup rule format"):
            parse_rule(bad)
