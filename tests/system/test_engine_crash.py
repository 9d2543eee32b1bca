"""kill -9 of the daemon in the middle of things: whatever the moment, the next daemon finds the old or the new state, and cleans up."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from containers_by_api import Api, until
from wherryd_box import folders

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.slow]

MOMENTS_MS = (3, 9, 15, 22, 30, 38, 47, 56, 66, 80)
"""How long after the first request the daemon is killed: all along create, start, end and removal."""


def live(api: Api, known: list[str]) -> None:
    """One container after another, until the daemon is gone."""
    try:
        while True:
            container = api.create("sh", "-c", "sleep 0.01", host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{}]}})
            known.append(container)
            api.start(container)
            api.wait(container)
            api.remove(container)
            known.remove(container)
    except (OSError, http.client.HTTPException):
        return


def test_whatever_the_moment() -> None:
    with folders() as daemon:
        api = Api(daemon)
        daemon.start()
        daemon.load()
        root = Path(daemon.data_root)
        for moment in MOMENTS_MS:
            known: list[str] = []
            worker = threading.Thread(target=live, args=(api, known))
            worker.start()
            time.sleep(moment / 1000)
            daemon.stop(signal.SIGKILL)
            worker.join()
            daemon.start()
            listed = {one["Id"] for one in api.ask("GET", "/containers/json?all=1")}
            # What was answered is there, but for one whose removal was under way.
            assert len(set(known) - listed) <= 1
            layers, folders_of = set(os.listdir(root / "image/overlay2/layerdb/mounts")), set(os.listdir(root / "containers"))
            assert (layers, folders_of) == (listed, listed), f"after {moment} ms"
            for container in listed:
                until(lambda container=container: api.state(container)["Status"] in ("created", "exited"))
                api.remove(container)
            until(lambda: os.listdir(daemon.folder / "exec/containers") == [])
            until(lambda: not any(name.startswith("veth") for name in os.listdir("/sys/class/net")))
        assert api.run("echo", "fine", host={"NetworkMode": "bridge"}) == (0, "fine\n")
