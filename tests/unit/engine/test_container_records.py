"""config.v2.json and hostconfig.json: what dockerd 20.10 wrote is read and written back field for field."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine import gojson
from wherry.engine.model import ContainerConfig, HostConfig
from wherry.engine.records import NEVER, MountRecord, Record, Records, State, completed, nanoseconds, timestamp
from wherry.errors import DataLoss, InvalidArgument

ID = "f3c5012de2f87d2113b01e5df012e2b178ff0ebe8298ac25a6d39aece89549ec"

# As dockerd 20.10.24 wrote it for a container with a port and two mounts (shortened to one of each kind of value).
DOCKERD = {
    "StreamConfig": {},
    "State": {"Running": True, "Paused": False, "Restarting": False, "OOMKilled": False, "RemovalInProgress": False, "Dead": False,
              "Pid": 232, "ExitCode": 0, "Error": "", "StartedAt": "2026-11-25T01:07:22.692073531Z", "FinishedAt": NEVER,
              "Health": None},
    "ID": ID, "Created": "2026-11-25T01:07:22.321536826Z", "Managed": False, "Path": "sleep", "Args": ["100"],
    "Config": {"Hostname": "f3c5012de2f8", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": True,
               "AttachStderr": True, "ExposedPorts": {"4567/tcp": {}}, "Tty": False, "OpenStdin": False, "StdinOnce": False,
               "Env": None, "Cmd": ["sleep", "100"], "Image": "bb", "Volumes": None, "WorkingDir": "", "Entrypoint": None,
               "OnBuild": None, "Labels": {"a": "b"}},
    "Image": "sha256:4325411bf1ec367500065def8c17fb588be61bcf4506ba27e16dcd6a66edd947",
    "NetworkSettings": {
        "Bridge": "", "SandboxID": "c461", "HairpinMode": False, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "Networks": {"bridge": {
            "IPAMConfig": None, "Links": None, "Aliases": None, "NetworkID": "6b3b", "EndpointID": "40c7",
            "Gateway": "172.31.7.1", "IPAddress": "172.31.7.2", "IPPrefixLen": 24, "IPv6Gateway": "", "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0, "MacAddress": "02:42:ac:1f:07:02", "DriverOpts": None, "IPAMOperational": False}},
        "Service": None, "Ports": {"4567/tcp": [{"HostIp": "0.0.0.0", "HostPort": "4567"}, {"HostIp": "::", "HostPort": "4567"}]},
        "SandboxKey": "/run/dk/netns/c461", "SecondaryIPAddresses": None, "SecondaryIPv6Addresses": None,
        "IsAnonymousEndpoint": False, "HasSwarmEndpoint": False},
    "LogPath": "/d/containers/f3/f3-json.log", "Name": "/c1", "Driver": "overlay2", "OS": "linux", "MountLabel": "",
    "ProcessLabel": "", "RestartCount": 0, "HasBeenStartedBefore": True, "HasBeenManuallyStopped": False,
    "MountPoints": {
        "/data": {"Source": "/d/volumes/myvol/_data", "Destination": "/data", "RW": True, "Name": "myvol", "Driver": "local",
                  "Type": "volume", "Relabel": "z", "ID": "38b2", "Spec": {"Type": "volume", "Source": "myvol", "Target": "/data"},
                  "SkipMountpointCreation": False},
        "/host": {"Source": "/tmp", "Destination": "/host", "RW": False, "Name": "", "Driver": "", "Type": "bind",
                  "Relabel": "ro", "Propagation": "rprivate",
                  "Spec": {"Type": "bind", "Source": "/tmp", "Target": "/host", "ReadOnly": True},
                  "SkipMountpointCreation": False}},
    "SecretReferences": None, "ConfigReferences": None, "AppArmorProfile": "", "HostnamePath": "/d/containers/f3/hostname",
    "HostsPath": "/d/containers/f3/hosts", "ShmPath": "", "ResolvConfPath": "/d/containers/f3/resolv.conf", "SeccompProfile": "",
    "NoNewPrivileges": False, "LocalLogCacheMeta": {"HaveNotifyEnabled": False},
}


def test_dockerds_file_survives_the_round_trip() -> None:
    record = gojson.convert(DOCKERD, Record)
    assert record.state.status == "running"
    assert record.mount_points["/host"].rw is False
    assert json.loads(gojson.encode(record)) == DOCKERD


def test_a_container_is_written_read_and_removed(tmp_path) -> None:
    records = Records(tmp_path)
    record, host = Record(id=ID, name="/a", mount_points={"/x": MountRecord(type="tmpfs", destination="/x")}), HostConfig(memory=7 << 20)
    record = completed(record, host, tmp_path / ID)
    records.create(record, host)
    assert records.ids() == [ID]
    assert records.load(ID) == (record, host)
    assert (tmp_path / ID / "config.v2.json").stat().st_mode & 0o777 == 0o600
    records.remove(ID)
    assert records.ids() == []
    records.remove(ID)


def test_half_a_folder_is_swept_and_a_damaged_one_is_told(tmp_path) -> None:
    records = Records(tmp_path)
    records.create(Record(id=ID), HostConfig())
    other = ID.replace("f", "0")
    (tmp_path / other).mkdir()
    (tmp_path / other / "hostconfig.json").write_text("{}")
    records.sweep()
    assert records.ids() == [ID]
    (tmp_path / ID / "config.v2.json").write_text('{"ID": "')
    with pytest.raises(DataLoss, match="cannot be loaded"):
        records.load(ID)
    (tmp_path / ID / "config.v2.json").write_text('{"ID": "another"}')
    with pytest.raises(DataLoss, match="is of 'another'"):
        records.load(ID)


def test_half_written_files_are_swept(tmp_path) -> None:
    records = Records(tmp_path)
    records.create(Record(id=ID), HostConfig())
    before, record = sorted(os.listdir(tmp_path / ID)), records.load(ID)
    for name in ("config.v2.json.4711.tmp", "hosts.4711.tmp"):
        (tmp_path / ID / name).write_text("{")
    records.sweep()
    assert sorted(os.listdir(tmp_path / ID)) == before
    assert records.load(ID) == record


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_timestamps_and_nanoseconds_are_inverse(ns) -> None:
    assert nanoseconds(timestamp(ns)) == ns


def test_timestamps_as_docker_spells_them() -> None:
    assert timestamp(1_700_000_000_120_000_000) == "2023-11-14T22:13:20.12Z"
    assert timestamp(1_700_000_000 * 10**9) == "2023-11-14T22:13:20Z"
    assert nanoseconds(NEVER) == 0
    assert nanoseconds("2023-11-14T23:13:20.5+01:00") == 1_700_000_000_500_000_000
    with pytest.raises(InvalidArgument):
        nanoseconds("yesterday")


def test_defaults_are_a_container_that_never_ran() -> None:
    assert (State().status, Record().config) == ("created", ContainerConfig())
