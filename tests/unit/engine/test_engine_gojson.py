"""JSON as Go reads and writes it."""

from __future__ import annotations

import json

import pytest

from wherry.engine import gojson
from wherry.engine.model import ContainerConfig, CreateRequest, EndpointSettings, HostConfig
from wherry.errors import InvalidArgument


def test_null_case_and_unknown_fields():
    body = b"""{"tty": true, "Cmd": "sh", "Env": null, "Hostname": null, "Foo": {"Bar": 1}, "ExposedPorts": {"80/tcp": null},
        "HostConfig": {"memory": 5, "Init": false, "PortBindings": {"80/tcp": null}, "ConsoleSize": [1], "Mounts": [null],
                       "Tmpfs": {"/x": null}},
        "NetworkingConfig": {"EndpointsConfig": {"net": null}}}"""
    request = gojson.decode(body, CreateRequest)
    assert request.container_config() == ContainerConfig(tty=True, cmd=("sh",), exposed_ports=request.exposed_ports)
    host = request.host_config
    assert (host.memory, host.init, host.port_bindings, host.console_size) == (5, False, {"80/tcp": None}, (1, 0))
    assert host.tmpfs == {"/x": ""}
    assert host.mounts[0].type == ""
    assert request.networking_config.endpoints_config == {"net": None}
    assert list(request.exposed_ports) == ["80/tcp"]


@pytest.mark.parametrize(("body", "message"), [
    (b"", "invalid JSON: got EOF while reading request body"),
    (b'{"Tty": 1}', "invalid JSON: json: cannot unmarshal number into Go struct field CreateRequest.Tty of type bool"),
    (b'{"Env": "x"}', "invalid JSON: json: cannot unmarshal string into Go struct field CreateRequest.Env of type []string"),
    (b'{"HostConfig": {"Memory": "5"}}',
     "invalid JSON: json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Memory of type int64"),
    (b'{"HostConfig": {"Memory": 1.5}}',
     "invalid JSON: json: cannot unmarshal number 1.5 into Go struct field HostConfig.HostConfig.Memory of type int64"),
    (b'{"HostConfig": {"BlkioWeight": -1}}',
     "invalid JSON: json: cannot unmarshal number -1 into Go struct field HostConfig.HostConfig.BlkioWeight of type uint16"),
    (b'{"HostConfig": []}',
     "invalid JSON: json: cannot unmarshal array into Go struct field CreateRequest.HostConfig of type container.HostConfig"),
    (b"[]", "invalid JSON: json: cannot unmarshal array into Go value of type container.CreateRequest"),
])
def test_wrong_types_are_told_in_gos_words(body, message):
    with pytest.raises(InvalidArgument) as refused:
        gojson.decode(body, CreateRequest)
    assert refused.value.message == message


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'{"a": }', b"\xff", b"[" * 100000])
def test_text_that_is_no_json(body):
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        gojson.decode(body, CreateRequest)


def test_zero_values_are_written_as_go_writes_them():
    text = json.loads(gojson.encode(ContainerConfig()))
    assert text["Env"] is None
    assert text["Tty"] is False
    assert not {"ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell"} & set(text)
    host = json.loads(gojson.encode(HostConfig(init=False)))
    assert host["Init"] is False
    assert host["OomKillDisable"] is None
    assert host["LogConfig"] == {"Type": "", "Config": None}
    assert "Sysctls" not in host
    assert json.loads(gojson.encode(EndpointSettings()))["IPAMConfig"] is None


def test_round_trip():
    host = HostConfig(memory=5, binds=("a:b",), tmpfs={"/x": "y"}, masked_paths=(), init=True)
    assert gojson.decode(gojson.encode(host), HostConfig) == host
