"""The real ctr pulls, pushes, fetches and converts through wherryd's containerd socket, beside the real containerd; kill -9 in the middle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest
from api_pair import PATIENCE_S, Ours, Pair, ours, pair
from busybox_image import archive
from docker_registry import serve

from wherry.proto.services import content_pb2 as content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not all(map(shutil.which, ("containerd", "ctr", "docker-registry"))), reason="needs containerd, ctr and docker-registry"),
]
ADDRESS = "127.0.0.1:5917"
BUSYBOX, LARGE = f"{ADDRESS}/busybox:latest", f"{ADDRESS}/large:latest"
LOADED = "docker.io/library/busybox:latest"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    process = serve(tmp_path_factory.mktemp("registry"), ADDRESS)
    yield
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def both(registry: None) -> Iterator[Pair]:
    with pair() as one:
        yield one


@pytest.fixture
def alone(registry: None) -> Iterator[Ours]:
    with ours() as one:
        yield one


def large_archive(layers: int, mib: int) -> bytes:
    """A docker-archive of layers that do not compress."""
    out, config_layers = io.BytesIO(), []
    with tarfile.open(fileobj=out, mode="w") as tar:
        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for at in range(layers):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as layer:
                info = tarfile.TarInfo(f"file{at}")
                info.size = mib << 20
                layer.addfile(info, io.BytesIO(os.urandom(mib << 20)))
            add(f"{at}/layer.tar", inner.getvalue())
            config_layers.append("sha256:" + hashlib.sha256(inner.getvalue()).hexdigest())
        add("config.json", json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": config_layers}}).encode())
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["large:latest"], "Layers": [f"{at}/layer.tar" for at in range(layers)]}]).encode())
    return out.getvalue()


def test_push_pull_and_run(both: Pair) -> None:
    for side in (both.real, both.wherry):
        side.ctr("images", "import", "-", data=archive("busybox:latest"))
        side.ctr("images", "push", "--plain-http", BUSYBOX, LOADED)
        side.ctr("images", "rm", LOADED)
        side.ctr("images", "pull", "--plain-http", BUSYBOX)
    both.ctr("images", "ls", f"name=={json.dumps(BUSYBOX)}")
    both.ctr("images", "check", f"name=={json.dumps(BUSYBOX)}")
    both.ctr("content", "fetch", "--plain-http", f"{ADDRESS}/none:none", code=1)
    both.ctr("images", "pull", "--plain-http", f"{ADDRESS}/busybox:none", code=1)
    snapshots = [side.ctr("snapshots", "ls") for side in (both.real, both.wherry)]
    assert snapshots[1].split() == snapshots[0].split()
    assert both.wherry.ctr("run", "--rm", BUSYBOX, "pulled", "echo", "hello") == "hello\n"


def test_convert(both: Pair) -> None:
    for side in (both.real, both.wherry):
        side.ctr("images", "import", "--no-unpack", "-", data=archive("busybox:latest"))
        side.ctr("images", "convert", "--oci", "--uncompress", LOADED, "example.org/converted:1")
    both.ctr("images", "ls", "name~=converted")


def test_kill_9_in_the_middle_of_a_pull(alone: Ours) -> None:
    alone.ctr("images", "import", "--no-unpack", "-", data=large_archive(3, 8))
    alone.ctr("images", "push", "--plain-http", LARGE, "docker.io/library/large:latest")
    alone.ctr("images", "rm", "--sync", "docker.io/library/large:latest")
    assert alone.ctr("content", "ls", "-q") == ""
    for waited_for in (0, 1, 3):  # how many blobs are there when it dies
        client = subprocess.Popen(["ctr", "-a", alone.socket, "-n", "of-ctr", "images", "pull", "--plain-http", LARGE],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while len(alone.ctr("content", "ls", "-q").split()) < waited_for and client.poll() is None:
            assert time.monotonic() < deadline
        alone.stop(signal.SIGKILL)
        client.kill()
        client.wait()
        alone.start()
        whole(alone)
    alone.ctr("images", "pull", "--plain-http", LARGE)
    assert len(alone.ctr("snapshots", "ls").splitlines()) == 4
    assert "complete (4/4)" in alone.ctr("images", "check")
    assert alone.ctr("content", "active").split() == ["REF", "SIZE", "AGE"]
    whole(alone)
    alone.ctr("images", "rm", "--sync", LARGE)
    left = alone.ctr("leases", "ls", "-q").split()  # of the clients that were killed: they hold what they had fetched
    assert left
    alone.ctr("leases", "rm", "--sync", *left)
    assert alone.ctr("content", "ls", "-q") == ""
    assert os.listdir(alone.folder / "data/containerd/content/blobs/sha256") == []
    assert os.listdir(alone.folder / "data/containerd/content/ingest") == []


def whole(side: Ours) -> None:
    """Each blob that is known is there, and is what its digest says."""
    blobs = side.folder / "data/containerd/content/blobs/sha256"
    for digest in side.ctr("content", "ls", "-q").split():
        assert digest == "sha256:" + digest_of_file(blobs / digest.partition(":")[2])
    assert side.call("Content.ListStatuses", content.ListStatusesRequest(), "of-ctr")[0] == "OK"


def digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
