"""IPv6 networks on wherryd and on the real dockerd: addresses, routes, names, inspect, ports and refusals, by the docker command line.

Both have the same networks, but for a number in their subnets: they are in one network namespace. What is told apart by that
number alone, or by ids, is the same.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
from real_dockerd import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]

WAIT_S = 60
FLAGS = ("--ipv6", "--fixed-cidr-v6")
SAME = ((r"\b[0-9a-f]{12,64}\b", "<id>"), (r"\bfd00:[ab]:", "fd00:x:"), (r"\b(172|192\.168)\.\d+\.[\d.]+\b(/\d+)?", "<ipv4>"),
        (r"\b10\.6[12]\.", "10.6x."), (r"\b1[12](\d{3})\b", r"1x\1"), (r"(?m)^(f[ef]00::)0?(?=\s)", r"\1"), (r"@if\d+", ""),
        (r"\b02(:[0-9a-f]{2}){5}\b", "<mac>"), (r"\b242:[0-9a-f:]+", "<mac>"), (r'"IPPrefixLen":\d+', '"IPPrefixLen":"<length>"'),
        (r"(?s)\s+See 'docker run --help'\.", ""), (r"(?m)^(Error response from daemon: )invalid pool request: ", r"\1"))


class Client:
    """The docker command line on one daemon. `{n}` in its words is the daemon's letter or number in addresses and ports."""

    def __init__(self, socket: str, letter: str, number: str) -> None:
        self._words = [shutil.which("docker", path="/usr/bin") or "docker", "-H", socket]
        self._own = {"x": letter, "n": number}

    def __call__(self, *words: str) -> str:
        """What it prints, with what differs by itself left out."""
        text = self.raw(*words)
        for pattern, plain in SAME:
            text = re.sub(pattern, plain, text)
        return text

    def raw(self, *words: str) -> str:
        done = subprocess.run([*self._words, *(self.own(word) for word in words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=WAIT_S)
        return done.stdout.decode().strip()

    def own(self, text: str) -> str:
        for name, value in self._own.items():
            text = text.replace("{" + name + "}", value)
        return text

    def sleeping(self, name: str, *words: str) -> None:
        assert self("run", "-d", "--name", name, *words, "busybox", "sleep", "1000") == "<id>"


Both = tuple[Client, Client]


@pytest.fixture(scope="module")
def clients() -> Iterator[Both]:
    with dockerd(*FLAGS, "fd00:a:d0c::/64") as real, wherryd(*FLAGS, "fd00:b:d0c::/64") as ours:
        yield Client(real.socket, "a", "1"), Client(ours.socket, "b", "2")


@pytest.fixture
def both(clients: Both) -> Iterator[Both]:
    """Each with the networks `six` (a subnet of IPv6) and `dual` (all of both families said)."""
    for client in clients:
        client("network", "create", "--ipv6", "--subnet", "fd00:{x}:6::/64", "six")
        client("network", "create", "--ipv6", "--subnet", "10.6{n}.0.0/16", "--subnet", "fd00:{x}:7::/80", "--gateway", "fd00:{x}:7::1:1",
               "--ip-range", "fd00:{x}:7::/96", "--aux-address", "a=fd00:{x}:7::5", "dual")
    yield clients
    for client in clients:
        for name in client("ps", "-a", "--format", "{{.Names}}").split():
            client("rm", "-f", name)
        client("network", "prune", "-f")


def same(both: Both, *words: str) -> str:
    """What both daemons answer to a command."""
    real, ours = (client(*words) for client in both)
    assert ours == real
    return ours


def same_json(both: Both, change: Callable[[Any], Any], *words: str) -> Any:
    """The same of what both answer as JSON, but for what `change` leaves out."""
    real, ours = (change(json.loads(client(*words))) for client in both)
    assert ours == real
    return ours


def places(found: dict[str, dict[str, Any]]) -> Any:
    """Places in networks without what is ours by being newer: the short id is no alias but a DNS name."""
    left_out = ("Aliases", "DNSNames", "DriverOpts")
    return {network: {name: value for name, value in one.items() if name not in left_out} for network, one in found.items()}


def shown_network(found: dict[str, Any]) -> Any:
    """A network without what is ours by being newer: EnableIPv4, and the gateways that were chosen."""
    pools = [{name: value for name, value in pool.items() if name != "Gateway"} for pool in found["IPAM"]["Config"]]
    return {name: value for name, value in found.items() if name not in ("Created", "EnableIPv4", "Options")} | {"IPAM": pools}


@pytest.mark.parametrize("name", ["six", "dual", "bridge"])
def test_networks(both: Both, name: str) -> None:
    for client in both:
        client.sleeping("one", "--network", name)
    found = same_json(both, shown_network, "network", "inspect", "-f", "{{json .}}", name)
    assert found["EnableIPv6"]
    assert found["Containers"]["<id>"]["IPv6Address"].startswith("fd00:x:")
    assert same(both, "network", "ls", "--filter", f"name={name}", "--format", "{{.Name}} {{.IPv6}}") == f"{name} true"


@pytest.mark.parametrize("words", [("--network", "six"), ("--network", "dual"), ("--network", "six", "--ip6", "fd00:{x}:6::99"),
                                   ("--network", "dual", "--ip6", "fd00:{x}:7::99", "--ip", "10.6{n}.5.5"), ()])
def test_a_container(both: Both, words: tuple[str, ...]) -> None:
    """Addresses, the default route, the hosts file and inspect: of one on a network of a user, and on the default bridge."""
    for client in both:
        client.sleeping("one", *words)
    found = same_json(both, places, "inspect", "-f", "{{json .NetworkSettings.Networks}}", "one")
    for place in found.values():
        assert place["GlobalIPv6Address"].startswith("fd00:x:")
        assert place["IPv6Gateway"].startswith("fd00:x:")
    fields = [".GlobalIPv6Address", ".GlobalIPv6PrefixLen", ".IPv6Gateway", ".LinkLocalIPv6Address", ".LinkLocalIPv6PrefixLen"]
    same(both, "inspect", "-f", " ".join("{{.NetworkSettings" + field + "}}" for field in fields), "one")
    same(both, "exec", "one", "cat", "/etc/hosts")
    assert "default via fd00:x:" in same(both, "exec", "one", "sh", "-c", "ip -6 route | sort")
    script = "ip -6 addr show eth0 | grep inet6 | sed 's/ tentative//; s/ flags 02//; s/inet6 fe80::42[^/]*/link-local/' | sort"
    addresses = same(both, "exec", "one", "sh", "-c", script)
    assert [line.split()[1].split("/")[0] for line in addresses.splitlines() if "scope global" in line] == [found[next(iter(found))]["GlobalIPv6Address"]]
    assert "link-local" in addresses


def test_neighbours_reach_each_other_by_name(both: Both) -> None:
    for client in both:
        client.sleeping("one", "--network", "six")
        client.sleeping("two", "--network", "six", "--ip6", "fd00:{x}:6::22", "--network-alias", "nick")
    assert "1 packets received" in same(both, "exec", "one", "sh", "-c", "ping -6 -c 1 -w 30 two | grep received")
    for name in ("two", "nick", "two.six"):
        assert "fd00:x:6::22" in same(both, "exec", "one", "sh", "-c", f"nslookup -type=aaaa {name} 127.0.0.11 | grep Address")
    for client in both:
        reverse = IPv6Address(client.own("fd00:{x}:6::22")).reverse_pointer
        assert "name = two.six" in client("exec", "one", "nslookup", "-type=ptr", reverse, "127.0.0.11")


def test_joining_and_leaving(both: Both) -> None:
    """The default route goes on by the network that is left; hosts and inspect follow."""
    for client in both:
        client.sleeping("one", "--network", "six")
    assert same(both, "network", "connect", "--ip6", "fd00:{x}:7::abcd", "--link-local-ip", "169.254.3.4", "--link-local-ip", "fe80::9",
                "dual", "one") == ""
    same_json(both, places, "inspect", "-f", "{{json .NetworkSettings.Networks}}", "one")
    assert "fd00:x:7::abcd" in same(both, "exec", "one", "cat", "/etc/hosts")
    routes = ("exec", "one", "sh", "-c", "ip -6 route | grep -v ^fe80 | sort")
    for client in both:  # 20.10 takes the one that it had; ours the first by name, as Docker 28 does
        assert client(*routes).count("default via") == 1
    listed = same(both, "exec", "one", "sh", "-c", "ip addr show eth1 | grep -o 'inet6* [^ ]*' | grep -v fe80::42 | sort")
    assert {"inet 169.254.3.4/16", "inet6 fe80::9/64", "inet6 fd00:x:7::abcd/80"} <= set(listed.splitlines())
    assert same(both, "network", "disconnect", "six", "one") == ""
    assert "default via fd00:x:7::1:1" in same(both, *routes)
    for client in both:  # 20.10 takes away its lines for the other network, too
        assert "fd00:x:6:" not in client("exec", "one", "cat", "/etc/hosts")
    assert "fd00:x:7::abcd" in both[1]("exec", "one", "cat", "/etc/hosts")


def test_published_ports(both: Both) -> None:
    """By IPv6 one gets to the container's IPv6 address, which a server that listens on IPv4 alone does not hear."""
    server = "mkdir /w; echo seen > /w/index.html; httpd -p 10.0.0.1:99 -h /w; exec httpd -f -p [::]:80 -h /w"
    for client in both:
        assert client("run", "-d", "--name", "one", "--network", "six", "-p", "1{n}080:80", "-p", "[::1]:1{n}081:80",
                      "busybox", "sh", "-c", server) == "<id>"
    for client in both:
        assert set(client("port", "one").splitlines()) == {"80/tcp -> 0.0.0.0:1x080", "80/tcp -> :::1x080", "80/tcp -> ::1:1x081"}
    for number in ("11080", "11081", "12080", "12081"):
        assert fetched(f"[::1]:{number}") == "seen"
    inside = [client.own("[fd00:{x}:6::2]") for client in both]
    assert [fetched(address) for address in inside] == ["seen", "seen"]


def fetched(address: str) -> str:
    """What a web server says; it may not have come up yet."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        done = subprocess.run(["curl", "-sgm", "10", f"http://{address}"], stdout=subprocess.PIPE, check=False)
        if done.stdout:
            return done.stdout.decode().strip()
        time.sleep(0.1)
    return ""


@pytest.mark.parametrize("words", [
    "network create --ipv6 nosubnet",
    "network create --ipv6 --subnet fd00:{x}:6::/65 overlaps",
    "network create --ipv6 --subnet fd00:{x}:8::/64 --subnet fd00:{x}:9::/64 two",
    "network create --subnet 10.63.0.0/16 --subnet 10.64.0.0/16 two",
    "network create --ipv6 --subnet fd00:{x}:8::/64 --gateway fd00:{x}:9::1 outside",
    "network connect --ip6 fd00:{x}:9::1 six one",
    "network connect --ip6 fd00:{x}:6::1 six one",
    "network connect --ip6 fd00:{x}:d0c::9 bridge one",
    "network connect --ip6 fd00:{x}:9::1 four one",
    "run --rm --network four --ip6 fd00:{x}:9::1 busybox true",
])
def test_refusals(both: Both, words: str) -> None:
    for client in both:
        client("network", "create", "four")
        client.sleeping("one", "--network", "none" if " bridge " not in words else "four")
        if " bridge " not in words:
            client("network", "disconnect", "none", "one")
    said = same(both, *words.split())
    assert said
    assert "<id>" not in said


def test_a_pool_of_ipv6_on_a_network_without(both: Both) -> None:
    """It is shown, and nobody gets an address of it, also who asks for one: real clients' suites do so."""
    for client in both:
        assert client("network", "create", "--subnet", "fd00:{x}:8::/64", "--ip-range", "fd00:{x}:8::0/96", "without") == "<id>"
        client.sleeping("one", "--network", "without", "--ip6", "fd00:{x}:8::f00d")
    same_json(both, shown_network, "network", "inspect", "-f", "{{json .}}", "without")
    found = same_json(both, places, "inspect", "-f", "{{json .NetworkSettings.Networks}}", "one")["without"]
    assert (found["IPAMConfig"], found["GlobalIPv6Address"]) == ({"IPv6Address": "fd00:x:8::f00d"}, "")


def test_a_subnet_with_bits_of_hosts(both: Both) -> None:
    """Docker before 25 passes over them, and clients of that time send them; newer ones are told."""
    for client in both:
        assert client("network", "create", "--ipv6", "--subnet", "fd00:{x}:8::1/64", "loose") == "<id>"
        client.sleeping("one", "--network", "loose")
    found = same_json(both, places, "inspect", "-f", "{{json .NetworkSettings.Networks}}", "one")["loose"]
    assert (found["GlobalIPv6Address"], found["GlobalIPv6PrefixLen"]) == ("fd00:x:8::2", 64)


@pytest.mark.parametrize(("text", "kept"), [("nameserver 127.0.0.1\n", "nameserver 2001:4860:4860::8888"),
                                            ("nameserver 10.1.1.1\nnameserver fd00::53\nnameserver ::1\n", "nameserver fd00::53")])
def test_servers_of_names(both: Both, tmp_path: Path, text: str, kept: str) -> None:
    """Where a container has IPv6, servers that are reached by it are kept, and the public ones are of both kinds."""
    place = tmp_path / "resolv.conf"
    place.write_text(text)
    subprocess.run(["mount", "--bind", str(place), "/etc/resolv.conf"], check=True)  # over the world's own
    try:
        script = ("busybox", "sh", "-c", "grep nameserver /etc/resolv.conf")
        assert kept in same(both, "run", "--rm", *script).splitlines()
        # 20.10 names servers of IPv6 beside its own, which does not ask them; ours does, as Docker 25 and newer.
        assert both[1]("run", "--rm", "--network", "six", *script) == "nameserver 127.0.0.11"
    finally:
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)


def test_links_on_the_default_bridge(both: Both) -> None:
    for client in both:
        client.sleeping("db")
    lines = same(both, "run", "--rm", "--name", "web", "--link", "db:store", "busybox", "sh", "-c", "grep store /etc/hosts; env | grep STORE").splitlines()
    assert any(line.startswith("fd00:x:d0c::<mac>\t") for line in lines)
