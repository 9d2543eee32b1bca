"""kill -9 of the daemon in the middle of every verb: the next daemon finds the old state or the new one, and nothing else is left.

The daemon is killed before one of the changes that a verb makes (`tests/support/dying_wherryd.py`): at the first, at the last, and at
some between. Afterwards the verb can be done, and when everything that is listed has been removed, the world is as it was before.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from busybox_image import archive
from containers_by_api import Api, until
from dying_counter import Counter, points
from wherryd_box import folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.slow]

TAR = {"Content-Type": "application/x-tar"}
BRIDGE = {"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{}]}, "Binds": ["kept:/kept"]}
QUIET = {"HostConfig": {"NetworkMode": "none"}}
STOPPED = ("created", "exited")
RUNNING = ("running",)
EITHER = (*STOPPED, *RUNNING)


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class World:
    """A daemon that can be killed at a change, and everything of it that can be seen from outside."""

    def __init__(self, api: Api, counter: Counter) -> None:
        self.api = api
        self.counter = counter
        self.root = Path(api.daemon.data_root)
        self.run = api.daemon.folder / "exec"
        # What is given back after an answer has gone by then.
        self.before = until(lambda: (seen if not ((seen := self.seen())["run folders"] or seen["processes"] or seen["containers"]
                                                  or seen["mounts"] or "veth" in str(seen["links"])) else None))

    def seen(self) -> dict[str, object]:
        """What must be the same again when everything that is listed is removed."""
        def names(*parts: str) -> list[str]:
            place = self.root.joinpath(*parts)
            return sorted(os.listdir(place)) if place.exists() else []

        layerdb = self.root / "image/overlay2/layerdb"
        kept = {one.read_text().strip() for one in layerdb.glob("sha256/*/cache-id")}
        shown = subprocess.run(["ps", "ww", "-eo", "cmd"], capture_output=True, text=True, check=True).stdout
        rules = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return {
            "containers": names("containers"), "writable layers": names("image/overlay2/layerdb/mounts"),
            "layers": names("image/overlay2/layerdb/sha256"), "images": names("image/overlay2/imagedb/content/sha256"),
            "volumes": [one for one in names("volumes") if one != "kept"], "builds": names("tmp/builds"), "tmp": [one for one in names("tmp") if one != "builds"],
            # What no layer names is a prepared one, as its note says.
            "trees": len(names("overlay2")) - 1 - len(kept) - 2 * len(list(layerdb.glob("tmp/*"))),
            "run folders": sorted(os.listdir(self.run / "containers")),
            "drafts": sorted(f"{folder}/{one}" for place in (self.root, self.run) for folder, _, files in os.walk(place)
                             for one in files if one.endswith(".tmp")),
            "mounts": sorted(one for one in mounts if str(self.root) in one or str(self.run) in one),
            "links": sorted(os.listdir("/sys/class/net")),
            "rules": rules,
            "cgroups": sorted(one for _, below, _ in os.walk("/sys/fs/cgroup") for one in below if re.search("[0-9a-f]{64}", one)),
            "processes": sorted(line.split()[0] for line in shown.splitlines() if line.startswith(("wherry-shim ", "wherry-proxy"))),
            "occupied": self.api.ask("GET", "/networks/bridge")["Containers"],
        }

    def clear(self) -> None:
        """Removes everything that is listed, but the image and the volume of all tests."""
        ask = self.api.ask
        for container in ask("GET", "/containers/json?all=1"):
            self.api.inspect(container["Id"])
            self.api.remove(container["Id"])
        for network in ask("GET", "/networks"):
            if network["Name"] not in ("bridge", "host", "none"):
                ask("DELETE", f"/networks/{network['Id']}")
        for volume in ask("GET", "/volumes")["Volumes"] or ():
            if volume["Name"] != "kept":
                ask("DELETE", f"/volumes/{volume['Name']}")
        for _ in range(2):  # an image has to go before its parent does
            for image in ask("GET", "/images/json?all=1"):
                if "busybox:latest" not in (image["RepoTags"] or ()):
                    ask("DELETE", f"/images/{image['Id']}?force=1", status=(200, 404, 409))
                for tag in image["RepoTags"] or ():
                    if tag not in ("busybox:latest", "<none>:<none>"):
                        ask("DELETE", f"/images/{tag}", status=(200, 404))

    def states(self) -> dict[str, str]:
        """The containers' states by name."""
        return {one["Names"][0][1:]: one["State"] for one in self.api.ask("GET", "/containers/json?all=1")}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with folders() as daemon:
        counter = Counter(daemon.folder / "counter")
        daemon.program = counter.program
        daemon.start()
        daemon.load()
        api = Api(daemon)
        for _ in range(2):  # the first container of all makes what then stays: the volume, a prepared layer
            assert api.run("true", host=BRIDGE)[0] == 0
        yield World(api, counter)


# What each verb finds, and what it does.

def nothing(_api: Api) -> None:
    pass


def created(api: Api) -> None:
    api.create("sleep", "1000", name="one", host=BRIDGE)


def started(api: Api) -> None:
    created(api)
    api.start("one")


def ended(api: Api) -> None:
    api.create("sh", "-c", "echo x > /made; head -c 100000 /dev/zero > /more", name="one")
    api.start("one")
    api.wait("one")


def paused(api: Api) -> None:
    started(api)
    api.ask("POST", "/containers/one/pause")


def network(api: Api) -> None:
    api.ask("POST", "/networks/create", {"Name": "n", "Driver": "bridge"})


def beside_network(api: Api) -> None:
    started(api)
    network(api)


def connected(api: Api) -> None:
    beside_network(api)
    api.ask("POST", "/networks/n/connect", {"Container": "one"})


def volume(api: Api) -> None:
    api.ask("POST", "/volumes/create", {"Name": "some", "Labels": {"a": "b"}})


def tagged(api: Api) -> None:
    api.ask("POST", "/images/busybox/tag?repo=other&tag=1")


LAYERS = (tar_of(one=b"1" * 100_000), tar_of(two=b"2"))


def loaded(api: Api) -> None:
    api.daemon.load(archive("other:1", LAYERS))


def prunable(api: Api) -> None:
    ended(api)
    volume(api)
    network(api)


def post(path: str, body: object = None) -> Callable[[Api], object]:
    return lambda api: api.daemon.request("POST", path, body)


def delete(path: str) -> Callable[[Api], object]:
    return lambda api: api.daemon.request("DELETE", path)


def executed(api: Api) -> None:
    made = api.ask("POST", "/containers/one/exec", {"Cmd": ["true"]}, 201)["Id"]
    api.ask("POST", f"/exec/{made}/start", {"Detach": True}, 200)
    until(lambda: api.ask("GET", f"/exec/{made}/json")["Running"] is False)


def run_rm(api: Api) -> None:
    container = api.create("true", name="one", host={**BRIDGE, "AutoRemove": True})
    api.start(container)
    api.daemon.request("POST", f"/containers/{container}/wait?condition=removed")


def built(dockerfile: bytes) -> Callable[[Api], object]:
    context = tar_of(Dockerfile=dockerfile, data=b"x" * 100_000)
    return lambda api: api.daemon.request("POST", "/build?t=other:1&nocache=1&networkmode=none&rm=1", context, TAR)


def pruned(api: Api) -> None:
    for what in ("containers", "networks", "volumes", "images"):
        api.daemon.request("POST", f"/{what}/prune")


VERBS: dict[str, tuple[Callable[[Api], None], Callable[[Api], object], dict[str, tuple[str, ...]]]] = {
    # name: what is there, what is done, and the states that each container may have afterwards ("-": it may be missing)
    "create": (nothing, lambda api: api.create("true", name="one", host=BRIDGE, Volumes={"/bin": {}}), {"one": ("created", "-")}),
    "start": (created, post("/containers/one/start"), {"one": EITHER}),
    "stop": (started, post("/containers/one/stop?t=0"), {"one": EITHER}),
    "kill": (started, post("/containers/one/kill"), {"one": EITHER}),
    "restart": (started, post("/containers/one/restart?t=0"), {"one": EITHER}),
    "pause": (started, post("/containers/one/pause"), {"one": ("running", "paused")}),
    "unpause": (paused, post("/containers/one/unpause"), {"one": ("running", "paused")}),
    "rename": (started, post("/containers/one/rename?name=two"), {"one": ("running", "-"), "two": ("running", "-")}),
    "update": (started, post("/containers/one/update", {"Memory": 64 << 20, "MemorySwap": -1}), {"one": RUNNING}),
    "rm": (ended, delete("/containers/one?v=1"), {"one": ("exited", "-")}),
    "rm -f": (started, delete("/containers/one?v=1&force=1"), {"one": (*EITHER, "-")}),
    "exec": (started, executed, {"one": RUNNING}),
    "commit": (ended, post("/commit?container=one&repo=other&tag=1"), {"one": ("exited",)}),
    "commit of what runs": (started, post("/commit?container=one&repo=other&tag=1"), {"one": RUNNING}),
    "cp in": (started, lambda api: api.daemon.request("PUT", "/containers/one/archive?path=/", LAYERS[0], TAR), {"one": RUNNING}),
    "cp into what is stopped": (created, lambda api: api.daemon.request("PUT", "/containers/one/archive?path=/", LAYERS[0], TAR),
                                {"one": ("created",)}),
    "network create": (nothing, post("/networks/create", {"Name": "n"}), {}),
    "network connect": (beside_network, post("/networks/n/connect", {"Container": "one"}), {"one": RUNNING}),
    "network disconnect": (connected, post("/networks/n/disconnect", {"Container": "one"}), {"one": RUNNING}),
    "network rm": (network, delete("/networks/n"), {}),
    "volume create": (nothing, post("/volumes/create", {"Name": "some"}), {}),
    "volume rm": (volume, delete("/volumes/some"), {}),
    "tag": (nothing, post("/images/busybox/tag?repo=other&tag=1"), {}),
    "rmi of a name": (tagged, delete("/images/other:1"), {}),
    "rmi": (loaded, delete("/images/other:1"), {}),
    "load": (nothing, lambda api: api.daemon.request("POST", "/images/load", archive("other:1", LAYERS), TAR), {}),
    "import": (nothing, lambda api: api.daemon.request("POST", "/images/create?fromSrc=-&repo=other", LAYERS[0], TAR), {}),
    "build with RUN": (nothing, built(b"FROM busybox\nRUN echo one > /one\n"), {}),
    "build with COPY": (nothing, built(b"FROM busybox\nCOPY data /data\nLABEL a=b\n"), {}),
    "prune": (prunable, pruned, {"one": ("exited", "-")}),
    "run --rm": (nothing, run_rm, {"one": ("created", "running", "exited", "-")}),
}


def killed(world: World, act: Callable[[Api], object], number: int) -> None:
    """Does it with a daemon that is killed at this change, and starts the next daemon; the end of a verb may come before."""
    world.counter.kill_at(number)
    with contextlib.suppress(OSError, http.client.HTTPException, AssertionError, json.JSONDecodeError):
        act(world.api)
    world.counter.kill_at(0)
    world.api.daemon.stop(9)
    world.api.daemon.start()


@pytest.mark.parametrize("verb", VERBS)
def test_killed_in_the_middle(world: World, verb: str) -> None:
    there, act, allowed = VERBS[verb]
    api = world.api

    there(api)
    world.counter.kill_at(0)
    act(api)
    made = world.counter.made
    assert made
    world.clear()
    agrees(world, f"{verb}, not killed")
    for number in points(made):
        there(api)
        killed(world, act, number)
        where = f"{verb}, killed at change {number} of {made}"
        states = world.states()
        assert set(states) <= set(allowed), where
        for name, possible in allowed.items():
            assert states.get(name, "-") in possible, where
            if states.get(name) == "running":
                assert api.exec(name, "echo", "x") == (0, "x\n"), where
        world.clear()
        agrees(world, where)
    there(api)
    act(api)
    world.clear()
    agrees(world, f"{verb}, done again")


def agrees(world: World, where: str) -> None:
    """Waits until the world is as it was."""
    def differences() -> dict[str, object]:
        now = world.seen()
        return {name: (was, now[name]) for name, was in world.before.items() if was != now[name]}

    last: list[dict[str, object]] = []

    def same() -> bool:
        last[:] = [differences()]
        return not last[0]

    try:
        until(same)
    except AssertionError as error:
        raise AssertionError(f"{where}: {last[0]}") from error
