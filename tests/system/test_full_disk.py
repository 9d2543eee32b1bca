"""A full disk in the middle of load, import, build, cp, commit and a container's output.

The data root is a file system of few megabytes. Each request that does not fit is refused with the system's words, leaves nothing
that takes room, and the daemon goes on.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from busybox_image import archive
from containers_by_api import Api, until
from wherryd_box import folders

pytestmark = [pytest.mark.root, pytest.mark.net]

MEGABYTE = 1 << 20
SIZES = (12, 17)
FULL = "no space left on device"
TAR = {"Content-Type": "application/x-tar"}


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size}MB")
def api(request):
    with folders() as daemon:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", daemon.data_root], check=True)
        try:
            daemon.start()
            daemon.load()
            yield Api(daemon)
            daemon.stop()
        finally:
            subprocess.run(["umount", "-l", daemon.data_root], check=True)


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


BIG = os.urandom(MEGABYTE) * 24


def used(api: Api) -> int:
    about = os.statvfs(api.daemon.data_root)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


@contextlib.contextmanager
def nothing_left(api: Api):
    """What is done in the block takes no room afterwards, names no image and no container, and the daemon goes on."""
    def things() -> list[object]:
        return [api.ask("GET", "/images/json?all=1"), api.ask("GET", "/containers/json?all=1"),
                sorted(os.listdir(Path(api.daemon.data_root, "image/overlay2/layerdb/sha256")))]

    before, room = things(), used(api)
    yield
    assert things() == before
    until(lambda: used(api) < room + MEGABYTE // 2)
    assert api.run("echo", "fine") == (0, "fine\n")


def test_load(api) -> None:
    with nothing_left(api):
        _, answer = api.daemon.request("POST", "/images/load", archive("big:latest", (tar_of(big=BIG),)), TAR)
        assert FULL in str(answer).lower()


def test_import(api) -> None:
    with nothing_left(api):
        _, answer = api.daemon.request("POST", "/images/create?fromSrc=-&repo=big", tar_of(big=BIG), TAR)
        assert FULL in str(answer).lower()


def test_build(api) -> None:
    with nothing_left(api):
        context = tar_of(Dockerfile=b"FROM busybox\nCOPY big /big\n", big=BIG)
        _, answer = api.daemon.request("POST", "/build", context, TAR)
        assert FULL in str(answer).lower()


def test_build_step(api) -> None:
    with nothing_left(api):
        context = tar_of(Dockerfile=b"FROM busybox\nRUN head -c 30000000 /dev/zero > /big\n")
        _, answer = api.daemon.request("POST", "/build?rm=1&forcerm=1", context, TAR)
        assert "non-zero code: 1" in str(answer)


def test_cp(api) -> None:
    with nothing_left(api):
        container = api.create("true")
        status, answer = api.daemon.request("PUT", f"/containers/{container}/archive?path=/", tar_of(big=BIG), TAR)
        assert (status, FULL in str(answer).lower()) == (500, True), answer
        api.remove(container)


def test_commit(api) -> None:
    with nothing_left(api):
        container = api.create("sh", "-c", "head -c 9000000 /dev/zero > /half")
        api.start(container)
        api.wait(container)
        status, answer = api.daemon.request("POST", f"/commit?container={container}&repo=half")
        assert (status, FULL in str(answer).lower()) == (500, True), answer
        api.remove(container)


def test_output(api) -> None:
    """A program goes on, and ends with its own code, when its output has no more room."""
    with nothing_left(api):
        container = api.create("sh", "-c", "yes 0123456789012345678901234567890123456789 | head -c 20000000; exit 7")
        api.start(container)
        assert api.wait(container) == 7
        assert api.state(container)["ExitCode"] == 7
        api.remove(container)
