"""The same containers created by dockerd 20.10 and by wherryd: what is written down about them; and built images that move."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from busybox_image import archive
from dockerd_on_root import dockerd
from wherryd_box import folders

pytestmark = [pytest.mark.root, pytest.mark.peer,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]

CONTAINERS = {
    "plain": ("busybox", "true"),
    "full": ("-it", "--env", "A=1", "--label", "l=1", "--publish", "8080:80", "--publish", "127.0.0.1:53:53/udp", "--expose", "99", "--volume",
             "named:/data", "--volume", "/anonymous", "--restart", "on-failure:3", "--memory", "64m", "--cpus", "0.5", "--hostname", "h",
             "--add-host", "x:1.2.3.4", "--dns", "9.9.9.9", "--cap-add", "SYS_TIME", "--cap-drop", "CHOWN", "--ulimit", "nofile=10:20",
             "--tmpfs", "/t:size=1m", "--read-only", "--user", "daemon", "--workdir", "/tmp", "--stop-signal", "INT", "--stop-timeout", "3",
             "--init", "--shm-size", "8m", "--log-opt", "max-size=1m", "--health-cmd", "true", "--health-interval", "9s", "--device",
             "/dev/null:/dev/x", "--sysctl", "net.ipv4.ip_forward=1", "--entrypoint", "/bin/sh", "busybox", "-c", "true"),
    "host": ("--network", "host", "--privileged", "--pid", "host", "--ipc", "host", "busybox"),
    "none": ("--network", "none", "--rm", "busybox", "sh"),
}


def written(root: str) -> dict[str, dict[str, Any]]:
    """The two files of each container, by its name."""
    found = {}
    for folder in Path(root, "containers").iterdir():
        config = json.loads((folder / "config.v2.json").read_bytes())
        found[config["Name"].removeprefix("/")] = {"config": config, "host": json.loads((folder / "hostconfig.json").read_bytes())}
    return found


def test_every_field_that_dockerd_writes_is_written() -> None:
    with tempfile.TemporaryDirectory(prefix="wherry-peer-", dir="/var/tmp") as root, folders() as daemon:
        with dockerd(root) as theirs:
            theirs("load", data=archive())
            for name, words in CONTAINERS.items():
                theirs("create", "--name", name, *words)
        real = written(root)
        daemon.start()
        daemon.load()
        for name, words in CONTAINERS.items():
            daemon.docker("create", "--name", name, *words, client="/usr/bin/docker")
        ours = written(daemon.data_root)
    for name in CONTAINERS:
        mine, other = (files[name]["host"] for files in (ours, real))
        # Newer dockerds hide more of /proc and /sys than 20.10.
        assert set(mine.pop("MaskedPaths") or ()) >= set(other.pop("MaskedPaths") or ())
        # dockerd notes this of containers that share the host's namespaces: without SELinux it is how they are anyway.
        assert mine.pop("SecurityOpt") is None
        assert other.pop("SecurityOpt") in (None, ["label=disable"])
        assert mine == other, name
        # All but what names the container, and volumes' folders, which dockerd leaves to each start.
        for config in (real[name]["config"], ours[name]["config"]):
            for key in ("ID", "Created"):
                del config[key]
            config["Config"]["Hostname"] = config["Config"]["Hostname"] if name in ("full", "host") else ""
            for mount in config["MountPoints"].values():
                assert (mount["Destination"] == "/data") == (mount["Name"] == "named")
                del mount["Source"], mount["Name"]
                mount.pop("ID", None)
        assert ours[name]["config"] == real[name]["config"], name


def test_what_one_built_is_the_others_cache() -> None:
    dockerfile = b"FROM busybox\nENV A=1\nRUN echo built > /made\nWORKDIR /w\nLABEL l=1\nHEALTHCHECK --interval=3s CMD true\nCMD [\"x\"]\n"
    with folders() as daemon:
        with dockerd(daemon.data_root) as theirs:
            theirs("load", data=archive())
            theirs("build", "--network=none", "-t", "theirs", "-", data=dockerfile)
            image = theirs("images", "-q", "--no-trunc", "theirs").strip()
        daemon.start()
        said = daemon.docker("build", "-t", "ours", "-", client="/usr/bin/docker", data=dockerfile)
        assert said.count("Using cache") == 6, said
        assert daemon.docker("images", "-q", "--no-trunc", "ours") == image
        daemon.docker("build", "-t", "more", "--network=none", "-", client="/usr/bin/docker", data=dockerfile + b"RUN echo more > /more\n")
        made = daemon.docker("images", "-q", "--no-trunc", "more")
        daemon.stop()
        with dockerd(daemon.data_root) as theirs:
            said = theirs("build", "--network=none", "-t", "again", "-", data=dockerfile + b"RUN echo more > /more\n")
            assert said.count("Using cache") == 7, said
            assert theirs("images", "-q", "--no-trunc", "again").strip() == made
            assert theirs("run", "--rm", "--network=none", "again", "cat", "/made", "/more") == "built\nmore\n"
