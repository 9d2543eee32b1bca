"""Published escapes of runc, containerd and dockerd, tried on the warm path: containers of wherryd, their start, exec, attach, cp."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from containers_by_api import Api, until
from wherryd_box import wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]
SUPPORT = Path(__file__).resolve().parents[1] / "support"
# The host's interpreter for programs in containers; the image has none.
PYTHON = os.path.realpath(sys.executable)
BINDS = [f"{folder}:{folder}:ro" for folder in ("/usr", "/lib", "/lib64") if os.path.isdir(folder)]
PEEKING = {"CapAdd": ["SYS_PTRACE", "SYS_ADMIN", "CHECKPOINT_RESTORE"], "SecurityOpt": ["seccomp=unconfined"]}


@pytest.fixture(scope="module")
def api():
    with wherryd() as daemon:
        yield Api(daemon)


@pytest.fixture
def shared(tmp_path):
    """A folder that containers may be given."""
    shutil.copy(SUPPORT / "peeking.py", tmp_path)
    return tmp_path


def looks(shared: Path) -> list[dict]:
    """What the peeking program saw of processes that had not become their program yet."""
    return [json.loads(line) for line in (shared / "seen").read_text().split("\n")[1:-1]]


def check_nothing_of_the_host(seen: list[dict]) -> None:
    for one in seen:
        assert not one["exe_writable"], one
        assert one["writable_maps"] == []
        assert one["root_inside"], one
        assert one["foreign"] == []


def test_who_enters_by_exec_brings_nothing_of_the_host(api, shared) -> None:
    """CVE-2019-5736, CVE-2016-9962: the first exec in a container, and those that follow (which may be made in another way)."""
    with api.running(PYTHON, "-IS", "/shared/peeking.py", "/shared/seen", "/bin/busybox",
                     host={**PEEKING, "Binds": [*BINDS, f"{shared}:/shared"]}) as container:
        until(lambda: (shared / "seen").exists() and (shared / "seen").read_text())
        for tty in (False, True):
            for _ in range(4):
                assert api.exec(container, "true", Tty=tty)[0] == 0
        seen = looks(shared)
    assert seen, "nothing was caught on its way in"
    check_nothing_of_the_host(seen)
