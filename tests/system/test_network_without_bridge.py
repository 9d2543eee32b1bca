"""A daemon without a default bridge: `--bridge none`."""

from __future__ import annotations

import pytest
from containers_by_api import Api
from wherryd_box import wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]


def test_without_a_bridge_a_container_has_its_loopback() -> None:
    with wherryd("--bridge=none", "--iptables=false") as daemon:
        api = Api(daemon)
        assert [one["Name"] for one in api.ask("GET", "/networks")] == ["host", "none"]
        assert api.run("ls", "/sys/class/net", host={"NetworkMode": "default"}) == (0, "lo\n")
        with api.running(host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": "18099"}]}}) as container:
            assert api.inspect(container)["NetworkSettings"]["Ports"] == {}
            network = api.ask("POST", "/networks/create", {"Name": "own"})["Id"]
            api.ask("POST", f"/networks/{network}/connect", {"Container": container}, 200)
            assert "eth0" in api.exec(container, "ls", "/sys/class/net")[1]
        api.ask("DELETE", f"/networks/{network}")
