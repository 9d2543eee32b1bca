"""Containers that wherryd made, run by the real dockerd 20.10 on the same data root, and the other way round."""

from __future__ import annotations

import shutil

import pytest
from containers_by_api import Api, until
from dockerd_on_root import dockerd
from wherryd_box import folders

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.slow,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]


def test_containers_move_between_the_daemons() -> None:
    with folders() as daemon:
        api = Api(daemon)
        daemon.start()
        daemon.load()
        ours = api.create("sh", "-c", "cat /data/f; echo ours >>/data/f; exit 4", name="ours", Labels={"a": "b"}, Env=["X=1"], host={
            "Binds": ["moving:/data"], "Memory": 64 << 20, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 1}})
        api.start(ours)
        until(lambda: api.inspect(ours)["RestartCount"] == 1 and api.state(ours)["Status"] == "exited")
        before = api.inspect(ours)
        daemon.stop()

        with dockerd(daemon.data_root) as real:
            assert real("ps", "-a", "--format", "{{.Names}} {{.Image}} {{.Status}}").startswith("ours busybox Exited (4)")
            shown = real("inspect", "ours", "--format", "{{.HostConfig.Memory}} {{.RestartCount}} {{.Config.Labels.a}} {{json .Config.Env}} "
                                                        "{{(index .Mounts 0).Name}}").split()
            assert shown == [str(64 << 20), "1", "b", '["X=1","PATH=/bin"]', "moving"]
            assert real("logs", "ours") == "ours\n"
            real("start", "ours")
            assert real("wait", "ours") == "4\n"
            assert "ours\nours\n" in real("logs", "ours")
            real("create", "--name", "theirs", "--network", "none", "-v", "moving:/data", "-e", "Y=2", "--restart", "always", "busybox",
                 "sh", "-c", "echo theirs >>/data/f; exec sleep 1000")
            real("start", "theirs")
            record = real("inspect", "theirs", "--format", "{{.Id}} {{.Created}} {{.Name}}").split()

        daemon.start()
        theirs = until(lambda: (api.inspect("theirs") if api.state("theirs")["Status"] == "running" else None))
        assert [theirs["Id"], theirs["Created"], theirs["Name"]] == record
        # Once under dockerd, once under wherryd.
        until(lambda: api.exec("theirs", "sh", "-c", "echo $Y; grep -c theirs /data/f") == (0, "2\n2\n"))
        assert theirs["Mounts"][0]["Name"] == "moving"
        after = api.inspect(ours)
        for field in ("Config", "HostConfig", "Image", "Created", "Args", "Mounts", "GraphDriver"):
            assert after[field] == before[field], field
        for name in ("ours", "theirs"):
            api.remove(name)
