"""pull, push and login beside Debian's dockerd, with the same registries: same words and exit codes; skopeo reads and writes what ours does."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker_registry import serve
from real_dockerd import Dockerd, dockerd
from registry_lab import CLOSED, OPEN, TOKENS, copy, put_manifest, raw_manifest, registries
from slow_proxy import slow_proxy
from token_server import token_server
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry"),
              pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo"),
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]
REMOTE = "10.77.0.1:5060"  # by the rules no loopback address
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


class Both:
    """The two daemons, and docker's command line on both."""

    def __init__(self, theirs: Dockerd, ours: Wherryd, config: Path) -> None:
        self.theirs, self.ours, self.config = theirs, ours, config

    def run(self, socket: str, *words: str, data: bytes = b"") -> tuple[int, list[str]]:
        """Exit code and lines."""
        done = subprocess.run([self.theirs.client, "--config", self.config, "-H", socket, *words], input=data, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout.decode().strip().splitlines()

    def same(self, *words: str, data: bytes = b"") -> tuple[int, list[str]]:
        """Runs it on both; what both said. Lines of layers that go in parallel may come in any order."""
        theirs, ours = (self.run(socket, *words, data=data) for socket in (self.theirs.socket, self.ours.socket))
        assert (ours[0], sorted(ours[1])) == (theirs[0], sorted(theirs[1]))
        return ours

    def digest(self) -> str:
        """The digest of the image's manifest, as both say; it is on both then."""
        assert self.same("pull", "-q", f"{OPEN}/app:1") == (0, [f"{OPEN}/app:1"])
        _, lines = self.same("pull", f"{OPEN}/app:1")
        return next(line.partition(" ")[2] for line in lines if line.startswith("Digest: "))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    one = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-registry-"))
    with token_server(one) as tokens, registries(one, tokens):
        yield one
    shutil.rmtree(one)


@pytest.fixture(scope="module")
def both(folder: Path) -> Iterator[Both]:
    flags = ("--bridge=none", "--iptables=false")
    with dockerd(*flags) as theirs, wherryd(*flags) as ours, tempfile.TemporaryDirectory() as config:
        for socket in (theirs.socket, ours.socket):  # the layers of its image would be here already
            subprocess.run([theirs.client, "-H", socket, "rmi", "busybox"], check=True, capture_output=True)
        yield Both(theirs, ours, Path(config))


@pytest.mark.parametrize("words", [
    ("pull", f"{OPEN}/app:nope"), ("pull", f"{OPEN}/none"), ("pull", f"{OPEN}/app@sha256:{'0' * 64}"), ("pull", "-a", f"{OPEN}/none"),
    ("pull", "127.0.0.1:1/a:1"), ("pull", "127.9.9.9/a:1"), ("pull", "-a", "127.0.0.1:1/a"), ("pull", "10.255.255.1:5/a:1"),
    ("pull", f"{TOKENS}/ours/app:1"), ("pull", f"{TOKENS}/open/none:1"), ("pull", f"{OPEN}/a:b:c"), ("pull", "-a", f"{OPEN}/app:1"),
    ("pull", "--platform", "a/strange/one/here", f"{OPEN}/app:1"),
    ("push", f"{OPEN}/gone:1"), ("push", f"{OPEN}/gone"), ("push", "-a", f"{OPEN}/gone"), ("push", f"{OPEN}/app@sha256:{'0' * 64}"),
], ids=" ".join)
def test_what_fails_fails_in_the_same_words(both: Both, words: tuple[str, ...]) -> None:
    assert both.same(*words)[0] == 1


def test_platforms_that_are_not_there(both: Both) -> None:
    raw = raw_manifest(f"{OPEN}/app:1")
    entry = {"mediaType": json.loads(raw)["mediaType"], "size": len(raw), "digest": both.digest(), "platform": {"architecture": "s390x", "os": "linux"}}
    put_manifest("app", "foreign", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}, INDEX)
    assert both.same("pull", f"{OPEN}/app:foreign")[0] == 1
    assert both.same("pull", "--platform", "linux/arm/v7", f"{OPEN}/app:foreign")[0] == 1


def test_up_to_date_pushed_again_and_mounted(both: Both) -> None:
    for socket in (both.theirs.socket, both.ours.socket):  # what is here already is not known to be there
        for image in dict.fromkeys(both.run(socket, "images", "-q")[1]):
            both.run(socket, "rmi", "-f", image)
    digest = both.digest()
    assert both.same("pull", f"{OPEN}/app@{digest}")[1][0] == f"{OPEN}/app@{digest}: Pulling from app"
    for target in (f"{OPEN}/app:again", f"{OPEN}/moved:1"):
        for socket in (both.theirs.socket, both.ours.socket):
            both.run(socket, "tag", f"{OPEN}/app:1", target)
            code, lines = both.run(socket, "push", target)
            assert (code, sum(": Layer already exists" in line or ": Mounted from " in line for line in lines)) == (0, 3), lines
            copy(f"docker://{target}", f"dir:{both.config}/copied", "--src-tls-verify=false")
        assert both.run(both.theirs.socket, "pull", "-q", target)[0] == 0  # ours, that was pushed last
    both.same("push", "-q", f"{OPEN}/moved:1")


def test_pushes_that_are_not_allowed(both: Both) -> None:
    both.digest()
    for target in (f"{CLOSED}/x:1", f"{TOKENS}/open/x:1", "127.0.0.1:1/x:1"):
        assert both.same("tag", f"{OPEN}/app:1", target)[0] == 0
        assert both.same("push", target)[0] == 1


def test_login(both: Both) -> None:
    login = ("login", "-u", "ann", "--password-stdin")
    assert both.same(*login, CLOSED, data=b"wrong") == (
        1, [f"Error response from daemon: login attempt to http://{CLOSED}/v2/ failed with status: 401 Unauthorized"])
    assert both.same(*login, "127.0.0.1:1", data=b"secret")[0] == 1
    assert both.run(both.ours.socket, *login, CLOSED, data=b"secret")[0] == 0
    assert both.same("pull", f"{CLOSED}/private:nope")[0] == 1
    assert both.same("pull", "-q", f"{CLOSED}/private:1")[0] == 0
    assert both.same("logout", CLOSED) == (0, [f"Removing login credentials for {CLOSED}"])
    for socket in (both.theirs.socket, both.ours.socket):
        code, lines = both.run(socket, "pull", f"{CLOSED}/private:1")
        assert (code, lines[-1].endswith("no basic auth credentials")) == (1, True), lines


def test_a_registry_that_hangs_up(both: Both) -> None:
    host, _, port = OPEN.partition(":")
    with slow_proxy(host, int(port)) as proxy:
        proxy.dead = True
        assert both.same("pull", f"{proxy.address}/app:1") == (1, [f'Error response from daemon: Get "http://{proxy.address}/v2/": EOF'])


def test_skopeo_reads_what_ours_pushed_and_writes_what_ours_pulls(both: Both, folder: Path) -> None:
    copy(f"docker-archive:{folder}/app.tar", f"docker://{OPEN}/by/skopeo:1", "--dest-tls-verify=false", "--dest-compress-level", "9")
    assert both.run(both.ours.socket, "pull", "-q", f"{OPEN}/by/skopeo:1")[0] == 0
    both.run(both.ours.socket, "tag", f"{OPEN}/by/skopeo:1", f"{OPEN}/by/ours:1")
    assert both.run(both.ours.socket, "push", f"{OPEN}/by/ours:1")[0] == 0
    copy(f"docker://{OPEN}/by/ours:1", f"docker-archive:{folder}/back.tar:back:1", "--src-tls-verify=false")
    both.run(both.ours.socket, "load", "-i", f"{folder}/back.tar")
    ids = [both.run(both.ours.socket, "images", "-q", name)[1] for name in ("back:1", f"{OPEN}/by/skopeo:1")]
    assert ids[0] == ids[1] != []


def test_an_insecure_registry(folder: Path) -> None:
    """Plain http away from this machine only where the configuration names the registry, by address or network."""
    subprocess.run(["ip", "address", "add", "10.77.0.1/32", "dev", "lo"], check=True)
    process = serve(folder, REMOTE)
    try:
        copy(f"docker-archive:{folder}/app.tar", f"docker://{REMOTE}/app:1", "--dest-tls-verify=false")
        refused = f'Get "https://{REMOTE}/v2/": http: server gave HTTP response to HTTPS client'
        with wherryd("--bridge=none", "--iptables=false") as one:
            assert refused in one.docker("pull", f"{REMOTE}/app:1", fails=True)
            assert refused in one.docker("login", "-u", "ann", "-p", "secret", REMOTE, fails=True)
            one.stop()
            one.start("--bridge=none", "--iptables=false", "--insecure-registry=10.77.0.0/16")
            one.docker("pull", f"{REMOTE}/app:1")
            one.docker("push", f"{REMOTE}/app:1")
    finally:
        process.terminate()
        process.wait(10)
        subprocess.run(["ip", "address", "delete", "10.77.0.1/32", "dev", "lo"], check=True)
