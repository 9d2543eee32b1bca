"""`containerd-shim-wherry-v2` in place of containerd's own shim, under the real containerd of the real dockerd, with the real runc below it."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from containers_by_api import until
from dockerd_walk import CANNOT_RUN, check_life, check_refusal, check_runs, shims
from real_containerd import BIN
from real_dockerd import Dockerd, dockerd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.net,
              pytest.mark.skipif(not all(shutil.which(one) for one in ("dockerd", "containerd", "runc")),
                                 reason="needs dockerd, containerd and runc (Debian: docker.io)")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    folder: Path = tmp_path_factory.mktemp("bin")
    (folder / "containerd-shim-runc-v2").symlink_to(BIN / "containerd-shim-wherry-v2")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}:{before}"
    try:
        with dockerd("--bridge=none", "--iptables=false") as one:
            yield one
    finally:
        os.environ["PATH"] = before


def test_runs(daemon: Dockerd) -> None:
    check_runs(daemon)


@pytest.mark.parametrize(("command", "code", "why"), CANNOT_RUN)
def test_what_cannot_run_is_said_once(daemon: Dockerd, command: str, code: int, why: str) -> None:
    check_refusal(daemon, command, code, f"runc create failed: unable to start container process: {why}")


def test_a_life(daemon: Dockerd) -> None:
    def status(_: str) -> None:
        assert shims() == 1

    check_life(daemon, status)
    until(lambda: shims() == 0)
