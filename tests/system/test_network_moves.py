"""A container's networks while it runs: what moves along, and what is shown."""

from __future__ import annotations

import http.client

import pytest
from containers_by_api import Api, until
from wherryd_box import wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]
PORT = 18099
SERVE = ("sh", "-c", "mkdir /served; echo here >/served/index.html; exec httpd -f -p 80 -h /served")


@pytest.fixture(scope="module")
def api():
    with wherryd() as daemon:
        yield Api(daemon)


def answer() -> str:
    """What the published port says; empty when it refuses."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except OSError:
        return ""
    finally:
        connection.close()


def test_published_ports_follow_to_the_network_that_is_left(api) -> None:
    network = api.ask("POST", "/networks/create", {"Name": "moving"})["Id"]
    host = {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{"HostPort": str(PORT)}]}}
    with api.running(*SERVE, host=host, ExposedPorts={"80/tcp": {}}) as container:
        until(lambda: answer() == "here")
        api.ask("POST", f"/networks/{network}/connect", {"Container": container}, 200)
        api.ask("POST", "/networks/bridge/disconnect", {"Container": container}, 200)
        settings = api.inspect(container)["NetworkSettings"]
        assert list(settings["Networks"]) == ["moving"]
        assert settings["Ports"]["80/tcp"][0]["HostPort"] == str(PORT)
        assert answer() == "here"
        api.ask("POST", f"/networks/{network}/disconnect", {"Container": container}, 200)
        assert (answer(), api.inspect(container)["NetworkSettings"]["Ports"]) == ("", {"80/tcp": None})
        api.ask("POST", "/networks/bridge/connect", {"Container": container}, 200)
        assert answer() == "here"
        assert "default via" in api.exec(container, "ip", "route")[1]
    assert answer() == ""
    api.ask("DELETE", f"/networks/{network}")


@pytest.mark.parametrize(("given", "shown"), [(None, None), ({}, {})])
def test_ipam_options_are_shown_as_they_were_given(api, given, shown) -> None:
    network = api.ask("POST", "/networks/create", {"Name": "shown", "IPAM": {"Driver": "default", "Options": given}})["Id"]
    assert api.ask("GET", f"/networks/{network}")["IPAM"]["Options"] == shown
    api.ask("DELETE", f"/networks/{network}")


def test_limits_of_devices_can_be_changed(api) -> None:
    """An update names devices by path, as a creation does; one that is missing changes nothing."""
    with api.running() as container:
        assert "no such file or directory" in api.refused(
            "POST", f"/containers/{container}/update", 404, {"BlkioDeviceReadBps": [{"Path": "/dev/nothing", "Rate": 1}]}).lower()
        assert api.inspect(container)["HostConfig"]["BlkioDeviceReadBps"] is None
