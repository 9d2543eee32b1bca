"""Unmodified clients on wherryd: the SDK `docker`, and the docker command lines of 20.10 and 28."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import docker.errors
import pytest
from busybox_image import archive
from docker.types import IPAMConfig, IPAMPool
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]

VERSIONS = [f"1.{minor}" for minor in range(24, 51)]
COMMAND_LINES = {"20.10": "/usr/bin/docker", "28": "/usr/local/bin/docker"}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd() as one:
        yield one


@pytest.fixture
def sdk(daemon: Wherryd) -> Iterator[Any]:
    client = docker.DockerClient(base_url=daemon.socket, version="auto")
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(params=COMMAND_LINES)
def cli(daemon: Wherryd, request: pytest.FixtureRequest) -> Any:
    """One of the docker command lines, as a function of its words."""
    program = COMMAND_LINES[request.param]
    found = subprocess.run([program, "--version"], capture_output=True, text=True) if os.path.exists(program) else None
    if found is None or f"version {request.param}" not in found.stdout:
        pytest.skip(f"docker's command line {request.param} is not installed")

    def run(*words: str, fails: bool = False, data: bytes | None = None) -> str:
        return daemon.docker(*words, client=program, fails=fails, data=data)

    return run


# -- the SDK


def test_sdk_negotiates_and_sees_the_engine(sdk: Any) -> None:
    assert sdk.ping() is True
    version = sdk.version()
    assert (version["ApiVersion"], version["MinAPIVersion"]) == ("1.50", "1.24")
    info = sdk.info()
    assert info["Driver"] == "overlay2"
    assert info["Swarm"]["LocalNodeState"] == "inactive"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_served(daemon: Wherryd, version: str) -> None:
    minor = tuple(int(part) for part in version.split("."))
    client = docker.APIClient(base_url=daemon.socket, version=version)
    try:
        image = client.inspect_image("busybox")
        assert ("VirtualSize" in image) == (minor < (1, 44))
        assert ("ContainerConfig" in image) == (minor < (1, 45))
        assert ("Hostname" in image["Config"]) == (minor < (1, 50))
        row = client.images("busybox")[0]
        assert ("VirtualSize" in row) == (minor < (1, 44))
        assert row["RepoTags"] == ["busybox:latest"]
        network = client.networks(names=["bridge"])[0]
        assert ("EnableIPv4" in network) == (minor >= (1, 48))
        info = client.info()
        assert ("FirewallBackend" in info) == (minor >= (1, 49))
        assert ("BridgeNfIptables" in info) == (minor < (1, 50))
        assert client.volumes() is not None
        if minor >= (1, 25):
            assert client.df()["Images"]
        assert client.history("busybox")[0]["Tags"] == ["busybox:latest"]
        made = client.create_container("busybox", ["true"], host_config=client.create_host_config(network_mode="none"))
        client.start(made["Id"])
        assert client.wait(made["Id"])["StatusCode"] == 0
        client.remove_container(made["Id"])
    finally:
        client.close()


def test_sdk_images(sdk: Any) -> None:
    image = sdk.images.get("busybox")
    assert image.tag("localhost:5000/team/app", tag="1.0")
    assert "localhost:5000/team/app:1.0" in sdk.images.get(image.short_id).tags
    assert {one.id for one in sdk.images.list("localhost:5000/team/*")} == {image.id}
    sdk.images.remove("localhost:5000/team/app:1.0")
    with pytest.raises(docker.errors.ImageNotFound):
        sdk.images.get("localhost:5000/team/app:1.0")
    with pytest.raises(docker.errors.APIError, match="invalid reference format"):
        sdk.api.tag("busybox", "UPPER")


def test_sdk_save_and_load(sdk: Any, daemon: Wherryd) -> None:
    daemon.load(archive("saved:1", Labels={"saved": "yes"}))
    data = b"".join(sdk.images.get("saved:1").save(named=True))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)[0]["RepoTags"] == ["saved:1"]
    before = sdk.images.get("saved:1").id
    sdk.images.remove("saved:1")
    (loaded,) = sdk.images.load(data)
    assert loaded.id == before
    assert loaded.tags == ["saved:1"]
    sdk.images.remove("saved:1")
    with pytest.raises(docker.errors.ImageLoadError):
        sdk.images.load(b"this is no archive")


def test_sdk_import(sdk: Any) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    answer = sdk.api.import_image_from_data(out.getvalue(), repository="imported", tag="x")
    assert "sha256:" in answer
    image = sdk.images.get("imported:x")
    assert image.attrs["Comment"] == "Imported from -"
    assert len(image.attrs["RootFS"]["Layers"]) == 1
    sdk.images.remove("imported:x")


def test_sdk_volumes(sdk: Any) -> None:
    volume = sdk.volumes.create("data", labels={"a": "b"})
    assert volume.attrs["Mountpoint"].endswith("/volumes/data/_data")
    assert volume.attrs["Labels"] == {"a": "b"}
    assert sdk.volumes.create("data").id == "data"
    sdk.containers.run("busybox", ["sh", "-c", "echo kept > /v/file"], volumes={"data": {"bind": "/v"}}, remove=True, network_mode="none")
    assert sdk.containers.run("busybox", ["cat", "/v/file"], volumes={"data": {"bind": "/v"}}, remove=True,
                              network_mode="none") == b"kept\n"
    user = sdk.containers.create("busybox", volumes={"data": {"bind": "/v"}}, network_mode="none")
    with pytest.raises(docker.errors.APIError, match=rf"volume is in use - \[{user.id}\]"):
        volume.remove()
    assert "data" in [one.name for one in sdk.volumes.list(filters={"dangling": "false"})]
    user.remove()
    assert [one.name for one in sdk.volumes.list(filters={"dangling": "true", "label": "a=b"})] == ["data"]
    assert sdk.volumes.prune()["VolumesDeleted"] == []  # it has a name
    assert "data" in sdk.volumes.prune({"all": "true"})["VolumesDeleted"]
    with pytest.raises(docker.errors.NotFound, match="get data: no such volume"):
        sdk.volumes.get("data")


def test_a_tmpfs_volume_is_mounted_while_it_is_used(sdk: Any) -> None:
    sdk.volumes.create("fast", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7,noexec"})
    shown = sdk.containers.run("busybox", ["sh", "-c", "grep ' /v ' /proc/mounts; stat -c %u /v"],
                               volumes={"fast": {"bind": "/v"}}, remove=True, network_mode="none").decode()
    assert "tmpfs /v tmpfs" in shown
    assert "noexec" in shown
    assert "size=1024k" in shown
    assert shown.endswith("\n7\n")
    deadline = time.monotonic() + 20
    while "/volumes/fast/_data" in Path("/proc/self/mountinfo").read_text():  # tidied up after the answer
        assert time.monotonic() < deadline
        time.sleep(0.01)
    sdk.volumes.get("fast").remove()


def test_a_bind_volume_shows_the_host_s_folder(sdk: Any, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("of the host")
    sdk.volumes.create("bound", driver_opts={"type": "none", "device": str(tmp_path), "o": "bind,ro"})
    assert sdk.containers.run("busybox", ["cat", "/v/file"], volumes={"bound": {"bind": "/v"}}, remove=True,
                              network_mode="none") == b"of the host"
    sdk.volumes.get("bound").remove()
    assert (tmp_path / "file").exists()


def test_sdk_networks(sdk: Any) -> None:
    pool = IPAMPool(subnet="10.123.0.0/24", gateway="10.123.0.1")
    network = sdk.networks.create("front", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"a": "b"})
    try:
        assert network.attrs["IPAM"]["Config"] == [{"Subnet": "10.123.0.0/24", "Gateway": "10.123.0.1"}]
        container = sdk.containers.run("busybox", ["sleep", "60"], detach=True, name="member")
        network.connect(container, ipv4_address="10.123.0.77", aliases=["other"])
        container.reload()
        assert container.attrs["NetworkSettings"]["Networks"]["front"]["IPAddress"] == "10.123.0.77"
        network.reload()
        assert [one.name for one in network.containers] == ["member"]
        assert "10.123.0.77" in container.exec_run("ip addr").output.decode()
        with pytest.raises(docker.errors.APIError, match="has active endpoints"):
            network.remove()
        network.disconnect(container)
        assert "10.123.0.77" not in container.exec_run("ip addr").output.decode()
        container.remove(force=True)
        assert sdk.networks.prune()["NetworksDeleted"] == ["front"]
    finally:
        for one in sdk.containers.list(all=True):
            one.remove(force=True)
    with pytest.raises(docker.errors.APIError, match="pre-defined network"):
        sdk.networks.get("bridge").remove()
    with pytest.raises(docker.errors.NotFound, match="network front not found"):
        sdk.networks.get("front")


def test_sdk_prune_leaves_what_is_used(sdk: Any, daemon: Wherryd) -> None:
    daemon.load(archive("moving:1", Labels={"number": "one"}))
    first = sdk.images.get("moving:1").id
    daemon.load(archive("moving:1", Labels={"number": "two"}))
    assert [one.id for one in sdk.images.list(filters={"dangling": True})] == [first]
    user = sdk.containers.create(first, network_mode="none")
    assert not sdk.images.prune()["ImagesDeleted"]
    user.remove()
    assert {"Deleted": first} in sdk.images.prune()["ImagesDeleted"]
    sdk.images.remove("moving:1")


# -- the command lines


def test_cli_system(cli: Any) -> None:
    assert "wherry" in cli("version")
    assert json.loads(cli("info", "--format", "{{json .}}"))["Driver"] == "overlay2"
    assert "Images" in cli("system", "df")
    assert "busybox" in cli("system", "df", "-v")


def test_cli_images(cli: Any, daemon: Wherryd) -> None:
    assert cli("load", data=archive("cli:1", Labels={"for": "cli"})).endswith("Loaded image: cli:1")
    assert cli("images", "-q", "--no-trunc", "cli") == daemon.get("/images/cli:1/json")[1]["Id"]
    assert cli("tag", "cli:1", "cli:2") == ""
    assert sorted(cli("images", "--filter", "label=for=cli", "--format", "{{.Tag}}").split()) == ["1", "2"]
    assert "layer 0" in cli("history", "cli:1")
    cli("create", "--name", "user", "--network", "none", "cli:1", "true")
    assert cli("rmi", "cli:2") == "Untagged: cli:2"
    message = cli("rmi", "cli:1", fails=True)
    assert 'conflict: unable to remove repository reference "cli:1" (must force) - container' in message
    assert message.startswith("Error response from daemon: ")
    cli("rm", "user")
    removed = cli("rmi", "cli:1").splitlines()
    assert removed[0] == "Untagged: cli:1"
    assert removed[1].startswith("Deleted: sha256:")
    assert "No such image: cli:1" in cli("rmi", "cli:1", fails=True)
    assert "No such image: cli:1" in cli("save", "cli:1", fails=True)
    assert "invalid reference format" in cli("pull", "NotLower", fails=True)


def test_cli_volumes_and_networks(cli: Any) -> None:
    assert cli("volume", "create", "--label", "x=y", "named") == "named"
    assert cli("volume", "ls", "-q", "-f", "label=x=y") == "named"
    assert cli("volume", "rm", "named") == "named"
    assert "no such volume" in cli("volume", "inspect", "named", fails=True).lower()
    assert "includes invalid characters for a local volume name" in cli("volume", "create", "/x", fails=True)
    made = cli("network", "create", "--subnet", "10.99.0.0/24", "back")
    assert len(made) == 64
    assert cli("network", "ls", "-q", "--no-trunc", "-f", "name=back") == made
    assert cli("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "back") == "10.99.0.0/24"
    assert cli("network", "rm", "back") == "back"
    assert "back" in cli("network", "inspect", "back", fails=True)


def test_cli_what_is_absent_is_said_in_docker_s_words(cli: Any) -> None:
    assert "This node is not a swarm manager" in cli("node", "ls", fails=True)
    assert "This node is not part of a swarm" in cli("swarm", "leave", fails=True)
    assert cli("plugin", "ls").startswith("ID")
    assert "swarm mode not supported" in cli("swarm", "init", fails=True)


def test_cli_events(daemon: Wherryd, cli: Any) -> None:
    begun = f"{time.time():.9f}"
    cli("volume", "create", "seen")
    cli("volume", "rm", "seen")
    until = str(int(time.time()) + 1)
    shown = cli("events", "--since", begun, "--until", until, "--filter", "volume=seen", "--format", "{{.Action}} {{.Actor.ID}}")
    assert shown.splitlines() == ["create seen", "destroy seen"]


# -- pulling and pushing, through a real registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on loopback."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("registry")
    (folder / "config.yml").write_text(json.dumps({
        "version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "data")}}, "http": {"addr": address}}))
    process = subprocess.Popen([program, "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        host, port = address.split(":")
        for _ in range(400):
            try:
                socket.create_connection((host, int(port))).close()
                break
            except OSError:
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def test_push_and_pull(cli: Any, registry: str, daemon: Wherryd) -> None:
    name = f"{registry}/team/app:1"
    cli("tag", "busybox", name)
    pushed = cli("push", name)
    assert any(word in pushed for word in ("Pushed", "Layer already exists", "Mounted from"))
    digest = next(word for word in pushed.split() if word.startswith("sha256:"))
    assert f"1: digest: {digest} size:" in pushed
    cli("rmi", name)
    shown = cli("pull", name)
    assert f"Digest: {digest}" in shown
    assert f"Status: Downloaded newer image for {name}" in shown
    assert f"Status: Image is up to date for {name}" in cli("pull", name)
    assert cli("images", "--digests", "--format", "{{.Digest}}", f"{registry}/team/app") == digest
    assert cli("pull", "-q", f"{registry}/team/app@{digest}").endswith(digest)
    assert "not found" in cli("pull", f"{registry}/team/app:none", fails=True)
    inspected = daemon.get(f"/v1.41/distribution/{name}/json")[1]
    assert inspected["Descriptor"]["digest"] == digest
    assert inspected["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    cli("rmi", name)


def test_sdk_pull_streams_docker_s_lines(sdk: Any, registry: str) -> None:
    sdk.images.get("busybox").tag(f"{registry}/lines", tag="x")
    last = list(sdk.api.push(f"{registry}/lines", tag="x", stream=True, decode=True))[-1]
    assert last["aux"]["Tag"] == "x"
    sdk.images.remove(f"{registry}/lines:x")
    sdk.images.remove("busybox")  # so that the layers come over the wire
    try:
        lines = list(sdk.api.pull(f"{registry}/lines", tag="x", stream=True, decode=True))
    finally:
        sdk.images.load(archive("busybox:latest"))
    assert lines[0] == {"status": "Pulling from lines", "id": "x"}
    statuses = [one["status"] for one in lines]
    assert "Pulling fs layer" in statuses
    assert "Pull complete" in statuses
    layer = next(one for one in lines if one["status"] == "Pulling fs layer")
    assert layer["progressDetail"] == {}
    assert statuses[-2].startswith("Digest: sha256:")
    assert statuses[-1] == f"Status: Downloaded newer image for {registry}/lines:x"
    sdk.images.remove(f"{registry}/lines:x")
    with pytest.raises(docker.errors.NotFound, match=r"manifest unknown|not found"):
        sdk.images.pull(f"{registry}/lines", tag="none")


def test_an_import_with_changes(sdk: Any) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    sdk.api.import_image_from_data(out.getvalue(), repository="changed", changes=["CMD [\"x\", \"y\"]", "ENV A=b", "EXPOSE 80"])
    config = sdk.images.get("changed").attrs["Config"]
    assert (config["Cmd"], config["Env"], config["ExposedPorts"]) == (["x", "y"], ["A=b"], {"80/tcp": {}})
    sdk.images.remove("changed")
    with pytest.raises(docker.errors.APIError, match="run is not a valid change command"):
        sdk.api.import_image_from_data(out.getvalue(), repository="changed", changes=["RUN true"])
