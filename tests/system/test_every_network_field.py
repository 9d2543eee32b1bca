"""Every field of what a network and a place in one can be asked for: an effect that is seen, or a refusal by name that changes nothing.

One row for each field of NetworkCreate, IPAM, IPAMConfig, NetworkingConfig, EndpointSettings and EndpointIPAMConfig, and of the bodies
of connect and disconnect; a field without a row fails. A place in a network is asked for at create and by connect: each row is tried both ways.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import urllib.parse
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from containers_by_api import Api, until
from wherryd_box import wherryd

from wherry.api.docker.networks import IPAM, CreateRequest, IPAMConfig
from wherry.engine.model import (
    EndpointIPAMConfig,
    EndpointSettings,
    NetworkConnectRequest,
    NetworkDisconnectRequest,
    NetworkingConfig,
)
from wherry.network.networks import BRIDGE_OPTION, MTU_OPTION, PREFIX_OPTION

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]

SUBNET = {"Subnet": "10.81.0.0/24"}
IPV6_SUBNET = {"Subnet": "fd00:81::/64"}
MAC = "02:42:0a:51:00:99"


class Seen(msgspec.Struct, frozen=True):
    """A value, and a shell script whose output in the container must match with it and must not match without it."""

    value: Any
    script: str
    expected: str


class Refused(msgspec.Struct, frozen=True):
    """A value that is not done, and what the message of the 501 names."""

    value: Any
    names: str


class Answered(msgspec.Struct, frozen=True):
    """A field of answers: what a client sends in it is not believed. `true` matches what inspect says instead."""

    value: Any
    true: str


Row = Seen | Refused | Answered | str

IPAM_CONFIG: dict[str, Row] = {
    "IPv4Address": Seen("10.81.0.77", "ip -4 addr show eth0", r"inet 10\.81\.0\.77/24"),
    "IPv6Address": Seen("fd00:81::77", "ip -6 addr show eth0", r"inet6 fd00:81::77/64"),
    "LinkLocalIPs": Seen(["169.254.8.8", "fe80::8:8"], "ip addr show eth0", r"(?s)inet 169\.254\.8\.8/16.*inet6 fe80::8:8/64"),
}
ENDPOINT: dict[str, Row] = {
    "IPAMConfig": "every_field_has_a_row",
    "Links": Seen(["place:otherwise"], "nslookup otherwise", r"Name:\s+otherwise"),
    "Aliases": Seen(["nickname"], "nslookup nickname", r"Name:\s+nickname"),
    "MacAddress": Seen(MAC, "cat /sys/class/net/eth0/address", f"^{MAC}$"),
    "DriverOpts": "driver_opts",
    "GwPriority": "gateway_priority",
    "NetworkID": Answered("f" * 64, "^(?!f{64})[0-9a-f]{64}$"),
    "EndpointID": Answered("e" * 64, "^(?!e{64})[0-9a-f]{64}$"),
    "Gateway": Answered("10.81.0.250", r"^10\.81\.0\.1$"),
    "IPAddress": Answered("10.81.0.251", r"^10\.81\.0\.(?!251$)\d+$"),
    "IPPrefixLen": Answered(9, "^24$"),
    "IPv6Gateway": Answered("fd00:81::250", "^fd00:81::1$"),
    "GlobalIPv6Address": Answered("fd00:81::251", r"^fd00:81::(?!251$)[\da-f]+$"),
    "GlobalIPv6PrefixLen": Answered(9, "^64$"),
    "DNSNames": Answered(["lie"], "^(?!.*lie).*place"),
}
NETWORK: dict[str, Row] = {
    "Name": "name", "CheckDuplicate": "name", "Driver": "driver", "Scope": Refused("global", "Scope global"),
    "EnableIPv4": "ipv4", "EnableIPv6": "ipv6", "IPAM": "every_field_has_a_row",
    "Internal": Seen(True, "ip route; ping -c 1 -W 1 10.99.0.1 2>&1", "^(?!.*default)[^$]*unreachable"),
    "Attachable": "shown", "Labels": "shown", "Ingress": Refused(True, "Ingress"), "ConfigOnly": Refused(True, "ConfigOnly"),
    "ConfigFrom": Refused({"Network": "other"}, "ConfigFrom"), "Options": "every_option_has_a_row",
}
IPAM_ROWS: dict[str, Row] = {
    "Driver": Refused("nosuch", "IPAM driver nosuch"), "Options": Refused({"a": "b"}, "IPAM options"), "Config": "every_field_has_a_row",
}
POOL: dict[str, Row] = {
    "Subnet": Seen("10.82.4.0/22", "ip -4 addr show eth0", r"inet 10\.82\.[4-7]\.\d+/22"),
    "IPRange": Seen("10.81.0.64/28", "ip -4 addr show eth0", r"inet 10\.81\.0\.(6[4-9]|7\d)/24"),
    "Gateway": Seen("10.81.0.200", "ip route", r"default via 10\.81\.0\.200 "),
    # The first two addresses are the gateway's and the container's, unless somebody else's.
    "AuxiliaryAddresses": Seen({"router": "10.81.0.2"}, "ip -4 addr show eth0", r"inet 10\.81\.0\.3/24"),
}
OPTIONS: dict[str, str] = {
    BRIDGE_OPTION + "name": "bridge_name", BRIDGE_OPTION + "enable_icc": "icc", BRIDGE_OPTION + "enable_ip_masquerade": "masquerade",
    BRIDGE_OPTION + "host_binding_ipv4": "host_binding", MTU_OPTION: "mtu_and_prefix", PREFIX_OPTION: "mtu_and_prefix",
}
REFUSED_OPTIONS = {
    BRIDGE_OPTION + "gateway_mode_ipv4": "routed", BRIDGE_OPTION + "gateway_mode_ipv6": "nat", BRIDGE_OPTION + "inhibit_ipv4": "true",
    BRIDGE_OPTION + "default_bridge": "true", BRIDGE_OPTION + "host_binding_ipv6": "::1", BRIDGE_OPTION + "trusted_host_interfaces": "eth0",
    "com.docker.network.enable_ipv6": "true", "com.docker.network.host_ipv4": "10.0.0.1", "com.docker.network.nosuch": "1",
}
JOINING: dict[str, Row] = {"EndpointsConfig": "several_networks"}
CONNECT: dict[str, Row] = {"Container": "connect_and_disconnect", "EndpointConfig": "every_field_has_a_row"}
DISCONNECT: dict[str, Row] = {"Container": "connect_and_disconnect", "Force": "connect_and_disconnect"}
TABLES: list[tuple[type[msgspec.Struct], dict[str, Row]]] = [
    (EndpointIPAMConfig, IPAM_CONFIG), (EndpointSettings, ENDPOINT), (CreateRequest, NETWORK), (IPAM, IPAM_ROWS), (IPAMConfig, POOL),
    (NetworkingConfig, JOINING), (NetworkConnectRequest, CONNECT), (NetworkDisconnectRequest, DISCONNECT)]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with wherryd() as daemon:
        yield Api(daemon)


@contextlib.contextmanager
def network(api: Api, name: str = "place-net", **body: Any) -> Iterator[dict[str, Any]]:
    """A network for the length of the block, as inspect shows it; its subnets are SUBNET and IPV6_SUBNET unless it says otherwise."""
    given = body if "IPAM" in body else {"IPAM": {"Config": [SUBNET, IPV6_SUBNET]}, "EnableIPv6": True, **body}
    made = api.ask("POST", "/networks/create", {"Name": name, **given}, 201)["Id"]
    try:
        yield api.ask("GET", f"/networks/{made}")
    finally:
        api.ask("DELETE", f"/networks/{made}")


def link(name: str) -> str:
    return subprocess.run(["ip", "addr", "show", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode()


def rows(table: dict[str, Row], kind: type[Row]) -> list[str]:  # type: ignore[valid-type]
    return [name for name, row in table.items() if isinstance(row, kind)]  # type: ignore[arg-type]


def everything(api: Api) -> Any:
    """What a refusal must leave as it is. Interfaces of containers that have just ended go by themselves, so that only bridges are looked at."""
    links = sorted(line.split(": ")[1] for line in subprocess.check_output(["ip", "-o", "link", "show", "type", "bridge"]).decode().splitlines())
    return api.ask("GET", "/networks"), [(one["Id"], one["NetworkSettings"]) for one in api.ask("GET", "/containers/json?all=1")], links


def test_every_field_has_a_row() -> None:
    for model, table in TABLES:
        assert {field.encode_name for field in msgspec.structs.fields(model)} == set(table), model.__name__
        for row in table.values():
            if isinstance(row, str):
                assert f"test_{row}" in globals(), row


def test_every_option_has_a_row(api: Api) -> None:
    """Options of the bridge driver are done, or refused by name; those of other people are kept and shown."""
    for name in OPTIONS.values():
        assert f"test_{name}" in globals(), name
    before = everything(api)
    for name, value in REFUSED_OPTIONS.items():
        assert f"{name}={value}" in api.refused("POST", "/networks/create", 501, {"Name": "never", "Options": {name: value}})
    for name in OPTIONS:
        if name not in (BRIDGE_OPTION + "name", PREFIX_OPTION):
            assert api.refused("POST", "/networks/create", 400, {"Name": "never", "Options": {name: "nonsense"}})
    assert everything(api) == before
    with network(api, Options={"org.example": "x"}) as made:
        assert made["Options"] == {"org.example": "x"}


# --- a place in a network ---

def _output_created(api: Api, script: str, settings: dict[str, Any]) -> str:
    code, text = api.run("sh", "-c", script, name="place", host={"NetworkMode": "place-net"},
                         NetworkingConfig={"EndpointsConfig": {"place-net": settings}})
    return text.strip() if code in (0, 1) else f"{code}"


def _output_connected(api: Api, script: str, settings: dict[str, Any]) -> str:
    """Of a container that joins while it runs: its only network, so that it is eth0 too."""
    with api.running(name="place", host={"NetworkMode": "bridge"}) as container:
        api.ask("POST", "/networks/bridge/disconnect", {"Container": container}, 200)
        api.ask("POST", "/networks/place-net/connect", {"Container": container, "EndpointConfig": settings}, 200)
        return api.exec(container, "sh", "-c", script)[1].strip()


def _settings(name: str, value: Any) -> dict[str, Any]:
    return {"IPAMConfig": {name: value}} if name in IPAM_CONFIG else {name: value}


ASKED = {**IPAM_CONFIG, **ENDPOINT}
WAYS = {"create": _output_created, "connect": _output_connected}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", rows(ASKED, Seen))
def test_place(api: Api, way: str, name: str) -> None:
    row = ASKED[name]
    assert isinstance(row, Seen)
    with network(api):
        assert not re.search(row.expected, WAYS[way](api, row.script, {}), re.MULTILINE), "also without the field"
        output = WAYS[way](api, row.script, _settings(name, row.value))
        assert re.search(row.expected, output, re.MULTILINE), output


@pytest.mark.parametrize("way", WAYS)
def test_place_answered(api: Api, way: str) -> None:
    """What the daemon finds out by itself is not believed when a client sends it: clients send back what inspect gave them."""
    lies = {name: row.value for name, row in ENDPOINT.items() if isinstance(row, Answered)}
    with network(api) as made:
        joined = {"NetworkingConfig": {"EndpointsConfig": {"place-net": lies}}} if way == "create" else {}
        with api.running(name="place", host={"NetworkMode": "place-net" if joined else "bridge"}, **joined) as container:
            if way == "connect":
                api.ask("POST", "/networks/place-net/connect", {"Container": container, "EndpointConfig": lies}, 200)
            shown = api.inspect(container)["NetworkSettings"]["Networks"]["place-net"]
            for name, row in ENDPOINT.items():
                if isinstance(row, Answered):
                    text = json.dumps(shown[name]) if name == "DNSNames" else str(shown[name])
                    assert re.search(row.true, text), f"{name}: {text}"
            assert shown["NetworkID"] == made["Id"]
            assert f"inet {shown['IPAddress']}/24" in api.exec(container, "ip", "addr")[1]


def test_driver_opts(api: Api) -> None:
    """The bridge driver has none: those that Docker defines are refused by name, the others are kept and shown."""
    before = everything(api)
    with network(api):
        for name in ("sysctls", "ifname", "nosuch"):
            option = f"com.docker.network.endpoint.{name}"
            assert option in api.refused("POST", "/containers/create", 501, {
                "Image": "busybox", "HostConfig": {"NetworkMode": "place-net"},
                "NetworkingConfig": {"EndpointsConfig": {"place-net": {"DriverOpts": {option: "x"}}}}})
        with api.running(host={"NetworkMode": "place-net"},
                         NetworkingConfig={"EndpointsConfig": {"place-net": {"DriverOpts": {"org.example": "x"}}}}) as container:
            assert api.inspect(container)["NetworkSettings"]["Networks"]["place-net"]["DriverOpts"] == {"org.example": "x"}
    assert everything(api) == before


@pytest.mark.parametrize(("first", "second", "gateway"), [(0, 0, "10.81.0.1"), (0, 5, "10.83.0.1"), (7, 5, "10.81.0.1"), (0, -5, "10.81.0.1"), (-5, 0, "10.83.0.1")])
def test_gateway_priority(api: Api, first: int, second: int, gateway: str) -> None:
    """The default route goes by the network of highest priority, of equals by the first by name: made so, joined so, and after the other has left."""
    with network(api, "net-a"), network(api, "net-b", IPAM={"Config": [{"Subnet": "10.83.0.0/24"}]}):
        wanted = {"net-a": {"GwPriority": first}, "net-b": {"GwPriority": second}}
        with api.running(host={"NetworkMode": "net-a"}, NetworkingConfig={"EndpointsConfig": wanted}) as container:
            assert f"default via {gateway} " in api.exec(container, "ip", "route")[1]
            assert api.inspect(container)["NetworkSettings"]["Networks"]["net-b"]["GwPriority"] == second
        with api.running(host={"NetworkMode": "net-b"}, NetworkingConfig={"EndpointsConfig": {"net-b": wanted["net-b"]}}) as container:
            api.ask("POST", "/networks/net-a/connect", {"Container": container, "EndpointConfig": wanted["net-a"]}, 200)
            assert f"default via {gateway} " in api.exec(container, "ip", "route")[1]
            api.ask("POST", "/networks/net-a/disconnect", {"Container": container}, 200)
            assert "default via 10.83.0.1 " in api.exec(container, "ip", "route")[1]


def test_several_networks(api: Api) -> None:
    """One interface for each, and no other; one that is not there fails the start by its name."""
    with network(api, "net-a"), network(api, "net-b", IPAM={"Config": [{"Subnet": "10.83.0.0/24"}]}):
        code, text = api.run("ip", "-4", "-o", "addr", host={"NetworkMode": "net-a"}, NetworkingConfig={"EndpointsConfig": {"net-a": None, "net-b": {}}})
        assert (code, sorted(re.findall(r"inet (10\.8\d)", text)), len(text.splitlines())) == (0, ["10.81", "10.83"], 3)
        container = api.create("true", host={"NetworkMode": "net-a"}, NetworkingConfig={"EndpointsConfig": {"net-a": {}, "net-none": {}}})
        assert "network net-none not found" in api.refused("POST", f"/containers/{container}/start", 404)
        api.remove(container)


def test_connect_and_disconnect(api: Api) -> None:
    """Container and Force."""
    with network(api) as made, api.running(host={"NetworkMode": "bridge"}) as container:
        path = f"/networks/{made['Id']}"
        assert "No such container: nosuch" in api.refused("POST", f"{path}/connect", 404, {"Container": "nosuch"})
        api.ask("POST", f"{path}/connect", {"Container": container[:12]}, 200)
        assert "inet 10.81.0.2/24" in api.exec(container, "ip", "addr", "show", "eth1")[1]
        api.ask("POST", f"{path}/disconnect", {"Container": container[:12]}, 200)
        assert api.exec(container, "ip", "addr", "show", "eth1")[0] != 0
        assert api.refused("POST", f"{path}/disconnect", 404, {"Container": "nosuch"})
        api.ask("POST", f"{path}/disconnect", {"Container": "nosuch", "Force": True}, 200)
        unknown = "/networks/net-none/disconnect"
        assert "network net-none not found" in api.refused("POST", unknown, 404, {"Container": container})
        told = api.refused("POST", unknown, 500, {"Container": container, "Force": True})
        assert told == f"container {container} is not connected to the network net-none"
    with api.running(host={"NetworkMode": "host"}) as container:
        path = f"/networks/{api.ask('GET', '/networks/host')['Id']}"
        assert "cannot be disconnected from host network" in api.refused("POST", f"{path}/disconnect", 400, {"Container": container})


# --- a network ---

@pytest.mark.parametrize("name", [*rows(NETWORK, Seen), *rows(POOL, Seen)])
def test_network(api: Api, name: str) -> None:
    row = {**NETWORK, **POOL}[name]
    assert isinstance(row, Seen)
    body: dict[str, Any] = {"IPAM": {"Config": [{**SUBNET, name: row.value}]}} if name in POOL else {name: row.value}
    with network(api):
        assert not re.search(row.expected, _output_created(api, row.script, {}), re.MULTILINE), "also without the field"
    with network(api, **body) as made:
        output = _output_created(api, row.script, {})
        assert re.search(row.expected, output), output
        assert (made["IPAM"]["Config"][0] if name in POOL else made)[name] == row.value


@pytest.mark.parametrize("name", [*rows(NETWORK, Refused), *(f"IPAM.{one}" for one in rows(IPAM_ROWS, Refused))])
def test_network_refused(api: Api, name: str) -> None:
    row = IPAM_ROWS[name.removeprefix("IPAM.")] if name.startswith("IPAM.") else NETWORK[name]
    assert isinstance(row, Refused)
    before = everything(api)
    body = {"IPAM": {name.removeprefix("IPAM."): row.value}} if name.startswith("IPAM.") else {name: row.value}
    assert row.names in api.refused("POST", "/networks/create", 501, {"Name": "never", **body})
    assert everything(api) == before


def test_ipv4(api: Api) -> None:
    """A network of IPv6 alone: no address and no route of IPv4; names are answered, and ports lead to the one address there is."""
    assert "IPv4 or IPv6 must be enabled" in api.refused("POST", "/networks/create", 400, {"Name": "never", "EnableIPv4": False})
    with network(api, EnableIPv4=False, EnableIPv6=True, IPAM={"Config": [IPV6_SUBNET]}) as made:
        assert (made["EnableIPv4"], [pool["Subnet"] for pool in made["IPAM"]["Config"]]) == (False, ["fd00:81::/64"])
        server = ("sh", "-c", "mkdir /w; echo seen > /w/index.html; exec httpd -f -p [::]:80 -h /w")
        host = {"NetworkMode": "place-net", "PortBindings": {"80/tcp": [{"HostPort": "8681"}]}}
        with api.running(*server, name="place", host=host) as container:
            shown = api.inspect(container)["NetworkSettings"]["Networks"]["place-net"]
            assert (shown["IPAddress"], shown["IPPrefixLen"], shown["Gateway"], shown["GlobalIPv6Address"]) == ("", 0, "", "fd00:81::2")
            assert "inet " not in api.exec(container, "ip", "addr", "show", "eth0")[1]
            assert api.exec(container, "ip", "route")[1].strip() == ""
            for address in ("127.0.0.1", "[::1]"):
                until(lambda address=address: subprocess.run(["curl", "-sgm", "10", f"http://{address}:8681"], stdout=subprocess.PIPE,
                                                             check=False).stdout == b"seen\n")
            assert api.exec(container, "nslookup", "-type=aaaa", "place", "127.0.0.11")[1].strip().endswith("Address: fd00:81::2")
    with network(api, EnableIPv4=False, EnableIPv6=True, IPAM={"Config": [SUBNET, IPV6_SUBNET]}):
        assert "inet " not in _output_created(api, "ip addr show eth0", {})


def test_ipv6(api: Api) -> None:
    """A subnet of IPv6 is used where IPv6 is on, and only shown where it is off; without one there is none to be had."""
    with network(api, IPAM={"Config": [SUBNET, IPV6_SUBNET]}) as made:
        assert (made["EnableIPv6"], made["IPAM"]["Config"][1]["Subnet"]) == (False, "fd00:81::/64")
        assert "inet6" not in _output_created(api, "ip -6 addr show eth0", {})
    with network(api, EnableIPv6=True, IPAM={"Config": [{**IPV6_SUBNET, "IPRange": "fd00:81::5:0/112", "Gateway": "fd00:81::9"}]}) as made:
        assert made["EnableIPv6"]
        output = _output_created(api, "ip -6 addr show eth0; ip -6 route", {})
        assert "inet6 fd00:81::5:0/64" in output
        assert "default via fd00:81::9 " in output
    before = everything(api)
    assert "IPv6 address pool" in api.refused("POST", "/networks/create", 404, {"Name": "never", "EnableIPv6": True})
    assert everything(api) == before


def test_name(api: Api) -> None:
    """A name is had once, as with every Docker since API 1.44, whatever CheckDuplicate says."""
    with network(api) as made:
        assert made["Name"] == "place-net"
        for check in (True, False):
            assert "network with name place-net already exists" in api.refused(
                "POST", "/networks/create", 409, {"Name": "place-net", "CheckDuplicate": check})


def test_driver(api: Api) -> None:
    with network(api, Driver="bridge", Scope="local") as made:
        assert (made["Driver"], made["Scope"], "bridge" in subprocess.check_output(["ip", "-d", "link", "show", f"br-{made['Id'][:12]}"]).decode()) \
            == ("bridge", "local", True)
    before = everything(api)
    for driver in ("macvlan", "ipvlan", "overlay"):
        assert repr(driver) in api.refused("POST", "/networks/create", 501, {"Name": "never", "Driver": driver})
    assert "plugin nosuch" in api.refused("POST", "/networks/create", 404, {"Name": "never", "Driver": "nosuch"})
    assert everything(api) == before


def test_shown(api: Api) -> None:
    """Attachable means something to a swarm only; labels are what networks are found by."""
    with network(api, Attachable=True, Labels={"colour": "blue"}) as made:
        assert (made["Attachable"], made["Labels"]) == (True, {"colour": "blue"})
        for wanted, found in (("colour=blue", [made["Id"]]), ("colour=red", [])):
            filters = urllib.parse.quote(json.dumps({"label": [wanted]}))
            assert [one["Id"] for one in api.ask("GET", f"/networks?filters={filters}")] == found


def test_bridge_name(api: Api) -> None:
    with network(api, Options={BRIDGE_OPTION + "name": "named0"}):
        assert "inet 10.81.0.1/24" in link("named0")
    assert "does not exist" in link("named0")


def test_mtu_and_prefix(api: Api) -> None:
    with network(api, Options={MTU_OPTION: "1400", PREFIX_OPTION: "lan", BRIDGE_OPTION + "name": "mtu0"}):
        assert _output_created(api, "cat /sys/class/net/lan0/mtu", {}) == "1400"
        with api.running(host={"NetworkMode": "place-net"}):
            assert "mtu 1400" in link("mtu0")


@pytest.mark.parametrize("allowed", [True, False])
def test_icc(api: Api, allowed: bool) -> None:
    """Whether containers of one network hear each other. The subnets differ, since the kernel remembers flows for a while."""
    with network(api, IPAM={"Config": [{"Subnet": f"10.84.{int(allowed)}.0/24"}]}, Options={BRIDGE_OPTION + "enable_icc": str(allowed).lower()}), \
            api.running(name="server", host={"NetworkMode": "place-net"}) as server:
        address = api.inspect(server)["NetworkSettings"]["Networks"]["place-net"]["IPAddress"]
        assert _output_created(api, f"ping -c 1 -W 1 {address} >/dev/null && echo heard", {}) == ("heard" if allowed else "")


@pytest.mark.parametrize("wanted", [True, False])
def test_masquerade(api: Api, wanted: bool) -> None:
    """Whether what goes out has the host's address: the kernel's rule for the subnet. What is published is no matter of it."""
    with network(api, Options={BRIDGE_OPTION + "enable_ip_masquerade": str(wanted).lower()}) as made:
        bridge = f"br-{made['Id'][:12]}"
        rules = subprocess.check_output(["nft", "list", "ruleset"]).decode()
        masqueraded = [line for line in rules.splitlines()
                       if "masquerade" in line and "10.81.0.0/24" in line and f'oifname != "{bridge}"' in line]
        assert bool(masqueraded) == wanted, rules


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_host_binding(api: Api, address: str) -> None:
    """Where ports are published that name no address."""
    options = {BRIDGE_OPTION + "host_binding_ipv4": address} if address else {}
    with network(api, Options=options), api.running(
            "httpd", "-f", "-p", "80", "-h", "/etc", ExposedPorts={"80/tcp": {}},
            host={"NetworkMode": "place-net", "PortBindings": {"80/tcp": [{"HostPort": "18123"}]}}) as container:
        shown = {one["HostIp"] for one in api.inspect(container)["NetworkSettings"]["Ports"]["80/tcp"]}
        assert ("127.0.0.1" in shown) == bool(address)
        listening = [line for line in subprocess.check_output(["ss", "-Htln"]).decode().splitlines() if ":18123" in line]
        assert {line.split()[3] for line in listening} >= {f"{address or '0.0.0.0'}:18123"}

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 18123), timeout=5) as stream:
                stream.sendall(b"GET /passwd HTTP/1.0\r\n\r\n")
                return b"200 OK" in stream.recv(4096)
            return False
        until(answers)
