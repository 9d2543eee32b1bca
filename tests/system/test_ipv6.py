"""IPv6 networks of wherryd: what a kill -9 of the daemon leaves, the way out and in through the host, and what is cleaned up."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from containers_by_api import Api, until
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherryd_box import Wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]

FLAGS = ("--ipv6", "--fixed-cidr-v6", "fd00:50::/64")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd(*FLAGS) as running:
        yield running


@pytest.fixture
def six(daemon: Wherryd) -> Iterator[str]:
    """The id of a network with IPv6."""
    made = Api(daemon).ask("POST", "/networks/create", {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00:51::/64"}]}}, 201)["Id"]
    yield made
    Api(daemon).ask("DELETE", f"/networks/{made}")


def place(api: Api, container: str, network: str = "six") -> dict[str, Any]:
    return dict(api.inspect(container)["NetworkSettings"]["Networks"][network])


def fetched(address: str) -> str:
    return subprocess.run(["curl", "-sgm", "10", f"http://{address}"], stdout=subprocess.PIPE, check=False).stdout.decode().strip()


def test_taken_over_after_a_kill(daemon: Wherryd, six: str) -> None:
    api = Api(daemon)
    server = ("sh", "-c", "mkdir /w; echo seen > /w/index.html; exec httpd -f -p [::]:80 -h /w")
    with api.running(*server, name="one", host={"NetworkMode": "six", "PortBindings": {"80/tcp": [{"HostPort": "8680"}]}}) as one:
        before = place(api, one)
        assert before["GlobalIPv6Address"] == "fd00:51::2"
        until(lambda: fetched("[::1]:8680") == "seen")
        daemon.stop(signal.SIGKILL)
        daemon.start(*FLAGS)
        assert place(api, one) == before
        assert fetched("[::1]:8680") == "seen"
        with api.running(name="two", host={"NetworkMode": "six"}) as two:
            assert place(api, two)["GlobalIPv6Address"] == "fd00:51::3"
            assert api.exec(two, "ping", "-6", "-c", "1", "-w", "30", "one")[0] == 0
            refused = api.refused("POST", "/containers/create", 400, {
                "Image": "busybox", "HostConfig": {"NetworkMode": "six"},
                "NetworkingConfig": {"EndpointsConfig": {"six": {"IPAMConfig": {"IPv6Address": "nonsense"}}}}})
            assert "invalid IPv6 address: nonsense" in refused
        api.ask("POST", "/networks/bridge/connect", {"Container": one}, 200)
        api.ask("POST", f"/networks/{six}/disconnect", {"Container": one}, 200)
        assert place(api, one, "bridge")["GlobalIPv6Address"].startswith("fd00:50::242:")
        assert "default via fd00:50::1 " in api.exec(one, "ip", "-6", "route")[1]


def test_a_bridge_gets_its_addresses_back(daemon: Wherryd, six: str) -> None:
    bridge = f"br-{six[:12]}"
    daemon.stop(signal.SIGKILL)
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    daemon.start(*FLAGS)
    listed = subprocess.check_output(["ip", "-6", "addr", "show", bridge]).decode()
    assert "inet6 fd00:51::1/64" in listed
    assert "inet6 fe80::1/64" in listed
    with open("/proc/sys/net/ipv6/conf/all/forwarding") as knob:
        assert knob.read().strip() == "1"


def test_an_address_is_known_under_its_new_mac(daemon: Wherryd, six: str) -> None:
    """The host forgets whose an IPv6 address was: it goes to another MAC than before."""
    api = Api(daemon)
    wanted = {"six": {"IPAMConfig": {"IPv6Address": "fd00:51::77"}}}
    for _ in range(2):
        with api.running(host={"NetworkMode": "six"}, NetworkingConfig={"EndpointsConfig": wanted}) as container:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("fd00:51::77", 9), 30)
            mac = place(api, container)["MacAddress"]
            assert mac in subprocess.check_output(["ip", "-6", "neigh", "show", "fd00:51::77"]).decode()
        wanted["six"]["MacAddress"] = "02:42:00:00:00:99"  # type: ignore[assignment]
    assert six
