"""IPv6 with real packets: what `--ip6tables` writes, and what is open without it, as in dockerd."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_lab import HOST_IPV6, NEIGHBOUR_IPV6, Lab, Space, local, neighbour_host, refused, talk, talk_udp

from wherry.network.model import NetworkConfig, NetworkSpec, Pool, PortRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]

CONFIG = NetworkConfig(ipv6=True, fixed_cidr_v6="fd00:60::/64")
OTHER = NetworkSpec(name="other", enable_ipv6=True, pools=(Pool(subnet="fd00:61::/64"),))
FORWARDING = Path("/proc/sys/net/ipv6/conf/all/forwarding")


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Space]:
    with neighbour_host() as space:
        yield space


@pytest.fixture
def lab(neighbour: Space, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A daemon's networks, with `ip6tables` where the test says so; the neighbour has a way into them."""
    FORWARDING.write_text("0")
    found = Lab(tmp_path, CONFIG.replace(ip6tables=getattr(request, "param", False)))
    found.controller.create_network(OTHER)
    neighbour.command("ip", "-6", "route", "replace", "fd00:60::/63", "via", HOST_IPV6)
    yield found
    found.close()
    for bridge in ("wherry0", found.controller.network("other").interface):
        subprocess.run(["ip", "link", "delete", bridge], check=True)


def table() -> str:
    return subprocess.run(["nft", "list", "table", "ip6", "wherry"], capture_output=True, text=True, check=False).stdout


def six(kind: int = socket.SOCK_STREAM) -> socket.socket:
    return local(kind, socket.AF_INET6)


def inside(space: Space, kind: int = socket.SOCK_STREAM, port: int = 0) -> socket.socket:
    return space.socket(kind, ("::", port) if port else None, socket.AF_INET6)


with_rules = pytest.mark.parametrize("lab", [True], indirect=True)


@with_rules
def test_published_port_from_everywhere(lab: Lab, neighbour: Space) -> None:
    space = lab.run("web", ports=(PortRequest(container_port=80, host_port=8080),))
    same, away = lab.run("same"), lab.run("away", "other")
    server = inside(space, port=80)
    assert f"tcp . 8080 : {lab.held['web']['bridge'].ipv6_address} . 80" in table()
    assert talk(inside(neighbour), server, (HOST_IPV6, 8080))[0] == NEIGHBOUR_IPV6  # the client's own address arrives
    for address in (HOST_IPV6, "::1", "fd00:60::1"):
        with six() as client:
            talk(client, server, (address, 8080))
    for client_space in (same, space, away):
        talk(inside(client_space), server, (HOST_IPV6, 8080))
    lab.controller.unpublish(lab.held["web"]["bridge"])
    assert "8080" not in table()
    assert refused(inside(neighbour), (HOST_IPV6, 8080))


@with_rules
def test_udp_port_from_everywhere(lab: Lab, neighbour: Space) -> None:
    """A flow that began before the port's container finds the new one: the kernel is made to forget it."""
    port = (PortRequest(container_port=53, host_port=5353, protocol="udp"),)
    server = inside(lab.run("dns", ports=port), socket.SOCK_DGRAM, 53)
    client = inside(neighbour, socket.SOCK_DGRAM)
    assert talk_udp(client, server, (HOST_IPV6, 5353))[0] == NEIGHBOUR_IPV6
    with six(socket.SOCK_DGRAM) as here:
        talk_udp(here, server, ("::1", 5353))
    lab.end("dns")
    talk_udp(client, inside(lab.run("dns", ports=port), socket.SOCK_DGRAM, 53), (HOST_IPV6, 5353))


@with_rules
def test_the_way_out_and_the_ways_in(lab: Lab, neighbour: Space) -> None:
    """Out under the host's address; in by published ports alone; from network to network not."""
    space, away = lab.run("one"), lab.run("two", "other")
    assert talk(inside(space), inside(neighbour, port=7000), (NEIGHBOUR_IPV6, 7000))[0] == HOST_IPV6
    assert inside(space, port=82)
    for client_space in (neighbour, away):
        assert refused(inside(client_space), (lab.held["one"]["bridge"].ipv6_address, 82))


def test_without_rules_networks_are_routed(lab: Lab, neighbour: Space) -> None:
    """As in dockerd without ip6tables: no table, nothing masqueraded, the proxy serves ports, forwarding is on."""
    space = lab.run("one", ports=(PortRequest(container_port=81, host_port=8081),))
    address = lab.held["one"]["bridge"].ipv6_address
    server = inside(space, port=81)
    assert table() == ""
    assert FORWARDING.read_text().strip() == "1"
    assert any("net.ipv6.conf.all.forwarding was off" in warning for warning in lab.controller.warnings())
    assert talk(inside(neighbour), server, (address, 81))[0] == NEIGHBOUR_IPV6
    assert talk(inside(neighbour), server, (HOST_IPV6, 8081))[0] == "fd00:60::1"
    assert talk(inside(space), inside(neighbour, port=7001), (NEIGHBOUR_IPV6, 7001))[0] == address


@with_rules
def test_the_table_goes_when_it_is_not_wanted_any_more(lab: Lab) -> None:
    assert table()
    lab.controller.close(keep_running=True)
    lab.config = lab.config.replace(ip6tables=False)
    lab.open()
    assert table() == ""
