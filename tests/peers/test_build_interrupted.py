"""Builds that end in the middle: the client goes away, or the daemon is killed. Nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from containers_by_api import Api, until
from wherryd_box import folders

if TYPE_CHECKING:
    from wherryd_box import Wherryd

pytestmark = [pytest.mark.root, pytest.mark.peer,
              pytest.mark.skipif(not os.path.exists("/usr/bin/docker"), reason="needs docker's command line")]

DOCKERFILE = b"FROM busybox\nRUN echo one > /one\nRUN touch /partly; sleep 1000\n"


def building(daemon: Wherryd) -> subprocess.Popen[bytes]:
    """A client whose build is in its step that does not end."""
    client = subprocess.Popen(["/usr/bin/docker", "-H", daemon.socket, "build", "--network=none", "-t", "never", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"DOCKER_BUILDKIT": "0", "PATH": "/bin"})
    assert client.stdin is not None
    client.stdin.write(DOCKERFILE)
    client.stdin.close()
    api = Api(daemon)
    until(lambda: any("sleep 1000" in one["Command"] for one in api.ask("GET", "/containers/json")))
    return client


def left(daemon: Wherryd) -> list[str]:
    """Contexts, and containers, that a build has left."""
    place = Path(daemon.data_root, "tmp/builds")
    contexts = [one.name for one in place.iterdir() if one.name.startswith("build-")] if place.exists() else []
    return contexts + [one["Command"] for one in Api(daemon).ask("GET", "/containers/json?all=1")]


def test_ctrl_c_and_kill_leave_nothing_but_the_cache() -> None:
    with folders() as daemon:
        daemon.start()
        daemon.load()
        client = building(daemon)
        client.send_signal(signal.SIGINT)
        client.wait(20)
        until(lambda: not left(daemon))
        assert daemon.docker("images", "-q", "never") == ""

        client = building(daemon)
        daemon.stop(signal.SIGKILL)
        client.wait(20)
        daemon.start()
        assert left(daemon) == []
        said = daemon.docker("build", "--network=none", "-t", "now", "-", data=DOCKERFILE.replace(b"sleep 1000", b"true"))
        assert "Using cache" in said
        assert daemon.docker("run", "--rm", "--network=none", "now", "cat", "/one") == "one"
