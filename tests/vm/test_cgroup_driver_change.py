"""A daemon with the other cgroup driver takes a running container over: limits, pause, statistics and the end go where it was started."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from containers_by_api import Api
from wherryd_box import folders

from wherry.linux.cgroup.systemd import SYSTEM_BUS

pytestmark = [
    pytest.mark.root, pytest.mark.vm,
    pytest.mark.skipif(not os.path.isdir("/run/systemd/system") or not os.path.exists(SYSTEM_BUS) or os.geteuid() != 0
                       or not os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
                       reason="needs root, cgroup v2, systemd as process 1 and its bus"),
]


def test_the_driver_of_a_container_is_the_one_it_was_started_with() -> None:
    with folders() as daemon:
        api = Api(daemon)
        daemon.start("--exec-opt", "native.cgroupdriver=cgroupfs")
        daemon.load()
        container = api.create("sleep", "1000", host={"Memory": 64 << 20})
        api.start(container)
        group = Path("/sys/fs/cgroup/wherry", container)
        assert group.exists()
        daemon.stop(signal.SIGKILL)
        daemon.start("--exec-opt", "native.cgroupdriver=systemd")
        api.ask("POST", f"/containers/{container}/update", {"Memory": 32 << 20, "MemorySwap": 32 << 20})
        assert (group / "memory.max").read_text() == f"{32 << 20}\n"
        assert api.ask("GET", f"/containers/{container}/stats?stream=0")["memory_stats"]["limit"] == 32 << 20
        api.ask("POST", f"/containers/{container}/pause", status=204)
        assert "frozen 1" in (group / "cgroup.events").read_text()
        api.ask("POST", f"/containers/{container}/unpause", status=204)
        assert api.exec(container, "echo", "x") == (0, "x\n")
        api.ask("POST", f"/containers/{container}/restart?t=0", status=204)
        assert (group.exists(), Path(f"/sys/fs/cgroup/system.slice/wherry-{container}.scope").exists()) == (False, True)
