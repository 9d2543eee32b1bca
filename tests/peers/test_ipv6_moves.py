"""One data root with IPv6 networks: dockerd 20.10 makes them, `wherryd --drop-in` goes on, dockerd again, and wherryd once more."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from busybox_image import archive
from docker_places import DOCKERD, SOCKET, WHERRYD, daemon, docker
from wherryd_box import Connection, folders

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="dockerd is not installed")]

FLAGS = ("--iptables=false", "--ipv6", "--fixed-cidr-v6=fd00:e:d::/64")
SLEEP = ("busybox", "sleep", "1000")


def networks() -> dict[str, Any]:
    """All networks but the gateways that were chosen: 20.10 shows one only after its next start."""
    shown = json.loads(docker("network", "inspect", *docker("network", "ls", "-q", "--no-trunc").split()))
    for one in shown:
        one["IPAM"]["Config"] = [{key: value for key, value in pool.items() if key != "Gateway"} for pool in one["IPAM"]["Config"]]
        one.pop("EnableIPv4", None)
        del one["Containers"]
        if one["Name"] == "bridge":
            del one["Id"], one["Created"], one["Options"]
    return {one["Name"]: one for one in shown}


def place(container: str, network: str) -> tuple[str, str]:
    found = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"][network]
    return found["GlobalIPv6Address"], found["IPv6Gateway"]


def starts_in(network: str) -> tuple[str, str]:
    """Where a new container gets."""
    docker("run", "-d", "--name", "new", "--network", network, *SLEEP)
    try:
        assert "default via fd00" in docker("exec", "new", "ip", "-6", "route")
        return place("new", network)
    finally:
        docker("rm", "-f", "new")


def test_a_network_without_ipv4_is_kept_over_a_daemon_that_cannot_have_it() -> None:
    """20.10 starts all the same, and says that there is no such network when it is to be used."""
    with folders() as box:
        with daemon(WHERRYD, box.data_root, box.folder, *FLAGS):
            docker("load", data=archive("busybox:latest"))
            connection = Connection(SOCKET)
            wanted = {"Name": "alone", "EnableIPv4": False, "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00:e:b::/64"}]}}
            connection.request("POST", "/v1.50/networks/create", json.dumps(wanted), {"Content-Type": "application/json"})
            assert connection.getresponse().status == 201
            connection.close()
            assert starts_in("alone") == ("fd00:e:b::2", "fd00:e:b::1")
        with daemon(DOCKERD, box.data_root, box.folder, *FLAGS):
            assert "does not exist" in docker("run", "--name", "none", "--network", "alone", *SLEEP, fails=True)
            docker("rm", "none")
            assert starts_in("bridge")[0].startswith("fd00:e:d::242:")
        with daemon(WHERRYD, box.data_root, box.folder, *FLAGS):
            assert starts_in("alone") == ("fd00:e:b::2", "fd00:e:b::1")
            docker("network", "rm", "alone")


def test_each_daemon_goes_on_with_the_others_networks() -> None:
    with folders() as box:
        with daemon(DOCKERD, box.data_root, box.folder, *FLAGS):
            docker("load", data=archive("busybox:latest"))
            docker("network", "create", "--ipv6", "--subnet", "fd00:e:6::/64", "six")
            docker("network", "create", "--ipv6", "--subnet", "10.67.0.0/16", "--subnet", "fd00:e:7::/80", "--gateway", "fd00:e:7::1:1",
                   "--ip-range", "fd00:e:7::0/96", "--aux-address", "a=fd00:e:7::1", "dual")
            docker("network", "create", "--subnet", "fd00:e:8::/64", "without")
            docker("network", "create", "--ipv6", "--internal", "--subnet", "fd00:e:9::/64", "closed")
            docker("create", "--name", "kept", "--network", "dual", "--ip6", "fd00:e:7::77", *SLEEP)
            before = networks()
        for round_ in (1, 2):
            with daemon(WHERRYD, box.data_root, box.folder, *FLAGS):
                assert networks() == before
                docker("start", "kept")
                assert place("kept", "dual") == ("fd00:e:7::77", "fd00:e:7::1:1")
                assert starts_in("six") == ("fd00:e:6::2", "fd00:e:6::1")
                assert starts_in("dual")[0] == "fd00:e:7::2"
                assert starts_in("bridge")[0].startswith("fd00:e:d::242:")
                docker("network", "create", "--ipv6", "--subnet", f"fd00:e:a:{round_}::/64", "--gateway", f"fd00:e:a:{round_}::9", f"ours{round_}")
                docker("stop", "-t", "0", "kept")
                before = networks()
            with daemon(DOCKERD, box.data_root, box.folder, *FLAGS):
                assert networks() == before
                docker("start", "kept")
                assert place("kept", "dual") == ("fd00:e:7::77", "fd00:e:7::1:1")
                assert starts_in("six") == ("fd00:e:6::2", "fd00:e:6::1")
                assert starts_in(f"ours{round_}") == (f"fd00:e:a:{round_}::1", f"fd00:e:a:{round_}::9")
                docker("stop", "-t", "0", "kept")
