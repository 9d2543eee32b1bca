"""pull, push, login and logout through wherry, docker 20.10 and docker 28, on wherryd, against Debian's docker-registry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker as sdk
import pytest
from clients import CLIENTS, WHERRY
from containers_by_api import until
from registry_lab import CLOSED, LAYER_BYTES, OPEN, TOKENS, put_manifest, raw_manifest, registries
from slow_proxy import SlowProxy, slow_proxy
from terminal_lab import Terminal
from token_server import TokenServer, token_server
from wherryd_box import Wherryd, folders, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry"),
              pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")]
NOTHING = "sha256:" + "0" * 64
ALONE = ("--bridge=none", "--iptables=false")  # some tests have a daemon of their own beside the module's
each_client = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    one = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-registry-"))
    yield one
    shutil.rmtree(one)


@pytest.fixture(scope="module")
def tokens(folder: Path) -> Iterator[TokenServer]:
    with token_server(folder) as one:
        yield one


@pytest.fixture(scope="module")
def registry(folder: Path, tokens: TokenServer) -> Iterator[Path]:
    with registries(folder, tokens):
        yield folder


@pytest.fixture(scope="module")
def daemon(registry: Path) -> Iterator[Wherryd]:
    with wherryd(*ALONE) as one:
        one.docker("rmi", "busybox", client=WHERRY)
        yield one


@pytest.fixture(autouse=True)
def _no_images_are_left(daemon: Wherryd) -> Iterator[None]:
    yield
    if found := daemon.docker("images", "-aq", client=WHERRY).split():
        daemon.docker("rmi", "-f", *dict.fromkeys(found), client=WHERRY)
    daemon.docker("image", "prune", "-f", client=WHERRY)  # verified layers that pulls which failed have kept
    assert not list((Path(daemon.data_root) / "image/overlay2/layerdb/sha256").glob("*"))


def traces(daemon: Wherryd) -> list[str]:
    """What lies in the data root's image store and in its folder for what is temporary, but for the list of names and what waits to be gone on with."""
    root = Path(daemon.data_root)
    return sorted(str(path) for folder in ("image", "overlay2", "tmp") for path in (root / folder).rglob("*")
                  if path.is_file() and path.name != "repositories.json" and path.parent.name != "ingest")


@each_client
def test_pull_by_tag_by_digest_quietly_and_every_tag(daemon: Wherryd, client: str) -> None:
    text = daemon.docker("pull", f"{OPEN}/app:1", client=client)
    assert text.startswith("1: Pulling from app\n")
    assert text.count(": Pull complete\n") == 3
    assert text.endswith(f"Status: Downloaded newer image for {OPEN}/app:1\n{OPEN}/app:1")
    assert "Status: Image is up to date" in daemon.docker("pull", f"{OPEN}/app:1", client=client)
    digest = text.partition("Digest: ")[2].split()[0]
    assert daemon.docker("pull", "-q", f"{OPEN}/app@{digest}", client=client) == f"{OPEN}/app@{digest}"
    daemon.docker("rmi", "-f", f"{OPEN}/app:1", client=client)
    daemon.docker("pull", "-a", f"{OPEN}/every", client=client)
    assert sorted(daemon.docker("images", "--format", "{{.Tag}}", f"{OPEN}/every", client=client).split()) == ["1", "2"]
    assert daemon.docker("run", "--rm", "--network=none", f"{OPEN}/every:2", "echo", "runs", client=client) == "runs"


@each_client
@pytest.mark.parametrize(("name", "file", "compression"), [("app:oci", "/a", "gzip"), ("other:zstd", "/z", "zstd")])
def test_media_types_and_compressions(daemon: Wherryd, client: str, name: str, file: str, compression: str) -> None:
    assert compression in {one["mediaType"].rpartition("+")[2] for one in json.loads(raw_manifest(f"{OPEN}/{name}"))["layers"]}
    daemon.docker("pull", f"{OPEN}/{name}", client=client)
    assert daemon.docker("run", "--rm", "--network=none", f"{OPEN}/{name}", "ls", "-l", file, client=client).split()[4] == str(LAYER_BYTES // 32 * 32)


@each_client
@pytest.mark.parametrize(("index", "docker"), [("application/vnd.oci.image.index.v1+json", False),
                                               ("application/vnd.docker.distribution.manifest.list.v2+json", True)])
def test_an_index_of_platforms(daemon: Wherryd, client: str, index: str, docker: bool) -> None:
    raw = raw_manifest(f"{OPEN}/app:{'1' if docker else 'oci'}")
    entry = {"mediaType": json.loads(raw).get("mediaType", "application/vnd.oci.image.manifest.v1+json"), "size": len(raw),
             "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}"}
    platforms = [{"architecture": "s390x", "os": "linux"}, {"architecture": "amd64", "os": "linux"}]
    put_manifest("app", "many", {"schemaVersion": 2, "mediaType": index, "manifests": [{**entry, "platform": one} for one in platforms]}, index)
    daemon.docker("pull", "--platform", "linux/amd64", f"{OPEN}/app:many", client=client)
    assert daemon.docker("run", "--rm", "--network=none", f"{OPEN}/app:many", "echo", "runs", client=client) == "runs"
    daemon.docker("rmi", "-f", f"{OPEN}/app:many", client=client)
    assert "no matching manifest for linux/arm/v7 in the manifest list entries" in daemon.docker(
        "pull", "--platform", "linux/arm/v7", f"{OPEN}/app:many", client=client, fails=True)
    put_manifest("app", "many", {"schemaVersion": 2, "mediaType": index, "manifests": [{**entry, "platform": platforms[0]}]}, index)
    assert "no matching manifest for linux/amd64" in daemon.docker("pull", f"{OPEN}/app:many", client=client, fails=True)


@each_client
def test_a_pull_that_fails_leaves_nothing(daemon: Wherryd, client: str) -> None:
    before = traces(daemon)
    for name, words in (
        (f"{OPEN}/app:nope", f"manifest for {OPEN}/app:nope not found: manifest unknown: manifest unknown"),
        (f"{OPEN}/none:1", "manifest unknown"),
        (f"{OPEN}/app@{NOTHING}", "manifest unknown"),
        ("nosuch.invalid/a:1", 'Get "https://nosuch.invalid/v2/": dial tcp: lookup nosuch.invalid'),
        ("127.0.0.1:1/a:1", 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'),
        (f"{CLOSED}/private:1", "no basic auth credentials"),
        (f"{TOKENS}/ours/app:1", f"pull access denied for {TOKENS}/ours/app, repository does not exist or may require 'docker login': denied: "),
    ):
        assert words in daemon.docker("pull", name, client=client, fails=True)
    assert traces(daemon) == before


@each_client
def test_what_does_not_match_its_digest(daemon: Wherryd, client: str, registry: Path) -> None:
    """The registry's own copy of a layer, and of a manifest, is changed behind its back."""
    before = traces(daemon)
    raw = raw_manifest(f"{OPEN}/app:1")
    for digest in (json.loads(raw)["layers"][1]["digest"], f"sha256:{hashlib.sha256(raw).hexdigest()}"):
        hexadecimal = digest.partition(":")[2]
        blob = registry / OPEN / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        kept = blob.read_bytes()
        blob.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]) if len(kept) > 10000 else kept.replace(b'"schemaVersion"', b' "schemaVersion"', 1))
        try:
            text = daemon.docker("pull", f"{OPEN}/app@sha256:{hashlib.sha256(raw).hexdigest()}", client=client, fails=True)
            assert any(words in text for words in ("filesystem layer verification failed", "manifest verification failed", "unknown blob",
                                                   "content verification failed", "unexpected end", "error pulling")), text
        finally:
            blob.write_bytes(kept)
        daemon.docker("image", "prune", "-f", client=client)
        assert traces(daemon) == before
    daemon.docker("pull", f"{OPEN}/app:1", client=client)


@each_client
def test_connections_that_are_cut(daemon: Wherryd, client: str) -> None:
    """Each connection ends after a megabyte: the pull goes on where it was. When it always ends at once, it fails and leaves nothing."""
    host, _, port = OPEN.partition(":")
    with slow_proxy(host, int(port)) as proxy:
        proxy.cut_after = 1_000_000
        daemon.docker("pull", f"{proxy.address}/app:1", client=client)
        assert proxy.cuts >= 2
        assert proxy.received < 2.5 * 2 * LAYER_BYTES + 3_000_000
        daemon.docker("rmi", "-f", f"{proxy.address}/app:1", client=client)
        before = traces(daemon)
        proxy.dead = True
        assert daemon.docker("pull", f"{proxy.address}/app:1", client=client, fails=True)
        assert traces(daemon) == before


@each_client
def test_ctrl_c_and_then_again(daemon: Wherryd, client: str) -> None:
    """Ctrl-C ends a pull within a moment; the second pull does not fetch again what was there and verified."""
    host, _, port = OPEN.partition(":")
    with slow_proxy(host, int(port)) as proxy:
        proxy.rate = 900_000
        child = subprocess.Popen([client, "-H", daemon.socket, "pull", f"{proxy.address}/app:1"], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        assert child.stdout is not None
        done = 0
        while done < 1:
            line = child.stdout.readline()
            assert line, "the pull ended"
            done += b"Download complete" in line or b"Pull complete" in line
        child.send_signal(signal.SIGINT)
        child.stdout.close()
        assert child.wait(20) != 0
        deadline = time.monotonic() + 20
        first = -1
        while first != proxy.received:  # the daemon hangs up as well
            assert time.monotonic() < deadline
            first = proxy.received
            time.sleep(0.3)
        assert not daemon.docker("images", "-q", client=client)
        proxy.rate = proxy.received = 0
        text = daemon.docker("pull", f"{proxy.address}/app:1", client=client)
        assert text.count(": Pull complete\n") + text.count(": Already exists\n") == 3
        total = sum(one["size"] for one in json.loads(raw_manifest(f"{OPEN}/app:1"))["layers"])
        assert proxy.received < total, "what was verified came again"
        assert daemon.docker("run", "--rm", "--network=none", f"{proxy.address}/app:1", "echo", "runs", client=client) == "runs"


def test_two_pulls_at_once_and_one_that_gives_up(daemon: Wherryd) -> None:
    host, _, port = OPEN.partition(":")
    with slow_proxy(host, int(port)) as proxy:
        proxy.rate = 900_000
        command = [WHERRY, "-H", daemon.socket, "pull", f"{proxy.address}/app:1"]
        one, other = (subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2))
        assert one.stdout is not None
        while b"Downloading" not in (line := one.stdout.readline()) and b"Pulling fs layer" not in line:
            assert line
        one.send_signal(signal.SIGINT)
        one.communicate(timeout=20)
        assert one.returncode != 0
        text, _ = other.communicate(timeout=60)
        assert (other.returncode, text.count(b": Pull complete\n")) == (0, 3)
        total = sum(one["size"] for one in json.loads(raw_manifest(f"{OPEN}/app:1"))["layers"])
        assert proxy.received < 1.5 * total, "they did not share what they fetched"


def test_a_pull_whose_daemon_is_killed(registry: Path) -> None:
    host, _, port = OPEN.partition(":")
    with wherryd(*ALONE) as own, slow_proxy(host, int(port)) as proxy:
        proxy.rate = 900_000
        own.docker("rmi", "busybox", client=WHERRY)
        child = subprocess.Popen([WHERRY, "-H", own.socket, "pull", f"{proxy.address}/app:1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert child.stdout is not None
        while b"complete" not in (line := child.stdout.readline()):
            assert line
        os.kill(own.process.pid, signal.SIGKILL)
        own.process.wait()
        assert child.wait(20) != 0
        child.stdout.close()
        own.start(*ALONE)
        assert own.docker("images", "-aq", client=WHERRY) == ""
        proxy.rate = 0
        own.docker("pull", f"{proxy.address}/app:1", client=WHERRY)
        assert own.docker("run", "--rm", "--network=none", f"{proxy.address}/app:1", "echo", "runs", client=WHERRY) == "runs"


@each_client
def test_login_push_and_logout(daemon: Wherryd, client: str, tmp_path: Path) -> None:
    config = ["--config", str(tmp_path)]
    login = (*config, "login", "-u", "ann", "--password-stdin", CLOSED)
    assert "401" in daemon.docker(*login, client=client, data=b"wrong", fails=True)
    assert "Login Succeeded" in daemon.docker(*login, client=client, data=b"secret")
    assert CLOSED in json.loads((tmp_path / "config.json").read_text())["auths"]
    daemon.docker(*config, "pull", f"{CLOSED}/private:1", client=client)
    for tag in ("a", "b"):
        daemon.docker("tag", f"{CLOSED}/private:1", f"{CLOSED}/ours:{tag}", client=client)
    text = daemon.docker(*config, "push", "-a", f"{CLOSED}/ours", client=client)
    assert "Mounted from private" in text or "Layer already exists" in text
    seen = subprocess.run(["skopeo", "inspect", "--tls-verify=false", "--creds", "ann:secret", f"docker://{CLOSED}/ours:b"],
                          capture_output=True, check=True)
    assert json.loads(seen.stdout)["RepoTags"] in (["a", "b"], ["b", "a"])
    assert "Removing login credentials" in daemon.docker(*config, "logout", CLOSED, client=client)
    assert "no basic auth credentials" in daemon.docker(*config, "push", f"{CLOSED}/ours:a", client=client, fails=True)
    terminal = Terminal([client, *config, "-H", daemon.socket, "login", CLOSED])
    terminal.expect(b"Username: ")
    terminal.type(b"ann\n")
    terminal.expect(b"Password: ")
    terminal.type(b"secret\n")
    terminal.expect(b"Login Succeeded")
    assert terminal.end() == 0
    assert b"secret" not in terminal.text


def drained(proxy: SlowProxy) -> None:
    """Lets pass what is on its way, until nothing more comes: the daemon hangs up as well."""
    proxy.rate, before = 0, -1
    while before != proxy.sent:
        before = proxy.sent
        time.sleep(0.5)


@each_client
def test_push_ctrl_c_and_then_again(daemon: Wherryd, client: str) -> None:
    """Ctrl-C ends a push within a moment, and the registry shows no image; the second push is whole."""
    host, _, port = OPEN.partition(":")
    name = f"cut-{hashlib.sha256(client.encode()).hexdigest()[:8]}"
    daemon.docker("pull", f"{OPEN}/app:1", client=client)
    with slow_proxy(host, int(port)) as proxy:
        daemon.docker("tag", f"{OPEN}/app:1", f"{proxy.address}/{name}:1", client=client)
        proxy.rate = 200_000
        child = subprocess.Popen([client, "-H", daemon.socket, "push", f"{proxy.address}/{name}:1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        until(lambda: proxy.sent > 300_000)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
        assert child.returncode != 0
        drained(proxy)
        assert "manifest unknown" in daemon.docker("pull", f"{OPEN}/{name}:1", client=client, fails=True)
        assert daemon.docker("push", f"{proxy.address}/{name}:1", client=client).count(": Pushed\n") == 3
        daemon.docker("rmi", "-f", f"{proxy.address}/{name}:1", f"{OPEN}/app:1", client=client)
        daemon.docker("image", "prune", "-f", client=client)
    assert daemon.docker("run", "--rm", "--network=none", f"{OPEN}/{name}:1", "echo", "runs", client=client).endswith("runs")


def test_a_push_by_the_sdk_that_gives_up(daemon: Wherryd) -> None:
    host, _, port = OPEN.partition(":")
    with slow_proxy(host, int(port)) as proxy, contextlib.closing(sdk.APIClient(daemon.socket)) as api:
        api.pull(f"{OPEN}/app", "1")
        api.tag(f"{OPEN}/app:1", f"{proxy.address}/sdk", "1")
        proxy.rate = 200_000
        stream = api.push(f"{proxy.address}/sdk", "1", stream=True, decode=True)
        assert any(one["status"] == "Pushing" for one in stream)
        api.close()
        stream.close()
        drained(proxy)
        assert [one for one in api.push(f"{proxy.address}/sdk", "1", stream=True, decode=True) if "error" in one] == []
        assert api.inspect_distribution(f"{proxy.address}/sdk:1")["Descriptor"]["size"] > 0


@each_client
def test_tokens(daemon: Wherryd, tokens: TokenServer, client: str, tmp_path: Path) -> None:
    tokens.asked.clear()
    daemon.docker("pull", f"{TOKENS}/open/app:1", client=client)
    assert ("", ["repository:open/app:pull"]) in tokens.asked
    config = ["--config", str(tmp_path)]
    login = (*config, "login", "-u", "ann", "--password-stdin", TOKENS)
    assert f'Get "http://{TOKENS}/v2/": unauthorized: incorrect username or password' in daemon.docker(*login, client=client, data=b"wrong", fails=True)
    daemon.docker(*login, client=client, data=b"secret")
    daemon.docker(*config, "pull", f"{TOKENS}/ours/app:1", client=client)
    name = f"ours/more-{hashlib.sha256(client.encode()).hexdigest()[:8]}"  # one for each client: what the registry has is not pushed again
    daemon.docker("tag", f"{TOKENS}/ours/app:1", f"{TOKENS}/{name}:1", client=client)
    assert daemon.docker(*config, "push", f"{TOKENS}/{name}:1", client=client).count(": Mounted from ") == 3
    assert any(user == "ann" and any(name in one and "push" in one for one in scopes) for user, scopes in tokens.asked)
    daemon.docker("tag", f"{TOKENS}/ours/app:1", f"{TOKENS}/open/mine:1", client=client)
    assert "denied: requested access to the resource is denied" in daemon.docker("push", f"{TOKENS}/open/mine:1", client=client, fails=True)


def test_the_python_sdk(daemon: Wherryd) -> None:
    docker = pytest.importorskip("docker")
    api = docker.DockerClient(base_url=daemon.socket)
    try:
        image = api.images.pull(f"{OPEN}/app", tag="1")
        assert image.tags == [f"{OPEN}/app:1"]
        [every] = api.images.pull(f"{OPEN}/every", all_tags=True)
        assert {f"{OPEN}/every:1", f"{OPEN}/every:2"} <= set(every.tags)
        assert api.images.pull(f"{TOKENS}/ours/app", tag="1", auth_config={"username": "ann", "password": "secret"}).id == image.id
        with pytest.raises(docker.errors.NotFound, match="manifest unknown"):
            api.images.pull(f"{OPEN}/app", tag="nope")
        assert api.login("ann", "secret", registry=CLOSED)["Status"] == "Login Succeeded"
        with pytest.raises(docker.errors.APIError, match="401"):
            api.login("ann", "wrong", registry=CLOSED, reauth=True)
        image.tag(f"{CLOSED}/sdk", "1")
        lines = list(api.images.push(f"{CLOSED}/sdk", tag="1", stream=True, decode=True, auth_config={"username": "ann", "password": "secret"}))
        assert any("digest" in line.get("status", "") for line in lines)
        lines = list(api.images.push(f"{CLOSED}/sdk", tag="1", stream=True, decode=True, auth_config={"username": "ann", "password": "no"}))
        assert "errorDetail" in lines[-1]
    finally:
        api.close()


def test_progress_and_parallel_layers(daemon: Wherryd) -> None:
    """The lines of the API: several layers are downloading at one time, with a bar; each layer goes through Docker's words."""
    host, _, port = OPEN.partition(":")
    with slow_proxy(host, int(port)) as proxy:
        proxy.rate = 2_000_000
        status, data = daemon.request("POST", f"/images/create?fromImage={proxy.address}/app&tag=1")
    assert status == 200
    lines = [json.loads(line) for line in data.splitlines()] if isinstance(data, bytes) else [data]
    words: dict[str, list[str]] = {}
    for line in lines:
        if "id" in line and line["status"] not in words.setdefault(line["id"], []):
            words[line["id"]].append(line["status"])
    layers = [one for name, one in words.items() if name != "1"]
    assert len(layers) == 3
    for one in layers:
        assert one[0] == "Pulling fs layer"
        assert one[-1] == "Pull complete"
        assert "Download complete" in one
    at = [line["id"] for line in lines if line.get("status") == "Downloading"]
    assert len(set(at)) >= 2
    assert at != sorted(at, key=at.index), "one layer after the other"
    assert any(line.get("progress", "").startswith("[") for line in lines)


def test_a_full_disk(registry: Path) -> None:
    """A data root that is too small: a clear error, nothing left, and the daemon goes on."""
    with folders() as own:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", own.data_root], check=True)
        try:
            own.start(*ALONE)
            before = traces(own)
            ballast = Path(own.data_root) / "ballast"
            ballast.write_bytes(bytes(12 << 20))
            assert "no space left on device" in own.docker("pull", f"{OPEN}/app:1", client=WHERRY, fails=True)
            own.docker("image", "prune", "-f", client=WHERRY)
            assert traces(own) == before
            ballast.unlink()
            own.docker("pull", f"{OPEN}/app:1", client=WHERRY)
            own.docker("rmi", f"{OPEN}/app:1", client=WHERRY)
            own.stop()
        finally:
            subprocess.run(["umount", "-l", own.data_root], check=True)


def test_a_mirror(registry: Path) -> None:
    """`--registry-mirror` is asked first for images of Docker Hub, and only for those."""
    with slow_proxy(*((host := OPEN.partition(":"))[0], int(host[2]))) as proxy:
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{registry}/app.tar",
                        f"docker://{OPEN}/library/mirrored:1"], check=True)
        with wherryd(f"--registry-mirror=http://{proxy.address}", *ALONE) as own:
            text = own.docker("pull", "mirrored:1", client=WHERRY)
            assert "Downloaded newer image for mirrored:1" in text
            assert proxy.received > LAYER_BYTES
            assert own.docker("images", "-q", "mirrored:1", client=WHERRY)
