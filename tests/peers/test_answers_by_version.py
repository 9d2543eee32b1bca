"""What each API version's answers look like, 1.24 to 1.41: the same keys, with values of the same kinds, from dockerd 20.10 and from wherryd."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from containers_by_api import until
from real_dockerd import dockerd
from wherryd_box import Connection, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]
VERSIONS = tuple(f"1.{minor}" for minor in range(24, 42))
# Objects whose keys are data: names, ports, paths.
DATA = ("Labels", "ExposedPorts", "PortBindings", "Ports", "Volumes", "Networks", "Containers", "Options", "Attributes", "Tmpfs", "Sysctls", "Annotations",
        "DriverOpts", "AuxiliaryAddresses", "Config.Volumes", "StorageOpt", "Config.Labels", "IndexConfigs", "Runtimes", "memory_stats.stats", "Details", "networks")


class Side:
    """One daemon."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.exec = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status, and the value; of a stream of values the first."""
        connection = Connection(self.path)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {} if body is None else {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read().decode()
        finally:
            connection.close()
        return answer.status, json.JSONDecoder().raw_decode(data)[0] if data[:1] in ("{", "[", "n", '"') else None


def world(side: Side) -> None:
    """A container that runs on a user's network with a port, a volume and a health check; one that has ended; an exec."""
    def done(method: str, path: str, body: Any = None) -> Any:
        status, value = side.ask(method, "/v1.41" + path, body)
        assert status < 300, value
        return value

    done("POST", "/networks/create", {"Name": "mine", "CheckDuplicate": True, "Labels": {"a": "b"}, "IPAM": {"Config": [{"Subnet": "10.89.0.0/24"}]}})
    done("POST", "/volumes/create", {"Name": "kept", "Labels": {"a": "b"}})
    done("POST", "/containers/create?name=running", {
        "Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}, "StopTimeout": 1, "MacAddress": "02:42:ac:00:00:77", "Volumes": {"/anonymous": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5 * 10**9}, "HostConfig": {
            "NetworkMode": "mine", "PortBindings": {"80/tcp": [{"HostPort": "0"}]}, "Memory": 64 << 20, "RestartPolicy": {"Name": "always"},
            "Mounts": [{"Type": "volume", "Source": "kept", "Target": "/kept"}, {"Type": "tmpfs", "Target": "/tmpfs"}], "Binds": ["/etc/hostname:/h:ro"]}})
    done("POST", "/containers/create?name=ended", {"Image": "busybox", "Cmd": ["true"]})
    done("POST", "/containers/running/start")
    done("POST", "/containers/ended/start")
    done("POST", "/containers/ended/wait")
    side.exec = done("POST", "/containers/running/exec", {"Cmd": ["true"]})["Id"]
    done("POST", f"/exec/{side.exec}/start", {"Detach": True})
    done("POST", "/containers/running/exec", {"Cmd": ["true"]})
    until(lambda: done("GET", "/containers/running/json")["State"]["Health"]["Log"])


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[Side, Side]]:
    with dockerd() as real, wherryd() as ours:
        both = Side(real.socket.removeprefix("unix://")), Side(ours.path)
        for side in both:
            world(side)
        yield both
        for side in both:
            for one in side.ask("GET", "/v1.41/containers/json?all=1")[1]:
                side.ask("DELETE", f"/v1.41/containers/{one['Id']}?force=1&v=1")
            side.ask("DELETE", "/v1.41/networks/mine")


QUESTIONS = ("GET /containers/json?all=1&size=1", "GET /containers/running/json?size=1", "GET /containers/ended/json", "GET /images/json", "GET /images/busybox/json",
             "GET /images/busybox/history", "GET /networks", "GET /networks/mine", "GET /networks/bridge", "GET /volumes", "GET /volumes/kept", "GET /info", "GET /version",
             "GET /system/df", "GET /exec/{exec}/json", "GET /containers/running/top", "GET /containers/running/changes",
             "POST /containers/ended/wait", "POST /containers/prune?filters=%7B%22label%22:%5B%22x%22%5D%7D", "POST /volumes/prune", "POST /networks/prune?filters=%7B%22label%22:%5B%22x%22%5D%7D", "POST /images/prune",
             "POST /containers/running/update {}", "POST /auth {}", "POST /containers/nosuch/start", "POST /networks/create {\"Name\": \"x\"}", "DELETE /networks/x",
             "POST /volumes/create {\"Name\": \"xx\"}", "DELETE /volumes/xx", "POST /containers/create {\"Image\": \"busybox\"}", "POST /containers/running/exec {\"Cmd\": [\"true\"]}",
             "GET /_ping", "POST /build/prune", "GET /containers/running/archive?path=/etc/passwd",
             "GET /events?since=1&until={now}&filters=%7B%22event%22:%5B%22create%22%5D,%22type%22:%5B%22container%22%5D%7D")
SLOW = ("GET /containers/running/stats?stream=0",)  # a second each, and the same in every version


# Routes that came later: 20.10 has them in every version, wherryd in theirs.
LATER = {"POST /build/prune": "1.31", "POST /containers/prune?filters=%7B%22label%22:%5B%22x%22%5D%7D": "1.25"}
# 20.10 shows the first two fields in versions that did not know them; a gateway that it chose, after its next start only; and newer Dockers mark
# anonymous volumes with a label. What a daemon warns of is its own.
EXPECTED = {".HostConfig.CgroupnsMode", ".HostConfig.DeviceRequests", "[].IPAM.Config[].Gateway", ".IPAM.Config[].Gateway", ".Volumes[].Labels",
            ".Volumes[].Labels.*", ".Warnings", ".Warnings[]"}
# What versions changed, by the history of the API: a question, the field in its answer, the first and the last minor version that has it.
FIELDS = (
    ("GET /containers/running/json?size=1", ".HostConfig.DeviceRequests", 40, 50), ("GET /containers/running/json?size=1", ".HostConfig.CgroupnsMode", 41, 50),
    ("GET /containers/running/json?size=1", ".HostConfig.KernelMemory", 24, 41), ("GET /containers/running/json?size=1", ".Config.MacAddress", 24, 43),
    ("GET /containers/running/json?size=1", ".NetworkSettings.Networks.*.DNSNames", 44, 50), ("GET /containers/running/json?size=1", ".NetworkSettings.Networks.*.GwPriority", 48, 50),
    ("GET /images/busybox/json", ".VirtualSize", 24, 43), ("GET /images/json", "[].VirtualSize", 24, 43), ("GET /images/busybox/json", ".ContainerConfig", 24, 44),
    ("GET /images/busybox/json", ".Container", 24, 44), ("GET /networks/mine", ".EnableIPv4", 48, 50), ("GET /networks/mine", ".Containers.*", 24, 50),
    ("GET /networks", "[].Containers.*", 24, 27), ("POST /containers/ended/wait", ".Error", 24, 41), ("GET /info", ".KernelMemory", 24, 41),
)


def shape(value: Any, at: str = "") -> set[str]:
    """Every key with its value's kind; an array's elements are taken together."""
    kind = {"NoneType": "null", "bool": "bool", "int": "number", "float": "number", "str": "text", "dict": "object", "list": "array"}[type(value).__name__]
    found = {f"{at}: {kind}"}
    if isinstance(value, dict):
        is_data = any(at.endswith(name) for name in DATA)
        for key, inner in value.items():
            found |= shape(inner, f"{at}.{'*' if is_data else key}")
    elif isinstance(value, list):
        for inner in value:
            found |= shape(inner, f"{at}[]")
    return found


def answers(side: Side, version: str, questions: tuple[str, ...] = QUESTIONS) -> dict[str, tuple[int, set[str]]]:
    """The status and the shape of the answer to each question."""
    found = {}
    for question in questions:
        method, path, *body = question.split(" ", 2)
        path = path.replace("{exec}", side.exec).replace("{now}", str(time.time()))
        status, value = side.ask(method, f"/v{version}{path}", json.loads(body[0]) if body else None)
        found[question] = status, shape(value)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_keys_with_values_of_the_same_kinds(sides: tuple[Side, Side], version: str) -> None:
    questions = QUESTIONS + SLOW if version in (VERSIONS[0], VERSIONS[-1]) else QUESTIONS
    theirs, ours = (answers(side, version, questions) for side in sides)
    different = []
    for question in questions:
        if question in LATER and version < LATER[question]:
            assert ours[question][0] == 404, question
            continue
        assert ours[question][0] == theirs[question][0], question
        different += [f"{question} {sign} {one}" for sign, left, right in (("-", theirs, ours), ("+", ours, theirs))
                      for one in left[question][1] - right[question][1] if one.split(": ")[0] not in EXPECTED]
    assert different == []


@pytest.fixture
def newest(sides: tuple[Side, Side]) -> Side:
    return sides[1]


@pytest.mark.parametrize("version", [f"1.{minor}" for minor in range(24, 51)])
def test_a_field_is_there_in_its_versions(newest: Side, version: str) -> None:
    minor = int(version[2:])
    found = answers(newest, version)
    for question, field, first, last in FIELDS:
        is_there = any(one.split(": ")[0] == field for one in found[question][1])
        assert is_there == (first <= minor <= last), (question, field)
