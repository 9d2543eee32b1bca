"""`wherryd --drop-in` and the real dockerd: refused while it runs, and on its data root when it has ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from busybox_image import archive
from wherryd_box import PROGRAM, folders

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]
SOCKET = "/var/run/docker.sock"


class Real:
    """A dockerd at Docker's own socket and PID file, on a root of the test's choosing."""

    def __init__(self, root: str, folder: Path) -> None:
        with (folder / "dockerd.log").open("wb") as log:
            self.process = subprocess.Popen(["dockerd", "--data-root", root, "--exec-root", str(folder / "docker"), "--iptables=false"],
                                            stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "version"], capture_output=True).returncode:
            assert self.process.poll() is None, (folder / "dockerd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def docker(*words: str, data: bytes | None = None) -> str:
    done = subprocess.run(["docker", *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode().strip()


@pytest.fixture
def places() -> Iterator[tuple[str, Path]]:
    Path("/var/run").mkdir(exist_ok=True)
    with folders() as box:
        yield box.data_root, box.folder


def wherryd(root: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "wherryd.log").open("wb") as log:
        return subprocess.Popen([*PROGRAM, "--drop-in", "--data-root", root, "--exec-root", str(folder / "exec"), "--bridge=none"],
                                stdout=log, stderr=log)


def test_one_after_the_other_on_one_root(places: tuple[str, Path]) -> None:
    root, folder = places
    real = Real(root, folder)
    try:
        docker("load", data=archive("busybox:latest"))
        docker("volume", "create", "--label", "made=there", "kept")
        docker("create", "--name", "old", "--network", "none", "-v", "kept:/v", "busybox", "sh", "-c", "echo from dockerd > /v/file")
        docker("network", "create", "--subnet", "10.77.0.0/24", "theirs")
        refused = wherryd(root, folder)
        assert refused.wait(30) == 1
        said = (folder / "wherryd.log").read_text()
        assert f"{SOCKET} is held by dockerd (pid {real.process.pid})" in said
        assert "systemctl stop docker.socket docker" in said
    finally:
        real.stop()

    refused = wherryd(root, folder)
    assert refused.wait(30) == 1
    assert "has networks that dockerd made, which cannot be taken over yet: theirs" in (folder / "wherryd.log").read_text()

    real = Real(root, folder)
    docker("network", "rm", "theirs")
    real.stop()
    ours = wherryd(root, folder)
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(["docker", "version"], capture_output=True).returncode:
            assert ours.poll() is None, (folder / "wherryd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "wherry" in docker("version")
        assert docker("images", "--format", "{{.Repository}}:{{.Tag}}") == "busybox:latest"
        assert docker("volume", "ls", "-q", "-f", "label=made=there") == "kept"
        assert docker("start", "-a", "old") == ""
        assert docker("run", "--rm", "--network", "none", "-v", "kept:/v", "busybox", "cat", "/v/file") == "from dockerd"
        docker("create", "--name", "new", "--network", "none", "-v", "kept:/v", "busybox", "cat", "/v/file")
        assert os.stat(SOCKET).st_mode & 0o777 == 0o660
    finally:
        ours.send_signal(signal.SIGTERM)
        ours.wait(30)
    assert not os.path.exists(SOCKET)

    real = Real(root, folder)
    try:
        assert sorted(docker("ps", "-a", "--format", "{{.Names}}").split()) == ["new", "old"]
        assert docker("start", "-a", "new") == "from dockerd"
    finally:
        real.stop()
