"""One data root, three changes of the daemon: dockerd 20.10 writes, `wherryd --drop-in` goes on, dockerd, and wherryd again.

Each daemon finds what the one before left: images with their layers byte for byte, networks, volumes, containers with their
logs; it runs all of it, changes things, and makes more.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from busybox_image import archive
from docker_places import DOCKERD, WHERRYD, daemon, docker
from wherryd_box import folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer, pytest.mark.slow,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]
WEB = "echo $NAME > /tmp/index.html; exec httpd -f -p 80 -h /tmp"


def written(root: str) -> dict[str, Any]:
    """The containers' own files, by name, without what changes when they run."""
    found = {}
    for folder in Path(root, "containers").iterdir():
        config = json.loads((folder / "config.v2.json").read_bytes())
        for key in ("State", "NetworkSettings", "ResolvConfPath", "HasBeenManuallyStopped", "HasBeenStartedBefore", "RestartCount"):
            assert key in config, (folder, key)
            del config[key]
        found[config["Name"]] = {"config": config, "host": json.loads((folder / "hostconfig.json").read_bytes())}
    return found


def network(shown: dict[str, Any]) -> dict[str, Any]:
    """A network without its containers, and without the gateway: dockerd 20.10 shows one that it chose only after its next start."""
    pools = [{key: value for key, value in pool.items() if key != "Gateway"} for pool in shown["IPAM"]["Config"]]
    return {**shown, "Containers": {}, "IPAM": {**shown["IPAM"], "Config": pools}}


def listed() -> dict[str, Any]:
    """What the daemon shows of everything that lasts."""
    def each(kind: str, *names: str) -> list[dict[str, Any]]:
        return list(json.loads(docker(kind, "inspect", *names))) if names else []

    images = each("image", *docker("images", "-aq", "--no-trunc").split())
    networks = each("network", *docker("network", "ls", "-q", "--no-trunc").split())
    volumes = each("volume", *docker("volume", "ls", "-q").split())
    containers = each("container", *docker("ps", "-aq", "--no-trunc").split())
    return {
        "images": {one["Id"]: {**one, "RepoTags": sorted(one["RepoTags"])} for one in images},
        "networks": {one["Name"]: network(one) for one in networks if one["Name"] != "bridge"},
        "volumes": {one["Name"]: {key: value for key, value in one.items() if key != "CreatedAt"} for one in volumes},
        "containers": {one["Name"]: {
            **{key: one[key] for key in ("Id", "Created", "Path", "Args", "Image", "Driver", "Platform", "HostConfig", "GraphDriver", "LogPath",
                                         "HostnamePath", "HostsPath", "RestartCount", "AppArmorProfile", "MountLabel", "ProcessLabel")},
            "Config": one["Config"], "Mounts": {mount["Destination"]: {**mount, "Source": "" if mount["Type"] == "volume" else mount["Source"]} for mount in one["Mounts"]},
            "Networks": {name: {key: place[key] for key in ("IPAMConfig", "Links", "DriverOpts")}
                         for name, place in one["NetworkSettings"]["Networks"].items()},
        } for one in containers},
        "logs": {one["Name"]: docker("logs", one["Id"]) for one in containers},
        "exits": {one["Name"]: one["State"]["ExitCode"] for one in containers if one["Name"].startswith("/writes")},
    }


def differences(before: Any, after: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two values differ: the place, what was there, what is."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from differences(before.get(key, "nothing"), after.get(key, "nothing"), f"{at}.{key}")
    elif before != after:
        yield at, before, after


def check_layers() -> None:
    """Each layer of each tagged image comes out byte for byte, from its tar-split: its diff id is its digest."""
    names = [one for one in docker("images", "--format", "{{.Repository}}:{{.Tag}}").split() if "<none>" not in one]
    saved = subprocess.run(["/usr/bin/docker", "save", *names], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        def content(name: str) -> bytes:
            member = tar.extractfile(name)
            assert member is not None
            return member.read()

        images = json.loads(content("manifest.json"))
        assert len({tag for image in images for tag in image["RepoTags"]}) == len(names)
        for image in images:
            config = json.loads(content(image["Config"]))
            assert [f"sha256:{hashlib.sha256(content(layer)).hexdigest()}" for layer in image["Layers"]] == config["rootfs"]["diff_ids"]


def eventually(ask: Callable[[], Any], wanted: Any) -> None:
    deadline = time.monotonic() + 60
    while (answer := ask()) != wanted:
        assert time.monotonic() < deadline, (answer, wanted)
        time.sleep(0.1)


def page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode().strip())
    except OSError as error:
        return str(error)


def run_everything(turn: int, ports: dict[str, int]) -> None:
    """Every container does its work again under this daemon."""
    containers = docker("ps", "-a", "--format", "{{.Names}}").split()
    for name in containers:
        docker("start", name)
    for name, port in ports.items():
        eventually(lambda name=name, port=port: page(f"http://127.0.0.1:{port}"), name)
    for name in (one for one in containers if one.startswith("writes")):
        assert docker("wait", name) == "3"
        assert docker("logs", "--tail", "1", name) == f"written by {name}"
    for name in (one for one in containers if one.startswith("named")):
        # By the network's own DNS, by the alias and at the address asked for.
        places = f"{name} {name}-alias 10.77.{name[-1]}.9"
        said = docker("run", "--rm", "--network", f"net-{name}", "busybox", "sh", "-c", f"for place in {places}; do wget -qO- http://$place; done")
        assert said.split() == [name] * 3
    assert docker("run", "--rm", "-v", "kept:/v", "busybox", "cat", "/v/turns").split() == [str(number) for number in range(turn)]


def change(turn: int, ports: dict[str, int]) -> None:
    """One more of everything, by this daemon; and something of each kind goes."""
    docker("run", "--rm", "-v", "kept:/v", "busybox", "sh", "-c", f"echo {turn} >> /v/turns")
    docker("volume", "create", "--label", f"turn={turn}", f"volume{turn}")
    docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m", f"device{turn}")
    network = ("network", "create", "--label", f"turn={turn}", "--opt", "com.docker.network.driver.mtu=1400")
    docker(*network, "--subnet", f"10.77.{turn}.0/24", "--ip-range", f"10.77.{turn}.128/25", f"net-named{turn}")
    docker(*network[:2], f"unused{turn}")
    docker(*network[:2], "--internal", f"internal{turn}")
    docker("build", "--network", "none", "-t", f"built:{turn}", "-", data=(
        f"FROM {'team/app:1' if turn == 0 else f'built:{turn - 1}'}\nENV TURN={turn}\nRUN rm -rf root/only; echo {turn} > /turn; mkdir -p d && ln -sf x d/l{turn}\n"
        f"LABEL turn={turn}\n").encode())
    ports[f"plain{turn}"], ports[f"named{turn}"] = 8100 + turn, 8200 + turn
    docker("run", "-d", "--name", f"plain{turn}", "-e", f"NAME=plain{turn}", "-p", f"127.0.0.1:{8100 + turn}:80", "-l", "a=b", "--memory", "64m", "--cpus", "0.5",
           "--restart", "unless-stopped", "--stop-timeout", "1", "--add-host", "x:1.2.3.4", "--init", "-v", f"device{turn}:/device", f"built:{turn}", "sh", "-c", WEB)
    docker("run", "-d", "--name", f"named{turn}", "-e", f"NAME=named{turn}", "--restart", "always", "--stop-signal", "KILL", "--network", f"net-named{turn}", "--network-alias", f"named{turn}-alias",
           "--ip", f"10.77.{turn}.9", "-p", f"{8200 + turn}:80", "--stop-timeout", "1", "--read-only", "--tmpfs", "/tmp", "--user", "0:0", "busybox", "sh", "-c", WEB)
    docker("network", "connect", "--alias", "second", f"internal{turn}", f"named{turn}")
    docker("run", "--name", f"writes{turn}", "--network", "none", "-v", f"volume{turn}:/v", "-v", "/anonymous", "--log-opt", "max-size=1m", "busybox",
           "sh", "-c", f"echo x >> /v/file; echo written by writes{turn}; exit 3", fails=True)
    docker("create", "--name", f"host{turn}", "--network", "host", "--pid", "host", "--entrypoint", "sleep", "busybox", "1000")
    docker("commit", "-c", f"CMD echo {turn}", f"writes{turn}", f"committed:{turn}")
    if turn:  # what the daemon before had made
        docker("network", "rm", f"unused{turn - 1}")
        docker("rename", f"host{turn - 1}", f"renamed{turn - 1}")
        docker("rmi", f"committed:{turn - 1}")
        docker("network", "disconnect", f"internal{turn - 1}", f"named{turn - 1}")
        docker("update", "--restart", "no", "--memory", "32m", "--memory-swap", "64m", f"plain{turn - 1}")


def test_one_data_root_goes_from_daemon_to_daemon() -> None:
    ports: dict[str, int] = {}
    with folders() as box:
        left: dict[str, Any] = {}
        files: dict[str, Any] = {}
        for turn, kind in enumerate((DOCKERD, WHERRYD, DOCKERD, WHERRYD)):
            with daemon(kind, box.data_root, box.folder):
                if turn == 0:
                    docker("load", data=archive("busybox:latest"))
                    docker("load", data=archive("team/app:1"))
                    docker("volume", "create", "--label", "made=there", "kept")
                    docker("run", "--rm", "-v", "kept:/v", "busybox", "touch", "/v/turns")
                found = listed()
                if turn:
                    assert list(differences(left, found)) == [], f"{kind} in turn {turn}"
                    assert list(differences(files, written(box.data_root))) == [], f"{kind} in turn {turn}"
                check_layers()
                run_everything(turn, ports)
                change(turn, ports)
                docker("stop", *docker("ps", "-q").split())
                left = listed()
                files = written(box.data_root)
