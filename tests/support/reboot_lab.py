"""What a power cut leaves and the next boot makes of it: run inside a virtual machine, `before` in one and `after` in the next.

    reboot_lab.py before|after FOLDER

FOLDER is on a disk that both machines have. `before` ends with the engine and its containers running; nothing is synced but
what they sync themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from containers_by_api import Api, until
from wherryd_box import Wherryd

SERVER = "mkdir -p /www; cat /kept/page > /www/index.html; exec httpd -f -p 80 -h /www"
SLEEPER = ("sleep", "1000")
WEB = {"NetworkMode": "mine", "RestartPolicy": {"Name": "always"}, "Binds": ["kept:/kept"],
       "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}


def daemon_on(folder: Path) -> Wherryd:
    run = Path("/run/reboot")
    run.mkdir()
    daemon = Wherryd(run, str(folder / "root"))
    daemon.start()
    return daemon


def before(folder: Path) -> None:
    daemon = daemon_on(folder)
    daemon.load()
    api = Api(daemon)
    api.ask("POST", "/networks/create", {"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}, "Labels": {"a": "b"}})
    api.run("sh", "-c", "echo page > /kept/page; sync -d /kept/page || sync", host={"Binds": ["kept:/kept"]})
    api.start(api.create("sh", "-c", SERVER, name="web", host=WEB))
    for name, policy in (("unless", "unless-stopped"), ("byhand", "unless-stopped"), ("failing", "on-failure"), ("once", "no"),
                         ("paused", "no")):
        host = {"NetworkMode": "mine" if name == "unless" else "bridge", "RestartPolicy": {"Name": policy}}
        api.start(api.create(*SLEEPER, name=name, host=host))
    api.ask("POST", "/containers/byhand/stop?t=0", status=204)
    api.ask("POST", "/containers/paused/pause", status=204)
    api.create(*SLEEPER, name="created", host={"RestartPolicy": {"Name": "always"}})
    until(lambda: api.exec("unless", "wget", "-qO-", "http://web/") == (0, "page\n"))


def after(folder: Path) -> None:
    assert not Path("/sys/class/net/wherry0").exists()
    daemon = daemon_on(folder)
    api = Api(daemon)
    for name in ("web", "unless", "failing"):
        until(lambda: api.state(name)["Status"] == "running")  # noqa: B023 (asked at once)
    assert "restart failed" not in daemon.log.read_text()
    states = {one: (api.state(one)["Status"], api.state(one)["ExitCode"]) for one in ("byhand", "once", "paused", "created")}
    assert states == {"byhand": ("exited", 137), "once": ("exited", 255), "paused": ("exited", 255), "created": ("created", 0)}
    assert not any(api.state(one)["Paused"] or api.state(one)["Pid"] for one in states)
    # Names, addresses and ports are those of the new start, the network and the volume those of before.
    network = api.ask("GET", "/networks/mine")
    assert (network["Labels"], network["IPAM"]["Config"][0]["Subnet"]) == ({"a": "b"}, "10.77.0.0/24")
    assert {one["Name"] for one in network["Containers"].values()} == {"web", "unless"}
    assert {one["Name"] for one in api.ask("GET", "/networks/bridge")["Containers"].values()} == {"failing"}
    until(lambda: api.exec("unless", "wget", "-qO-", "http://web/") == (0, "page\n"))
    page = subprocess.run(["busybox", "wget", "-qO-", "http://127.0.0.1:8080/"], capture_output=True, check=True).stdout
    assert page == b"page\n"
    # What does not run holds nothing.
    running = {api.inspect(name)["Id"] for name in ("web", "unless", "failing")}
    with open("/proc/self/mounts") as lines:
        assert sum(line.startswith("overlay /data/") or "/merged overlay " in line for line in lines) == len(running)
    assert set(os.listdir(daemon.folder / "exec/containers")) == running
    for name in ("web", "unless", "failing", *states):
        api.remove(name)
    api.ask("DELETE", "/networks/mine", status=204)
    assert api.ask("GET", "/containers/json?all=1") == []
    assert daemon.stop() == 0


if __name__ == "__main__":
    {"before": before, "after": after}[sys.argv[1]](Path(sys.argv[2]))
