"""Networks with real packets: namespaces as containers, a neighbour host, the proxy as a process, all in a private world."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_lab import HOST, NEIGHBOUR, WAIT_S, Lab, Space, local, neighbour_host, refused, refused_by_reset, talk, talk_udp

from wherry import trace
from wherry.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unsupported
from wherry.linux import rtnetlink
from wherry.linux.netlink import Socket
from wherry.network.controller import Controller
from wherry.network.model import (
    EndpointRequest,
    NetworkConfig,
    NetworkSpec,
    Pool,
    PortRequest,
    PublishedPort,
    Sandbox,
)
from wherry.network.ports import PortUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]

@pytest.fixture(scope="module")
def neighbour() -> Iterator[Space]:
    with neighbour_host() as space:
        yield space


@pytest.fixture(scope="module")
def lab(neighbour: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    found = Lab(tmp_path_factory.mktemp("lab"), NetworkConfig())
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    assert any("ip_forward was off" in warning for warning in found.controller.warnings())
    yield found
    found.close()
    subprocess.run(["ip", "link", "delete", "wherry0"], check=True)  # ports of its last containers die slowly; the next daemon is another


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "lab" in request.fixturenames:
        lab = request.getfixturevalue("lab")
        for name in tuple(lab.spaces):
            lab.end(name)
        for network in lab.controller.networks():
            if not network.is_default:
                lab.controller.remove_network(network.id)


# --- the default bridge ---


def test_what_users_see_on_both_sides(lab: Lab) -> None:
    space = lab.run("one")
    address = lab.address("one")
    network = lab.controller.network("bridge")
    gateway = network.pools[0].gateway
    inner = space.command("ip", "-o", "addr")
    assert f"inet {address}/16 brd" in inner
    assert "eth0" in inner
    assert "inet6 fe80" not in inner
    assert "link/ether 02:42:" + ":".join(f"{int(part):02x}" for part in address.split(".")) in space.command("ip", "link", "show", "eth0")
    assert f"default via {gateway} dev eth0" in space.command("ip", "route")
    outer = subprocess.run(["ip", "-o", "addr", "show", "wherry0"], capture_output=True, text=True, check=True).stdout
    assert f"inet {gateway}/16" in outer
    port = subprocess.run(["ip", "-o", "link", "show", "master", "wherry0"], capture_output=True, text=True, check=True).stdout
    assert lab.held["one"]["bridge"].host_interface in port


def test_first_connection_loses_no_packet(lab: Lab) -> None:
    for number in range(10):
        space = lab.run(f"first{number}")
        server = space.socket(bind=("0.0.0.0", 80))
        client = local()
        client.settimeout(0.9)  # a lost first packet would be sent again after a second
        with client:
            talk(client, server, (lab.address(f"first{number}"), 80))


def test_containers_reach_other_hosts_under_the_hosts_address(lab: Lab, neighbour: Space) -> None:
    space = lab.run("out")
    server = neighbour.socket(bind=("0.0.0.0", 7000))
    assert talk(space.socket(), server, (NEIGHBOUR, 7000))[0] == HOST


def test_containers_of_a_bridge_reach_each_other(lab: Lab) -> None:
    one, two = lab.run("a"), lab.run("b")
    server = two.socket(bind=("0.0.0.0", 81))
    assert talk(one.socket(), server, (lab.address("b"), 81))[0] == lab.address("a")


@pytest.fixture(params=["0", "1"])
def bridge_netfilter(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whether frames within a bridge meet the firewall: both are found in the field."""
    knob = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not knob.exists():
        if request.param == "1":
            pytest.skip("the kernel has no bridge netfilter")
        yield
        return
    before = knob.read_text()
    knob.write_text(request.param)
    yield
    knob.write_text(before)


@pytest.mark.usefixtures("bridge_netfilter")
def test_published_port_from_everywhere(lab: Lab, neighbour: Space) -> None:
    lab.controller.create_network(NetworkSpec(name="other"))
    space = lab.run("web", ports=(PortRequest(container_port=80, host_port=8080),))
    same, away = lab.run("same"), lab.run("away", "other")
    server = space.socket(bind=("0.0.0.0", 80))
    assert {(port.host_ip, port.host_port) for port in lab.ports["web"]} >= {("0.0.0.0", 8080)}
    gateway = lab.controller.network("bridge").pools[0].gateway
    assert talk(neighbour.socket(), server, (HOST, 8080))[0] == NEIGHBOUR  # the client's own address arrives
    with local() as client:
        talk(client, server, (HOST, 8080))
    with local() as client:
        talk(client, server, ("127.0.0.1", 8080))
    with local() as client:
        talk(client, server, (gateway, 8080))
    talk(same.socket(), server, (HOST, 8080))
    talk(same.socket(), server, (gateway, 8080))
    talk(space.socket(), server, (HOST, 8080))  # itself
    talk(away.socket(), server, (HOST, 8080))


def test_published_port_on_ipv6_goes_through_the_proxy(lab: Lab) -> None:
    space = lab.run("six", ports=(PortRequest(container_port=80, host_port=8086),))
    server = space.socket(bind=("0.0.0.0", 80))
    assert PublishedPort(container_port=80, protocol="tcp", host_ip="::", host_port=8086) in lab.ports["six"]
    with local(family=socket.AF_INET6) as client:
        talk(client, server, ("::1", 8086))


def test_udp_port_from_everywhere(lab: Lab, neighbour: Space) -> None:
    space = lab.run("dns", ports=(PortRequest(container_port=53, host_port=5353, protocol="udp"),))
    server = space.socket(socket.SOCK_DGRAM, ("0.0.0.0", 53))
    assert talk_udp(neighbour.socket(socket.SOCK_DGRAM), server, (HOST, 5353))[0] == NEIGHBOUR
    for address in (HOST, "127.0.0.1"):
        with local(socket.SOCK_DGRAM) as client:
            talk_udp(client, server, (address, 5353))
    talk_udp(lab.run("peer").socket(socket.SOCK_DGRAM), server, (HOST, 5353))


def test_udp_flow_finds_the_new_container(lab: Lab, neighbour: Space) -> None:
    port = (PortRequest(container_port=53, host_port=5354, protocol="udp"),)
    client = neighbour.socket(socket.SOCK_DGRAM)
    for name in ("old", "new"):  # the same client socket: the kernel would go on translating to the old one
        space = lab.run(name, ports=port)
        talk_udp(client, space.socket(socket.SOCK_DGRAM, ("0.0.0.0", 53)), (HOST, 5354))
        lab.end(name)


def test_port_on_one_address_answers_there_alone(lab: Lab, neighbour: Space) -> None:
    space = lab.run("bound", ports=(PortRequest(container_port=80, host_port=8081, host_ip="127.0.0.1"),
                                    PortRequest(container_port=80, host_port=8082, host_ip=HOST)))
    server = space.socket(bind=("0.0.0.0", 80))
    assert refused(neighbour.socket(), (HOST, 8081))
    with local() as client:
        talk(client, server, ("127.0.0.1", 8081))
    talk(neighbour.socket(), server, (HOST, 8082))
    with local() as client:
        assert refused(client, ("127.0.0.1", 8082))


def test_unpublished_ports_are_not_reached_by_routing(lab: Lab, neighbour: Space) -> None:
    space = lab.run("hidden")
    server = space.socket(bind=("0.0.0.0", 80))
    subnet = lab.controller.network("bridge").pools[0].subnet
    neighbour.command("ip", "route", "add", subnet, "via", HOST)
    try:
        assert refused(neighbour.socket(), (lab.address("hidden"), 80))
    finally:
        neighbour.command("ip", "route", "del", subnet)
    with local() as client:
        talk(client, server, (lab.address("hidden"), 80))


def test_port_is_free_again_when_the_container_ends(lab: Lab, neighbour: Space) -> None:
    request = (PortRequest(container_port=80, host_port=8090),)
    lab.run("brief", ports=request)
    with pytest.raises(PortUnavailable, match=r"driver failed programming external connectivity on endpoint late \([0-9a-f]{64}\): "
                                              r"Bind for 0\.0\.0\.0:8090 failed: port is already allocated"):
        lab.run("late", ports=request)
    lab.ports["late"] = ()
    lab.end("late")
    lab.end("brief")
    assert refused(neighbour.socket(), (HOST, 8090))
    space = lab.run("again", ports=request)
    talk(neighbour.socket(), space.socket(bind=("0.0.0.0", 80)), (HOST, 8090))


def test_port_of_a_foreign_listener(lab: Lab) -> None:
    with local() as foreign:
        foreign.bind(("0.0.0.0", 8091))
        foreign.listen()
        with pytest.raises(PortUnavailable, match=r"Error starting userland proxy: listen tcp4 0\.0\.0\.0:8091: bind: address already in use"):
            lab.run("unlucky", ports=(PortRequest(container_port=80, host_port=8091), PortRequest(container_port=81, host_port=8092)))
        lab.ports["unlucky"] = ()
    with local() as probe:
        probe.bind(("0.0.0.0", 8092))  # what had been taken before the failure is free


def test_ephemeral_ports_and_ranges(lab: Lab) -> None:
    lab.run("many", ports=(PortRequest(container_port=80), PortRequest(container_port=81),
                           PortRequest(container_port=82, host_port=8100, host_port_end=8102),
                           PortRequest(container_port=83, host_port=8100, host_port_end=8102)))
    chosen = {port.container_port: port.host_port for port in lab.ports["many"] if port.host_ip == "0.0.0.0"}
    assert chosen[80] != chosen[81]
    assert min(chosen[80], chosen[81]) >= 32768
    assert {chosen[82], chosen[83]} == {8100, 8101}
    assert {port.host_port for port in lab.ports["many"] if port.host_ip == "::"} == set(chosen.values())


def test_stream_through_the_proxy_is_whole_and_half_closes(lab: Lab) -> None:
    space = lab.run("stream", ports=(PortRequest(container_port=80, host_port=8110),))
    server = space.socket(bind=("0.0.0.0", 80))
    payload = os.urandom(1 << 20) * 8
    with local() as client:
        client.connect(("127.0.0.1", 8110))
        connection, _ = server.accept()
        connection.settimeout(WAIT_S)
        received = bytearray()

        def echo() -> None:
            while data := connection.recv(1 << 16):
                received.extend(data)
            connection.sendall(received[::-1])
            connection.close()

        thread = threading.Thread(target=echo)
        thread.start()
        client.sendall(payload)
        client.shutdown(socket.SHUT_WR)
        back = bytearray()
        while data := client.recv(1 << 16):
            back.extend(data)
        thread.join()
    assert bytes(back) == payload[::-1]


def test_reset_and_refusal_pass_through_the_proxy(lab: Lab) -> None:
    space = lab.run("reset", ports=(PortRequest(container_port=80, host_port=8111),))
    with local() as client:  # nobody listens inside yet: the reset comes at once, or with the first word
        assert refused(client, ("127.0.0.1", 8111)) or refused_by_reset(client)
    server = space.socket(bind=("0.0.0.0", 80))
    with local() as client:
        client.connect(("127.0.0.1", 8111))
        connection, _ = server.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)


# --- networks of users ---


def test_networks_are_isolated_from_each_other(lab: Lab) -> None:
    for name in ("red", "blue"):
        lab.controller.create_network(NetworkSpec(name=name))
    red, blue = lab.run("r", "red"), lab.run("b", "blue")
    server = blue.socket(bind=("0.0.0.0", 80))
    assert refused(red.socket(), (lab.address("b", "blue"), 80))
    both = lab.run("both", "red", "blue")
    assert talk(both.socket(), server, (lab.address("b", "blue"), 80))[0] == lab.address("both", "blue")


def test_internal_network_has_no_way_out(lab: Lab, neighbour: Space) -> None:
    lab.controller.create_network(NetworkSpec(name="inside", internal=True))
    one, two = lab.run("i1", "inside", ports=(PortRequest(container_port=80, host_port=8120),)), lab.run("i2", "inside")
    assert "default" not in one.command("ip", "route")
    assert lab.ports["i1"] == ()
    one.command("ip", "route", "add", "default", "via", lab.controller.network("inside").pools[0].gateway)
    neighbour.socket(bind=("0.0.0.0", 7001))
    assert refused(one.socket(), (NEIGHBOUR, 7001))
    talk(two.socket(), one.socket(bind=("0.0.0.0", 80)), (lab.address("i1", "inside"), 80))


@pytest.mark.usefixtures("bridge_netfilter")
def test_network_without_icc(lab: Lab) -> None:
    lab.controller.create_network(NetworkSpec(name="apart", options=(("com.docker.network.bridge.enable_icc", "false"),)))
    one = lab.run("p1", "apart", ports=(PortRequest(container_port=80, host_port=8121),))
    two = lab.run("p2", "apart")
    server = one.socket(bind=("0.0.0.0", 80))
    assert refused(two.socket(), (lab.address("p1", "apart"), 80))
    talk(two.socket(), server, (HOST, 8121))  # what is published is for everybody


def test_options_of_a_network(lab: Lab) -> None:
    network = lab.controller.create_network(NetworkSpec(
        name="custom", pools=(Pool(subnet="10.77.0.0/24", ip_range="10.77.0.128/25", gateway="10.77.0.1",
                                   aux_addresses=(("router", "10.77.0.128"),)),),
        options=(("com.docker.network.bridge.name", "custom0"), ("com.docker.network.driver.mtu", "1400"),
                 ("com.docker.network.bridge.enable_ip_masquerade", "false"))))
    space = lab.run("c", "custom")
    assert network.interface == "custom0"
    assert lab.address("c", "custom") == "10.77.0.129"
    assert "mtu 1400" in space.command("ip", "link", "show", "eth0")
    static = lab.run("s", "custom", ipv4_address="10.77.0.9", mac_address="02:00:00:00:00:09")
    assert "10.77.0.9/24" in static.command("ip", "addr")
    assert "02:00:00:00:00:09" in static.command("ip", "link")
    with pytest.raises(Forbidden, match="Address already in use"):
        lab.run("t", "custom", ipv4_address="10.77.0.9")
    lab.ports["t"] = ()
    lab.held["t"] = {}


def test_network_is_gone_when_removed(lab: Lab) -> None:
    network = lab.controller.create_network(NetworkSpec(name="brief"))
    lab.run("user", "brief")
    with pytest.raises(Forbidden, match="has active endpoints"):
        lab.controller.remove_network("brief")
    lab.end("user")
    lab.controller.remove_network("brief")
    with pytest.raises(NotFound, match="network brief not found"):
        lab.controller.network("brief")
    with Socket.open() as host:
        assert rtnetlink.link(host, network.interface) is None
    assert network.interface not in subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def test_joining_and_leaving_while_running(lab: Lab, neighbour: Space) -> None:
    for name in ("front", "back"):
        lab.controller.create_network(NetworkSpec(name=name))
    space = lab.run("mover", "front")
    lab.join("mover", "back")
    assert "eth1" in space.command("ip", "link")
    server = neighbour.socket(bind=("0.0.0.0", 7002))
    gateways = {name: lab.controller.network(name).pools[0].gateway for name in ("front", "back")}
    assert f"default via {gateways['back']}" in space.command("ip", "route")  # the first by name
    lab.leave("mover", "back")
    assert "eth1" not in space.command("ip", "link")
    assert f"default via {gateways['front']} dev eth0" in space.command("ip", "route")
    talk(space.socket(), server, (NEIGHBOUR, 7002))
    lab.join("mover", "back", gateway_priority=-1)
    assert f"default via {gateways['front']} dev eth0" in space.command("ip", "route")
    lab.leave("mover", "front")
    lab.join("mover", "front", gateway_priority=5)
    assert "eth0" in space.command("ip", "link")
    assert f"default via {gateways['front']} dev eth0" in space.command("ip", "route")


# --- DNS ---


def ask(space: Space, name: str, kind: str = "A", tcp: bool = False) -> tuple[int, list[str]]:
    import dnslib

    query = dnslib.DNSRecord.question(name, kind)
    with space.socket(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.11", 53))
        if tcp:
            data = query.pack()
            sock.sendall(len(data).to_bytes(2, "big") + data)
            length = int.from_bytes(sock.recv(2), "big")
            answer = b""
            while len(answer) < length:
                answer += sock.recv(length)
        else:
            sock.send(query.pack())
            answer = sock.recv(4096)
    reply = dnslib.DNSRecord.parse(answer)
    assert reply.header.id == query.header.id
    return reply.header.rcode, [str(record.rdata) for record in reply.rr]


class Upstream:
    """A name server of the world outside, at the neighbour: answers 203.0.113.7 to all, twice as long as UDP carries for `big`."""

    def __init__(self, space: Space) -> None:
        self.udp = space.socket(socket.SOCK_DGRAM, ("0.0.0.0", 53))
        self.tcp = space.socket(socket.SOCK_STREAM, ("0.0.0.0", 53))
        self.ended = False
        self.threads = [threading.Thread(target=self._udp), threading.Thread(target=self._tcp)]
        for sock in (self.udp, self.tcp):
            sock.settimeout(0.1)
        for thread in self.threads:
            thread.start()

    @staticmethod
    def answer(query: bytes, limit: int) -> bytes:
        import dnslib

        request = dnslib.DNSRecord.parse(query)
        reply = request.reply()
        name = str(request.q.qname)
        if name.startswith("missing"):
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        else:
            for number in range(100 if name.startswith("big") else 1):
                reply.add_answer(dnslib.RR(name, rdata=dnslib.A(f"203.0.113.{7 + number}")))
        data: bytes = reply.pack()
        return data if len(data) <= limit else bytes(reply.truncate().pack())

    def _udp(self) -> None:
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                query, client = self.udp.recvfrom(4096)
                self.udp.sendto(self.answer(query, 512), client)

    def _tcp(self) -> None:
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                connection, _ = self.tcp.accept()
                with connection:
                    connection.settimeout(WAIT_S)
                    query = connection.recv(int.from_bytes(connection.recv(2), "big"))
                    answer = self.answer(query, 65535)
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def close(self) -> None:
        self.ended = True
        for thread in self.threads:
            thread.join()
        self.udp.close()
        self.tcp.close()


@pytest.fixture
def upstream(neighbour: Space) -> Iterator[Upstream]:
    server = Upstream(neighbour)
    yield server
    server.close()


@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_containers(lab: Lab, tcp: bool) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    one = lab.run("web", "net", aliases=("www",), hostname="webhost")
    two = lab.run("db", "net")
    short = lab.held["web"]["net"].container_id[:12]
    for name in ("web", "www", "webhost", short, "WEB", "web.net", "web."):
        assert ask(two, name, tcp=tcp) == (0, [lab.address("web", "net")])
    assert ask(one, "db", tcp=tcp) == (0, [lab.address("db", "net")])
    assert ask(two, "web", "AAAA", tcp=tcp) == (0, [])
    reverse = ".".join(reversed(lab.address("web", "net").split("."))) + ".in-addr.arpa"
    assert ask(two, reverse, "PTR", tcp=tcp) == (0, ["web.net."])
    assert lab.held["web"]["net"].aliases == ("www",)
    assert short in lab.held["web"]["net"].dns_names


def test_names_follow_the_containers(lab: Lab) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    lab.controller.create_network(NetworkSpec(name="net2"))
    asker = lab.run("asker", "net", dns=("127.0.0.1#1",))
    lab.run("twin1", "net", aliases=("twin",))
    lab.run("twin2", "net", aliases=("twin",))
    assert sorted(ask(asker, "twin")[1]) == sorted([lab.address("twin1", "net"), lab.address("twin2", "net")])
    lab.end("twin1")
    assert ask(asker, "twin") == (0, [lab.address("twin2", "net")])
    lab.run("elsewhere", "net2")
    assert ask(asker, "elsewhere")[0] == 2  # no upstream answers: SERVFAIL
    lab.join("asker", "net2")
    assert ask(asker, "elsewhere") == (0, [lab.address("elsewhere", "net2")])
    lab.leave("asker", "net2")
    assert ask(asker, "elsewhere")[0] == 2
    lab.controller.rename(lab.held["twin2"]["net"].container_id, "single")
    assert ask(asker, "single") == (0, [lab.address("twin2", "net")])


def test_names_of_the_world(lab: Lab, upstream: Upstream) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    space = lab.run("asker", "net", dns=("127.0.0.1#1", NEIGHBOUR))  # the first does not answer
    assert ask(space, "example.com") == (0, ["203.0.113.7"])
    assert ask(space, "example.com", tcp=True) == (0, ["203.0.113.7"])
    assert ask(space, "missing.example.com")[0] == 3
    assert len(ask(space, "big.example.com", tcp=True)[1]) == 100


def test_internal_network_asks_nobody(lab: Lab, upstream: Upstream) -> None:
    lab.controller.create_network(NetworkSpec(name="inside", internal=True))
    space = lab.run("asker", "inside", dns=(NEIGHBOUR,))
    assert ask(space, "example.com")[0] == 2
    assert ask(space, "asker") == (0, [lab.address("asker", "inside")])


def test_container_may_have_a_name_server_of_its_own(lab: Lab) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    space = lab.run("own", "net")
    own = space.socket(socket.SOCK_DGRAM, ("0.0.0.0", 53))
    talk_udp(space.socket(socket.SOCK_DGRAM), own, (lab.address("own", "net"), 53))
    assert ask(space, "own") == (0, [lab.address("own", "net")])


def test_malformed_queries_are_survived(lab: Lab) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    space = lab.run("fuzz", "net")
    with space.socket(socket.SOCK_DGRAM) as sock:
        for junk in (b"", b"\0", b"\xff" * 12, os.urandom(600), b"\0" * 12):
            sock.sendto(junk, ("127.0.0.11", 53))
    assert ask(space, "fuzz")[0] == 0


# --- crashes, restarts, others on the machine ---


def test_ports_and_names_outlive_the_daemon(lab: Lab, neighbour: Space) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    space = lab.run("kept", "net", ports=(PortRequest(container_port=80, host_port=8200),))
    gone = lab.run("gone", "net", ports=(PortRequest(container_port=80, host_port=8201),))
    server = space.socket(bind=("0.0.0.0", 80))
    pid = lab.proxy.list()["pid"]
    before = lab.restored()
    stray = lab.held["gone"]["net"].host_interface
    lab.controller.close(keep_running=True)  # what a kill -9 of wherryd leaves: its descriptors are closed, all else stays
    with local() as client:
        talk(client, server, ("127.0.0.1", 8200))
    assert ask(space, "kept")[0] == 0
    lab.open(tuple(entry for entry in before if entry.endpoint.container_name == "kept"))
    assert lab.proxy.list()["pid"] == pid
    with local() as client:
        talk(client, server, ("127.0.0.1", 8200))
    talk(neighbour.socket(), server, (HOST, 8200))
    assert ask(space, "kept") == (0, [lab.address("kept", "net")])
    assert ask(space, "gone")[0] != 0
    with Socket.open() as host:
        assert rtnetlink.link(host, stray) is None
    with local() as probe:
        probe.bind(("0.0.0.0", 8201))
    with pytest.raises(PortUnavailable, match="port is already allocated"):
        lab.run("thief", "net", ports=(PortRequest(container_port=80, host_port=8200),))
    lab.ports["thief"] = ()
    assert lab.address("thief", "net") != lab.address("kept", "net")
    assert gone.fd


def test_proxy_that_died_is_replaced(lab: Lab) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    space = lab.run("victim", "net", ports=(PortRequest(container_port=80, host_port=8210),))
    server = space.socket(bind=("0.0.0.0", 80))
    pid = lab.proxy.list()["pid"]
    os.kill(pid, 9)
    os.waitpid(pid, 0) if lab.proxy._process and lab.proxy._process.pid == pid else None
    lab.run("next", "net", ports=(PortRequest(container_port=80, host_port=8211),))  # the first change notices
    assert lab.proxy.list()["pid"] != pid
    with local() as client:
        talk(client, server, ("127.0.0.1", 8210))
    assert ask(space, "next") == (0, [lab.address("next", "net")])
    assert ask(lab.spaces["next"], "victim") == (0, [lab.address("victim", "net")])


def test_flushed_rules_come_back_with_the_next_change(lab: Lab, neighbour: Space) -> None:
    space = lab.run("flushed", ports=(PortRequest(container_port=80, host_port=8220),))
    server = space.socket(bind=("0.0.0.0", 80))
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    lab.run("any")
    talk(neighbour.socket(), server, (HOST, 8220))
    subprocess.run(["nft", "flush", "chain", "ip", "wherry", "postrouting"], check=True)
    lab.run("any2", ports=(PortRequest(container_port=80),))
    assert "masquerade" in subprocess.run(["nft", "list", "chain", "ip", "wherry", "postrouting"], capture_output=True, text=True,
                                          check=True).stdout


def test_dropping_forward_chain_gets_two_rules_and_loses_them(lab: Lab, neighbour: Space) -> None:
    server = neighbour.socket(bind=("0.0.0.0", 7003))
    try:
        subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
        space = lab.run("dropped")
        talk(space.socket(), server, (NEIGHBOUR, 7003))
        assert any("ip filter FORWARD" in warning for warning in lab.controller.warnings())
        listed = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=True).stdout
        assert listed.count("wherry0") == 2
        subprocess.run(["iptables", "-F", "FORWARD"], check=True)
        talk(lab.run("dropped2").socket(), server, (NEIGHBOUR, 7003))
        network = lab.controller.create_network(NetworkSpec(name="more"))
        assert subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=True).stdout.count(network.interface) == 2
        lab.controller.remove_network("more")
        listed = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=True).stdout
        assert listed.count("wherry0") == 2
        assert network.interface not in listed
    finally:
        subprocess.run(["nft", "delete", "table", "ip", "filter"], check=True)


def test_second_daemon_needs_names_of_its_own(lab: Lab, tmp_path: Path) -> None:
    for config, message in ((NetworkConfig(), "the firewall table wherry belongs to another wherryd that runs"),
                            (NetworkConfig(table="wherry2"), "the bridge wherry0 belongs to another wherryd that runs")):
        second = Controller(str(tmp_path / "files"), config, None)
        with pytest.raises(Conflict, match=message):
            second.start()
        second.close(keep_running=True)
    third = Controller(str(tmp_path / "files"), NetworkConfig(table="wherry2", bridge="wherry1"), None)
    third.start()
    assert third.network("bridge").pools[0].subnet != lab.controller.network("bridge").pools[0].subnet
    third.close(keep_running=False)
    subprocess.run(["ip", "link", "delete", "wherry1"], check=True)
    assert "wherry2" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert "wherry" in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout


def test_bip_fixed_cidr_and_no_userland_proxy(neighbour: Space, tmp_path: Path) -> None:
    config = NetworkConfig(bridge="plain0", table="plain", bip="10.66.0.1/16", fixed_cidr="10.66.5.0/24", userland_proxy=False)
    lab = Lab(tmp_path, config)
    try:
        space = lab.run("np", ports=(PortRequest(container_port=80, host_port=8230),))
        server = space.socket(bind=("0.0.0.0", 80))
        assert lab.address("np").startswith("10.66.5.")
        assert [port.host_ip for port in lab.ports["np"]] == ["0.0.0.0"]
        for address in ("127.0.0.1", HOST):
            with local() as client:
                talk(client, server, (address, 8230))
        talk(neighbour.socket(), server, (HOST, 8230))
        with local() as own:  # route_localnet opens the host's loopback to nobody
            own.bind(("127.0.0.1", 8231))
            own.listen()
            space.command("ip", "route", "add", "127.0.0.1", "via", "10.66.0.1", "dev", "eth0", "table", "main")
            assert refused(space.socket(bind=None), ("127.0.0.1", 8231))
        with pytest.raises(Unsupported, match="IPv6 ports are served by the userland proxy"):
            lab.run("six", ports=(PortRequest(container_port=81, host_ip="::"),))
        lab.ports["six"] = ()
    finally:
        lab.close()
        subprocess.run(["ip", "link", "delete", "plain0"], check=True)


def test_failed_attach_leaves_nothing(lab: Lab) -> None:
    lab.controller.create_network(NetworkSpec(name="net"))
    network = lab.controller.network("net")
    space = lab.spaces["broken"] = Space()
    space.command("ip", "link", "add", "name", "eth0", "type", "bridge")
    endpoint = lab.controller.allocate(network.id, "c" * 64, EndpointRequest(container_name="broken"))
    lab.held["broken"], lab.ports["broken"] = {"net": endpoint}, ()
    with pytest.raises(FileExistsError):
        lab.controller.attach(endpoint, lab.sandbox("broken", "c" * 64))
    with Socket.open() as host:
        bridge = rtnetlink.link(host, network.interface)
        assert bridge
        assert [link for link in rtnetlink.links(host) if link.master == bridge.index] == []


def test_networks_are_found_again(lab: Lab) -> None:
    created = lab.controller.create_network(NetworkSpec(name="kept", labels=(("a", "b"),), pools=(Pool(subnet="10.55.0.0/16"),)))
    again = Controller(str(lab.folder / "files"), lab.config, None)
    assert again.network("kept") == created
    assert [network.name for network in again.networks()] == ["bridge", "host", "none", "kept"]
    assert again.network(created.id[:8]) == created


def test_bad_requests(lab: Lab) -> None:
    create = lab.controller.create_network
    create(NetworkSpec(name="dup"))
    with pytest.raises(Conflict, match="network with name dup already exists"):
        create(NetworkSpec(name="dup"))
    with pytest.raises(Forbidden, match="Pool overlaps with other one on this address space"):
        create(NetworkSpec(name="over", pools=(Pool(subnet=lab.controller.network("dup").pools[0].subnet),)))
    with pytest.raises(Forbidden, match="pre-defined network and cannot be removed"):
        lab.controller.remove_network("bridge")
    with pytest.raises(InvalidArgument, match="user specified IP address is supported on user defined networks only"):
        lab.controller.check(lab.controller.network("bridge").id, EndpointRequest(container_name="x", ipv4_address="172.17.0.9"))
    before = os.listdir("/sys/class/net")
    for wrong in (NetworkSpec(name="v", driver="macvlan"), NetworkSpec(name="v", options=(("com.docker.network.bridge.gateway_mode_ipv4", "routed"),))):
        with pytest.raises(Unsupported):
            create(wrong)
    assert os.listdir("/sys/class/net") == before


def test_sctp_is_published_by_nat_alone(lab: Lab) -> None:
    lab.run("sctp", ports=(PortRequest(container_port=36412, host_port=8300, protocol="sctp"),))
    assert [port.host_ip for port in lab.ports["sctp"]] == ["0.0.0.0"]
    listed = subprocess.run(["nft", "list", "map", "ip", "wherry", "published"], capture_output=True, text=True, check=True).stdout
    assert f"sctp . 8300 : {lab.address('sctp')} . 36412" in listed
    with pytest.raises(PortUnavailable, match="port is already allocated"):
        lab.run("sctp2", ports=(PortRequest(container_port=1, host_port=8300, protocol="sctp"),))
    lab.ports["sctp2"] = ()
    with pytest.raises(Conflict, match="has its ports published already"):
        lab.controller.publish(lab.held["sctp"]["bridge"], (PortRequest(container_port=1, host_port=8301),))


def test_without_a_firewall_the_proxy_serves(neighbour: Space, tmp_path: Path) -> None:
    lab = Lab(tmp_path, NetworkConfig(bridge="bare0", table="bare", iptables=False))
    try:
        space = lab.run("bare", ports=(PortRequest(container_port=80, host_port=8310),))
        server = space.socket(bind=("0.0.0.0", 80))
        gateway = lab.controller.network("bridge").pools[0].gateway
        assert talk(neighbour.socket(), server, (HOST, 8310))[0] == gateway
        with local() as client:
            talk(client, server, ("127.0.0.1", 8310))
        assert "bare" not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert any("iptables=false" in warning for warning in lab.controller.warnings())
    finally:
        lab.close()
        subprocess.run(["ip", "link", "delete", "bare0"], check=True)


def test_many_threads_at_once(lab: Lab) -> None:
    network = lab.controller.create_network(NetworkSpec(name="busy"))
    problems: list[BaseException] = []
    addresses: list[str] = []

    def life(number: int) -> None:
        try:
            for turn in range(3):
                space = Space()
                name = f"busy{number}-{turn}"
                container_id = f"{number:02x}{turn:02x}" + "0" * 60
                endpoint = lab.controller.allocate(network.id, container_id, EndpointRequest(container_name=name))
                sandbox = Sandbox(container_id=container_id, pid=os.getpid(), netns_fd=space.fd, inside=space.inside)
                endpoint = lab.controller.attach(endpoint, sandbox)
                ports = lab.controller.publish(endpoint, (PortRequest(container_port=80),))
                server = space.socket(bind=("0.0.0.0", 80))
                with local() as client:
                    talk(client, server, (HOST, ports[0].host_port))
                assert ask(space, name) == (0, [endpoint.ipv4_address])
                addresses.append(endpoint.ipv4_address)
                space.close()
                lab.controller.unpublish(endpoint)
                lab.controller.detach(endpoint, ended=True)
                lab.controller.release(endpoint)
        except BaseException as error:  # noqa: BLE001 (it is raised in the test's thread)
            problems.append(error)

    threads = [threading.Thread(target=life, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    assert len(set(addresses)) == len(addresses)  # what was freed rests
    assert lab.controller.endpoints(network.id) == ()
    assert lab.proxy.list()["owners"] == []


def test_killed_at_any_step(tmp_path: Path) -> None:
    """Kill -9 before each single step towards the kernel: the next start finds the old state or the new one, and no strays."""
    folder = str(tmp_path / "files")
    config = NetworkConfig(bridge="crash0", table="crash", bip="10.88.0.1/16")
    space = Space()
    request = (PortRequest(container_port=80, host_port=8320),)

    def life(stop_at: int) -> None:
        steps = 0

        def count(_at: float, _operation: str, _subject: str) -> None:
            nonlocal steps
            steps += 1
            if steps == stop_at:
                os.kill(os.getpid(), signal.SIGKILL)

        trace.watch(count)
        controller = Controller(folder, config, None)
        controller.start()
        network = controller.create_network(NetworkSpec(name="crashing"))
        endpoint = controller.allocate(network.id, "c" * 64, EndpointRequest(container_name="x"))
        endpoint = controller.attach(endpoint, Sandbox(container_id="c" * 64, pid=1, netns_fd=space.fd, inside=space.inside))
        controller.publish(endpoint, request)
        controller.unpublish(endpoint)
        controller.detach(endpoint)
        controller.release(endpoint)
        controller.remove_network("crashing")

    stop_at = 0
    finished = False
    while not finished:
        stop_at += 1
        pid = os.fork()
        if pid == 0:
            try:
                life(stop_at)
            finally:
                os._exit(0)
        finished = os.WIFEXITED(os.waitpid(pid, 0)[1])
        controller = Controller(folder, config, None)
        controller.start()
        names = [network.name for network in controller.networks() if not network.is_default]
        assert names in ([], ["crashing"])
        with Socket.open() as host:
            links = rtnetlink.links(host)
        bridges = {link.index for link in links if link.alias.endswith(folder)}
        assert len(bridges) == 1 + len(names)
        assert [link.name for link in links if link.master in bridges] == []
        listed = subprocess.run(["nft", "list", "table", "ip", "crash"], capture_output=True, text=True, check=True).stdout
        assert "8320" not in listed
        assert listed.count("masquerade") == 2 * len(bridges)
        if names:
            controller.remove_network("crashing")
        controller.close(keep_running=False)
    assert stop_at > 20  # the steps were seen, and all were tried
    space.close()
    subprocess.run(["ip", "link", "delete", "crash0"], check=True)


def test_bridge_that_was_made_anew_is_noticed(lab: Lab) -> None:
    network = lab.controller.create_network(NetworkSpec(name="net"))
    lab.run("before", "net")
    subprocess.run(["ip", "link", "delete", network.interface], check=True)
    space = lab.spaces["after"] = Space()
    endpoint = lab.controller.allocate(network.id, "d" * 64, EndpointRequest(container_name="after"))
    lab.held["after"], lab.ports["after"] = {"net": endpoint}, ()
    with pytest.raises(OSError, match=f"network net: the bridge {network.interface} is gone"):
        lab.controller.attach(endpoint, lab.sandbox("after", "d" * 64))
    subprocess.run(["ip", "link", "add", "name", network.interface, "up", "type", "bridge"], check=True)
    lab.held["after"]["net"] = lab.controller.attach(endpoint, lab.sandbox("after", "d" * 64))
    assert endpoint.ipv4_address in space.command("ip", "addr")
    subprocess.run(["ip", "link", "delete", network.interface], check=True)


def test_a_thousand_ports(lab: Lab, neighbour: Space) -> None:
    requests = tuple(PortRequest(container_port=10000 + number, host_port=20000 + number) for number in range(1000))
    space = lab.run("wide", ports=requests)
    assert len({port.host_port for port in lab.ports["wide"]}) == 1000
    for number in (0, 500, 999):
        server = space.socket(bind=("0.0.0.0", 10000 + number))
        talk(neighbour.socket(), server, (HOST, 20000 + number))
        with local() as client:
            talk(client, server, ("127.0.0.1", 20000 + number))
    lab.end("wide")
    listed = subprocess.run(["nft", "list", "map", "ip", "wherry", "published"], capture_output=True, text=True, check=True).stdout
    assert "elements" not in listed
    assert lab.proxy.list()["owners"] == []


def test_proxy_keeps_no_descriptors_of_what_has_ended(lab: Lab) -> None:
    space = lab.run("leaks", ports=(PortRequest(container_port=80, host_port=8400),
                                    PortRequest(container_port=53, host_port=8400, protocol="udp")))
    server = space.socket(bind=("0.0.0.0", 80))
    folder = f"/proc/{lab.proxy.list()['pid']}/fd"
    before = len(os.listdir(folder))
    for _ in range(20):
        clients = [local() for _ in range(10)]
        for client in clients:
            talk(client, server, ("127.0.0.1", 8400))
            client.close()
    for _ in range(5):
        with local() as client:  # the container's side goes first
            client.connect(("127.0.0.1", 8400))
            server.accept()[0].close()
            assert client.recv(1) == b""
    lab.proxy.list()  # its turn comes after what was closed before
    deadline = time.monotonic() + WAIT_S
    while len(os.listdir(folder)) > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_daemon_of_another_root_left_is_taken_over(tmp_path: Path) -> None:
    config = NetworkConfig(bridge="heir0", table="heir")
    first = Lab(tmp_path / "first", config)
    first.run("still")
    first.controller.close(keep_running=True)
    second = Controller(str(tmp_path / "second"), config, None)
    with pytest.raises(Conflict, match="firewall table heir belongs to another wherryd whose containers run on heir0"):
        second.start()
    second.close(keep_running=True)
    subprocess.run(["nft", "delete", "table", "ip", "heir"], check=True)
    second = Controller(str(tmp_path / "second"), config, None)
    with pytest.raises(Conflict, match=r"containers of another wherryd .*first.* run on the bridge heir0"):
        second.start()
    second.close(keep_running=True)
    first.open()
    first.close()
    second = Controller(str(tmp_path / "second"), config, None)
    second.start()
    with Socket.open() as host:
        bridge = rtnetlink.link(host, "heir0")
    assert bridge
    assert "second" in bridge.alias
    second.close(keep_running=False)
    subprocess.run(["ip", "link", "delete", "heir0"], check=True)
