"""What containers look like in different versions of the API: requests, answers, events."""

from __future__ import annotations

import json

import pytest

from wherry.api.docker.containers import for_version
from wherry.api.docker.events import encode
from wherry.engine.container import Container
from wherry.engine.events import Events
from wherry.engine.inspect import inspect
from wherry.engine.model import BindOptions, ContainerConfig, HealthConfig, HostConfig, Mount
from wherry.engine.records import EndpointRecord, MountRecord, NetworkRecord, Record, State


def test_a_version_does_not_know_what_came_later() -> None:
    asked = HostConfig(annotations={"a": "b"}, kernel_memory=5, cgroupns_mode="private",
                       mounts=(Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(create_mountpoint=True)),))
    old, middle, new = (for_version(asked, version) for version in ((1, 39), (1, 42), (1, 50)))
    assert (old.ipc_mode, old.cgroupns_mode, old.annotations, old.kernel_memory) == ("shareable", "host", None, 5)
    assert old.mounts
    assert old.mounts[0].bind_options == BindOptions()
    assert (middle.cgroupns_mode, middle.annotations, middle.kernel_memory) == ("private", None, 0)
    assert (new.annotations, new.mounts) == (asked.annotations, asked.mounts)


def shown(version: tuple[int, int], mode: str = "default"):
    record = Record(
        id="a" * 64, name="/x", state=State(started_at="2026-01-01T00:00:00Z"), mount_points={
            "/z": MountRecord(type="bind", source="/s", destination="/z", rw=True, propagation="rprivate"),
            "/a": MountRecord(type="volume", name="v", source="/v", destination="/a", driver="local", relabel="z")},
        config=ContainerConfig(mac_address="02:00:00:00:00:01", healthcheck=HealthConfig(test=("CMD", "x"), start_interval=5)),
        network_settings=NetworkRecord(networks={"bridge": EndpointRecord(ip_address="172.17.0.2", dns_names=("x",))}))
    return inspect(Container(record, HostConfig(network_mode=mode, annotations={"a": "b"}, kernel_memory=7), "/r"), version, None, (1, 2), None)


def test_inspection_has_the_fields_of_its_version() -> None:
    old, new = shown((1, 40)), shown((1, 50))
    assert [one["Destination"] for one in new["Mounts"]] == ["/a", "/z"]
    assert (new["SizeRw"], new["SizeRootFs"], new["State"]["Status"], new["GraphDriver"]["Name"]) == (1, 2, "exited", "overlay2")
    assert "Health" not in new["State"]
    place_old, place_new = old["NetworkSettings"]["Networks"]["bridge"], new["NetworkSettings"]["Networks"]["bridge"]
    assert ("DNSNames" in place_old, place_new["DNSNames"], "GwPriority" in place_new) == (False, ["x"], True)
    assert (old["HostConfig"]["KernelMemory"], "KernelMemory" in new["HostConfig"]) == (7, False)
    assert ("Annotations" in old["HostConfig"], new["HostConfig"]["Annotations"]) == (False, {"a": "b"})
    assert ("CgroupnsMode" in old["HostConfig"], "CgroupnsMode" in new["HostConfig"]) == (False, True)
    assert (old["Config"]["MacAddress"], "MacAddress" in new["Config"]) == ("02:00:00:00:00:01", False)
    assert ("StartInterval" in old["Config"]["Healthcheck"], new["Config"]["Healthcheck"]["StartInterval"]) == (False, 5)


@pytest.mark.parametrize(("mode", "address"), [("default", "172.17.0.2"), ("bridge", "172.17.0.2"), ("mine", "")])
def test_the_flat_address_is_the_default_bridges(mode, address) -> None:
    assert shown((1, 50), mode)["NetworkSettings"]["IPAddress"] == address


def test_events_as_lines() -> None:
    events = Events(lambda: 1_700_000_000_123_456_789)
    line = json.loads(encode(events.publish("container", "start", "id", {"image": "busybox", "name": "x"})))
    assert line == {"status": "start", "id": "id", "from": "busybox", "Type": "container", "Action": "start",
                    "Actor": {"ID": "id", "Attributes": {"image": "busybox", "name": "x"}}, "scope": "local", "time": 1_700_000_000,
                    "timeNano": 1_700_000_000_123_456_789}
    assert "status" not in json.loads(encode(events.publish("network", "connect", "n", {})))
