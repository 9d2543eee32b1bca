"""Every field of what a container can be asked for: an effect that is seen in a real container or on the host, or a refusal.

One row for each field of ContainerConfig and HostConfig; a field without a row fails. A row that
is a word names the test of this module that shows the field.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from typing import Any

import msgspec
import pytest
from containers_by_api import Api, until
from wherryd_box import wherryd

from wherry.engine.model import ContainerConfig, HostConfig

pytestmark = [pytest.mark.root, pytest.mark.net]

MEGABYTE = 1 << 20
DISK = "/dev/wherry-test-disk"
DISK_NUMBER = "253:0"


class Seen(msgspec.Struct, frozen=True):
    """A value, what else it needs, and a shell script whose output in the container must match.

    What the same script prints without the value must not match, so that no row passes by itself.
    """

    value: Any
    script: str
    expected: str
    config: dict[str, Any] = {}
    host: dict[str, Any] = {}


class Refused(msgspec.Struct, frozen=True):
    """A value that is not done or cannot be, the status, and what the message names."""

    value: Any
    status: int
    names: str
    config: dict[str, Any] = {}


def control(v1: str, v2: str) -> str:
    """Prints a control file of the container's own cgroup."""
    return f"cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}"


def throttle(v1: str) -> str:
    return control(f"blkio/blkio.throttle.{v1}_device", "io.max")


CONFIG: dict[str, Seen | Refused | str] = {
    "Hostname": Seen("box", "hostname", "^box$"),
    "Domainname": Seen("example.org", "cat /proc/sys/kernel/domainname /etc/hosts", "example.org"),
    "User": Seen("daemon", "id -un", "^daemon$"),
    "Tty": Seen(True, "tty", "/dev/(pts/0|console)"),
    "OpenStdin": Seen(True, "readlink /proc/self/fd/0", "pipe:|socket:"),
    "Env": Seen(["COLOUR=blue"], "echo $COLOUR", "^blue$"),
    "Volumes": Seen({"/kept": {}}, "grep ' /kept ' /proc/mounts", "/kept"),
    "WorkingDir": Seen("/var", "pwd", "^/var$"),
    "NetworkDisabled": Seen(True, "ls /sys/class/net", r"^lo\s*$", host={"NetworkMode": "bridge"}),
    "MacAddress": Seen("02:42:ac:00:00:99", "cat /sys/class/net/eth0/address", "02:42:ac:00:00:99", host={"NetworkMode": "bridge"}),
    "AttachStdin": "attached", "AttachStdout": "attached", "AttachStderr": "attached", "StdinOnce": "stdin_once",
    "ExposedPorts": "exposed", "Cmd": "words", "Entrypoint": "words", "Image": "words", "Healthcheck": "health",
    "OnBuild": "shown", "ArgsEscaped": "shown", "Labels": "labels", "StopSignal": "stopping", "StopTimeout": "stopping", "Shell": "health",
}
HOST: dict[str, Seen | Refused | str] = {
    "CpuShares": Seen(512, control("cpu/cpu.shares", "cpu.weight"), "^(512|20)$"),
    "Memory": Seen(64 * MEGABYTE, control("memory/memory.limit_in_bytes", "memory.max"), "^67108864$"),
    "NanoCpus": Seen(500_000_000, control("cpu/cpu.cfs_quota_us", "cpu.max"), "^50000"),
    "CgroupParent": Seen("/wherry-elsewhere", "cat /proc/self/cgroup", "/wherry-elsewhere/", host={"CgroupnsMode": "host"}),
    "BlkioWeight": Seen(300, control("blkio/blkio.weight || cat /sys/fs/cgroup/blkio/blkio.bfq.weight", "io.bfq.weight"), "300"),
    "BlkioWeightDevice": Seen([{"Path": DISK, "Weight": 200}], control("blkio/blkio.weight_device", "io.weight"), "200"),
    "BlkioDeviceReadBps": Seen([{"Path": DISK, "Rate": 1048576}], throttle("read_bps"), f"{DISK_NUMBER}.*1048576"),
    "BlkioDeviceWriteBps": Seen([{"Path": DISK, "Rate": 1048576}], throttle("write_bps"), f"{DISK_NUMBER}.*1048576"),
    "BlkioDeviceReadIOps": Seen([{"Path": DISK, "Rate": 777}], throttle("read_iops"), f"{DISK_NUMBER}.*777"),
    "BlkioDeviceWriteIOps": Seen([{"Path": DISK, "Rate": 777}], throttle("write_iops"), f"{DISK_NUMBER}.*777"),
    "CpuPeriod": Seen(50000, control("cpu/cpu.cfs_period_us", "cpu.max"), "50000$"),
    "CpuQuota": Seen(30000, control("cpu/cpu.cfs_quota_us", "cpu.max"), "^30000"),
    "CpuRealtimePeriod": Seen(900000, "cat /sys/fs/cgroup/cpu/cpu.rt_period_us", "900000"),
    "CpuRealtimeRuntime": Seen(1000, "cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us", "1000"),
    "CpusetCpus": Seen("0", "grep Cpus_allowed_list /proc/self/status", r"\s0$"),
    "CpusetMems": Refused("777", 400, "memory nodes"),
    "Devices": Seen([{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}],
                    "ls -l /dev/mine; : 2>/dev/null < /dev/mine && echo may", r"10, 229[\s\S]*may"),
    "DeviceCgroupRules": Seen(["c 10:229 rwm"], "mknod /k c 10 229; : 2>/dev/null < /k && echo may", "may"),
    "DeviceRequests": Refused([{"Count": 1, "Capabilities": [["gpu"]]}], 501, "device driver"),
    "KernelMemory": "kernel_memory", "KernelMemoryTCP": "kernel_memory",
    "MemoryReservation": Seen(64 * MEGABYTE, control("memory/memory.soft_limit_in_bytes", "memory.low"), "^67108864$"),
    "MemorySwap": Seen(96 * MEGABYTE, control("memory/memory.memsw.limit_in_bytes", "memory.swap.max"), "^(100663296|33554432)$",
                       host={"Memory": 64 * MEGABYTE}),
    "MemorySwappiness": Seen(7, control("memory/memory.swappiness", "memory.swappiness"), "^7$"),
    "OomKillDisable": Seen(True, control("memory/memory.oom_control", "none"), "oom_kill_disable 1", host={"Memory": 64 * MEGABYTE}),
    "PidsLimit": Seen(77, control("pids/pids.max", "pids.max"), "^77$"),
    "Ulimits": Seen([{"Name": "nofile", "Soft": 123, "Hard": 456}], "ulimit -n", "^123$"),
    "CpuCount": Refused(1, 501, "CpuCount"), "CpuPercent": Refused(1, 501, "CpuPercent"),
    "IOMaximumIOps": Refused(1, 501, "IOMaximumIOps"), "IOMaximumBandwidth": Refused(1, 501, "IOMaximumBandwidth"),
    "Binds": Seen(["/etc:/there:ro"], "grep ' /there ' /proc/mounts", "/there .* ro"),
    "NetworkMode": Seen("bridge", "ls /sys/class/net", "eth0"),
    "VolumeDriver": Refused("nosuch", 404, "nosuch", config={"Volumes": {"/kept": {}}}),
    "ConsoleSize": Seen([33, 77], "stty size", "^33 77", config={"Tty": True}),
    "CapAdd": Seen(["SYS_TIME"], "grep CapEff /proc/self/status", "^CapEff:.*[2367abef]......$"),
    "CapDrop": Seen(["ALL"], "grep CapEff /proc/self/status", "0000000000000000"),
    "CgroupnsMode": Seen("private", "head -n 1 /proc/self/cgroup", ":/$", host={"CgroupnsMode": "host"}),
    "Dns": Seen(["192.0.2.53"], "cat /etc/resolv.conf", "nameserver 192.0.2.53", host={"NetworkMode": "bridge"}),
    "DnsOptions": Seen(["ndots:7"], "cat /etc/resolv.conf", "ndots:7", host={"NetworkMode": "bridge"}),
    "DnsSearch": Seen(["example.net"], "cat /etc/resolv.conf", "search example.net", host={"NetworkMode": "bridge"}),
    "ExtraHosts": Seen(["there:192.0.2.9"], "cat /etc/hosts", r"192.0.2.9\s+there"),
    "GroupAdd": Seen(["staff", "4711"], "id -G", "50 4711"),
    "IpcMode": Seen("none", "ls -d /dev/shm 2>/dev/null || echo none; grep -c /dev/shm /proc/mounts", r"^0$|\n0$"),
    "Cgroup": Refused("other", 501, "Cgroup"), "Links": Refused(["a:b"], 400, "could not get container for a"),
    "OomScoreAdj": Seen(321, "cat /proc/self/oom_score_adj", "^321$"),
    "PidMode": Seen("host", "echo $$", r"^(?!1$)\d+$"),
    "Privileged": Seen(True, "grep ' /sys ' /proc/mounts", " rw"),
    "ReadonlyRootfs": Seen(True, "touch /x", "Read-only"),
    "SecurityOpt": Seen(["no-new-privileges"], "grep NoNewPrivs /proc/self/status", r"\s1$"),
    "StorageOpt": Refused({"size": "1G"}, 501, "storage-opt"),
    "Tmpfs": Seen({"/scratch": "size=1m"}, "grep ' /scratch ' /proc/mounts", "tmpfs .*size=1024k"),
    "UTSMode": Seen("host", "readlink /proc/self/ns/uts", re.escape(os.readlink("/proc/self/ns/uts"))),
    "UsernsMode": Refused("remap", 400, "userns"),
    "ShmSize": Seen(3 * MEGABYTE, "grep ' /dev/shm ' /proc/mounts", "size=3072k"),
    "Sysctls": Seen({"net.ipv4.ip_default_ttl": "42"}, "cat /proc/sys/net/ipv4/ip_default_ttl", "^42$"),
    "Runtime": Refused("nosuch", 400, "nosuch"), "Isolation": Refused("hyperv", 400, "isolation"),
    "Mounts": Seen([{"Type": "tmpfs", "Target": "/m"}], "grep ' /m ' /proc/mounts", "tmpfs"),
    "MaskedPaths": Seen([], "cat /proc/kcore 2>&1 | head -c 0; grep -c ' /proc/keys ' /proc/mounts", "^0$"),
    "ReadonlyPaths": Seen([], "grep -c ' /proc/sys ' /proc/mounts", "^0$"),
    "Init": Seen(True, "echo $$", r"^(?!1$)\d+$"),
    "ContainerIDFile": "shown", "LogConfig": "logging", "PortBindings": "ports", "PublishAllPorts": "ports",
    "RestartPolicy": "restarting", "AutoRemove": "auto_remove", "VolumesFrom": "volumes_from", "Annotations": "shown",
}


def names(model: type[msgspec.Struct]) -> list[str]:
    """The names in JSON."""
    return [field.encode_name for field in msgspec.structs.fields(model)]


@pytest.fixture(scope="module")
def api():
    os.mknod(DISK, 0o060600, os.makedev(*map(int, DISK_NUMBER.split(":"))))
    with wherryd() as daemon:
        yield Api(daemon)
    os.unlink(DISK)


def test_every_field_has_a_row() -> None:
    assert set(names(ContainerConfig)) == set(CONFIG)
    assert set(names(HostConfig)) == set(HOST)
    for row in {row for row in (*CONFIG.values(), *HOST.values()) if isinstance(row, str)}:
        assert f"test_{row}" in globals(), row


def _output(api: Api, config: dict[str, Any], host: dict[str, Any], script: str) -> tuple[str, str]:
    """What a script printed, and the warnings at create; a refusal's message counts as a warning, and nothing is printed."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], **config, "HostConfig": {"NetworkMode": "none", **host}}
    status, answer = api.daemon.request("POST", "/containers/create", body)
    if status == 400:
        return "", str(answer["message"])
    assert status == 201, answer
    try:
        status, refused = api.daemon.request("POST", f"/containers/{answer['Id']}/start")
        if status != 204:
            return "", str(refused["message"])
        api.wait(answer["Id"])
        _, data = api.daemon.request("GET", f"/containers/{answer['Id']}/logs?stdout=1&stderr=1")
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        text = raw.decode(errors="replace").replace("\r", "")
        return (text if config.get("Tty") else api.logs(answer["Id"])).strip(), " ".join(answer["Warnings"] or ())
    finally:
        api.remove(answer["Id"])


def _walk(api: Api, name: str, row: Seen | Refused, *, in_host: bool) -> None:
    if isinstance(row, Refused):
        before = api.ask("GET", "/containers/json?all=1")
        body = {"HostConfig": {"NetworkMode": "none", **({name: row.value} if in_host else {})}, **row.config,
                **({} if in_host else {name: row.value})}
        status, answer = api.daemon.request("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], **body})
        assert (status, row.names.lower() in str(answer).lower()) == (row.status, True), answer
        assert api.ask("GET", "/containers/json?all=1") == before
        return
    with_field = {name: row.value}
    config, host = (row.config, {**row.host, **with_field}) if in_host else ({**row.config, **with_field}, row.host)
    without, _ = _output(api, row.config, row.host, row.script)
    assert not re.search(row.expected, without), f"{name}: {without!r} also without the field"
    output, told = _output(api, config, host, row.script)
    if not re.search(row.expected, output):
        # A machine that cannot do it says so at create, or its kernel refuses the value at start, by the value.
        assert re.search("(?i)does not support|failed to write .*(operation not supported|invalid argument)", told), f"{name}: {output!r} {told!r}"


@pytest.mark.parametrize("name", [name for name, row in CONFIG.items() if not isinstance(row, str)])
def test_config(api, name) -> None:
    row = CONFIG[name]
    assert not isinstance(row, str)
    _walk(api, name, row, in_host=False)


@pytest.mark.parametrize("name", [name for name, row in HOST.items() if not isinstance(row, str)])
def test_host_config(api, name) -> None:
    row = HOST[name]
    assert not isinstance(row, str)
    _walk(api, name, row, in_host=True)


def test_every_field_at_its_zero_value(api) -> None:
    """As the command line sends them; fields that nobody knows are ignored."""
    zero = {**msgspec.to_builtins(ContainerConfig()), "Image": "busybox", "Cmd": ["true"], "NoSuchField": {"x": [1]},
            "HostConfig": {**msgspec.to_builtins(HostConfig()), "NoSuchEither": 5}, "NetworkingConfig": {"EndpointsConfig": {}}}
    container = api.ask("POST", "/containers/create", zero, 201)["Id"]
    api.start(container)
    assert api.wait(container) == 0
    api.remove(container)


def test_attached(api) -> None:
    """What is asked for at create is what a client may look up; the stream itself comes with attach."""
    container = api.create("cat", OpenStdin=True, StdinOnce=True, AttachStdin=True, AttachStdout=True, AttachStderr=False)
    kept = api.inspect(container)["Config"]
    assert (kept["AttachStdin"], kept["AttachStdout"], kept["AttachStderr"]) == (True, True, False)
    api.remove(container)


@pytest.mark.parametrize("once", [True, False])
def test_stdin_once(api, once) -> None:
    """With it the first client's going is the end of input; without it input stays open."""
    container = api.create("sh", "-c", "cat; echo ended", OpenStdin=True, StdinOnce=once, AttachStdin=True)
    with api.hijacked(f"/containers/{container}/attach?stream=1&stdin=1") as (stream, _):
        api.start(container)
        stream.sendall(b"one\n")
    until(lambda: "one" in api.logs(container))
    if once:
        assert api.wait(container) == 0
        assert api.logs(container) == "one\nended\n"
    else:
        assert api.state(container)["Running"]
    api.remove(container)


def test_words(api) -> None:
    """Image, Entrypoint and Cmd: what is run, of what."""
    assert api.run("there", Entrypoint=["echo", "hello"]) == (0, "hello there\n")
    assert "No such image: nosuch:latest" in api.refused("POST", "/containers/create", 404, {"Image": "nosuch"})


def test_health(api) -> None:
    """A probe, run by the shell that is given."""
    health = {"Test": ["CMD-SHELL", "echo $0"], "Interval": 20_000_000, "Retries": 1}
    with api.running(Healthcheck=health, Shell=["sh", "-c", "echo probed by $0; exit 1"]) as container:
        until(lambda: api.state(container)["Health"]["Status"] == "unhealthy")
        assert "probed by" in api.state(container)["Health"]["Log"][-1]["Output"]


def test_labels(api) -> None:
    container = api.create("true", Labels={"colour": "blue"})
    assert [one["Id"] for one in api.ask("GET", '/containers/json?all=1&filters={"label":["colour=blue"]}')] == [container]
    api.remove(container)


def test_stopping(api) -> None:
    """The signal that is sent, and how long it is waited for."""
    told = "trap 'echo told; exit 5' USR1; echo ready; while :; do sleep 0.02; done"
    with api.running("sh", "-c", told, StopSignal="SIGUSR1") as container:
        until(lambda: "ready" in api.logs(container))
        api.ask("POST", f"/containers/{container}/stop")
        assert (api.state(container)["ExitCode"], api.logs(container)) == (5, "ready\ntold\n")
    with api.running("sh", "-c", "trap '' TERM; while :; do sleep 0.02; done", StopTimeout=0) as container:
        api.ask("POST", f"/containers/{container}/stop")
        assert api.state(container)["ExitCode"] == 137


def test_shown(api) -> None:
    """What Docker's daemon does no more with than to keep it and to show it."""
    container = api.create("true", OnBuild=["RUN true"], host={"ContainerIDFile": "/tmp/id", "Annotations": {"a": "b"}})
    about = api.inspect(container)
    assert about["Config"]["OnBuild"] == ["RUN true"]
    assert (about["HostConfig"]["ContainerIDFile"], about["HostConfig"]["Annotations"]) == ("/tmp/id", {"a": "b"})
    api.remove(container)


def test_exposed(api) -> None:
    """An exposed port is one that PublishAllPorts publishes, and no other is."""
    with api.running(ExposedPorts={"81/tcp": {}}, host={"NetworkMode": "bridge", "PublishAllPorts": True}) as container:
        ports = api.inspect(container)["NetworkSettings"]["Ports"]
        assert list(ports) == ["81/tcp"]
        assert int(ports["81/tcp"][0]["HostPort"]) > 0


def test_ports(api) -> None:
    """A published port is listened on, on the address that was given."""
    bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "45671"}]}
    with api.running("httpd", "-f", "-p", "80", "-h", "/etc", host={"NetworkMode": "bridge", "PortBindings": bindings}) as container:
        def answer() -> bytes:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 45671), timeout=5) as stream:
                stream.sendall(b"GET /passwd HTTP/1.0\r\n\r\n")
                return stream.recv(4096)
            return b""
        until(lambda: b"200 OK" in answer())
        assert "port is already allocated" in _start_refused(api, {"NetworkMode": "bridge", "PortBindings": bindings})
        assert api.state(container)["Running"]


def _start_refused(api: Api, host: dict[str, Any]) -> str:
    second = api.create("true", host=host)
    try:
        return api.refused("POST", f"/containers/{second}/start", 500)
    finally:
        api.remove(second)


def test_logging(api) -> None:
    assert api.refused("POST", "/containers/create", 400, {
        "Image": "busybox", "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"nosuch": "1"}}}})
    container = api.create("echo", "x", host={"LogConfig": {"Type": "none"}})
    api.start(container)
    api.wait(container)
    assert "does not support reading" in api.refused("GET", f"/containers/{container}/logs?stdout=1", 501)
    api.remove(container)


def test_restarting(api) -> None:
    container = api.create("false", host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    api.start(container)
    until(lambda: api.inspect(container)["RestartCount"] == 2 and api.state(container)["Status"] == "exited")
    api.remove(container)


def test_auto_remove(api) -> None:
    container = api.create("true", host={"AutoRemove": True})
    api.start(container)
    until(lambda: api.daemon.get(f"/containers/{container}/json")[0] == 404)


def test_volumes_from(api) -> None:
    with api.running("sh", "-c", "echo kept > /v/x; exec sleep 1000", Volumes={"/v": {}}) as first:
        until(lambda: api.run("sh", "-c", "cat /v/x", host={"VolumesFrom": [f"{first}:ro"]}) == (0, "kept\n"))


@pytest.mark.parametrize("name", ["KernelMemory", "KernelMemoryTCP"])
def test_kernel_memory(api, name) -> None:
    """No runtime limits it by itself any more: the client is told, and from 1.42 on the field is none."""
    made = api.ask("POST", "/v1.41/containers/create", {"Image": "busybox", "HostConfig": {name: 64 * MEGABYTE}}, 201)
    assert re.search("deprecated|does not support", " ".join(made["Warnings"])), made
    api.remove(made["Id"])
