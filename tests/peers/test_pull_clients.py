"""pull through wherry, docker 20.10 and docker 28, on wherryd, against Debian's docker-registry."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import CLIENTS, WHERRY
from docker_registry import serve
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry"),
              pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")]
OPEN = "127.0.0.1:5057"
each_client = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def registry() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-registry-"))
    process = serve(folder, OPEN)
    yield folder
    process.terminate()
    process.wait(10)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def daemon(registry: Path) -> Iterator[Wherryd]:
    with wherryd() as one:
        for tag in ("1", "2"):
            one.docker("tag", "busybox", f"{OPEN}/app:{tag}", client=WHERRY)
            one.docker("push", f"{OPEN}/app:{tag}", client=WHERRY)
            one.docker("rmi", f"{OPEN}/app:{tag}", client=WHERRY)
        one.docker("rmi", "busybox", client=WHERRY)
        yield one


@each_client
def test_pull_by_tag_by_digest_quietly_and_every_tag(daemon: Wherryd, client: str) -> None:
    text = daemon.docker("pull", f"{OPEN}/app:1", client=client)
    assert text.startswith("1: Pulling from app\n")
    assert ": Pull complete\n" in text
    assert text.endswith(f"Status: Downloaded newer image for {OPEN}/app:1\n{OPEN}/app:1")
    assert "Status: Image is up to date" in daemon.docker("pull", f"{OPEN}/app:1", client=client)
    digest = text.partition("Digest: ")[2].split()[0]
    assert daemon.docker("pull", "-q", f"{OPEN}/app@{digest}", client=client) == f"{OPEN}/app@{digest}"
    daemon.docker("pull", "-a", f"{OPEN}/app", client=client)
    assert sorted(daemon.docker("images", "--format", "{{.Tag}}", f"{OPEN}/app", client=client).split())[:2] == ["1", "2"]
    assert daemon.docker("run", "--rm", f"{OPEN}/app:2", "echo", "runs", client=client) == "runs"
    daemon.docker("rmi", "-f", daemon.docker("images", "-q", f"{OPEN}/app:1", client=client), client=client)
