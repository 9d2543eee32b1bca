"""`wherryd --drop-in` and the real dockerd: refused while that one runs, and where it left networks that are not done here."""

from __future__ import annotations

import os
import shutil

import pytest
from docker_places import DOCKERD, SOCKET, WHERRYD, Daemon, daemon, docker
from wherryd_box import Wherryd, folders

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="dockerd is not installed")]


def refusal(box: Wherryd) -> str:
    """What wherryd says when it ends at once."""
    refused = Daemon(WHERRYD, box.data_root, box.folder, "--bridge=none", answers=False)
    assert refused.process.wait(60) == 1
    return refused.log.read_text()


def test_docker_s_places_are_taken_when_they_are_free() -> None:
    with folders() as box:
        with daemon(DOCKERD, box.data_root, box.folder, "--iptables=false") as real:
            docker("network", "create", "--config-only", "theirs")
            docker("network", "create", "kept")
            said = refusal(box)
            assert f"{SOCKET} is held by dockerd (pid {real.process.pid})" in said
            assert "systemctl stop docker.socket docker" in said
        assert "networks that dockerd made cannot be taken over: theirs (networks with ConfigOnly are not supported yet)" in refusal(box)

        with daemon(DOCKERD, box.data_root, box.folder, "--iptables=false"):
            docker("network", "rm", "theirs")
        with daemon(WHERRYD, box.data_root, box.folder, "--bridge=none"):
            assert "wherry" in docker("version")
            assert docker("network", "ls", "--format", "{{.Name}}").split() == ["host", "kept", "none"]
            assert os.stat(SOCKET).st_mode & 0o777 == 0o660
        assert not os.path.exists(SOCKET)
