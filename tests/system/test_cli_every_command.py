"""Every command that the everyday path does not take, on our own daemon: what it says and what it does."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]
WHERRY = str(Path(sys.executable).parent / "wherry")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd() as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_left(daemon: Wherryd) -> Iterator[None]:
    """Each test begins with one image, and neither containers nor volumes nor networks of a user."""
    yield
    for kind in ("containers/json?all=1", "volumes"):
        status, found = daemon.get(f"/v1.41/{kind}")
        assert status == 200
        assert not (found["Volumes"] if kind == "volumes" else found)


def call(daemon: Wherryd, *words: str, data: bytes = b"", code: int = 0, config: str = "") -> str:
    environment = {**os.environ, **({"DOCKER_CONFIG": config} if config else {})}
    done = subprocess.run([WHERRY, "-H", daemon.socket, *words], input=data, capture_output=True, timeout=60, env=environment)
    text = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == code, text
    return text


def field(daemon: Wherryd, name: str, template: str, kind: str = "container") -> str:
    return call(daemon, kind, "inspect", "-f", template, name).strip()


def test_pause_restart_update_and_port(daemon: Wherryd) -> None:
    call(daemon, "run", "-d", "--name", "cc", "-p", "127.0.0.1:40123:80", "busybox", "sleep", "1000")
    assert call(daemon, "pause", "cc") == "cc\n"
    assert field(daemon, "cc", "{{.State.Status}}") == "paused"
    assert call(daemon, "unpause", "cc") == "cc\n"
    assert call(daemon, "port", "cc") == "80/tcp -> 127.0.0.1:40123\n"
    assert call(daemon, "port", "cc", "80/tcp") == "127.0.0.1:40123\n"
    assert "No public port '81' published for cc" in call(daemon, "port", "cc", "81", code=1)
    before = field(daemon, "cc", "{{.State.Pid}}")
    assert call(daemon, "restart", "-t", "0", "cc") == "cc\n"
    assert field(daemon, "cc", "{{.State.Status}}") == "running"
    assert field(daemon, "cc", "{{.State.Pid}}") != before
    assert "cc\n" in call(daemon, "update", "--restart", "on-failure:3", "cc")
    assert field(daemon, "cc", "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}") == "on-failure 3"
    row = json.loads(call(daemon, "stats", "--no-stream", "--format", "json", "cc"))
    assert row["Name"] == "cc"
    assert int(row["PIDs"]) >= 1
    call(daemon, "rm", "-f", "cc")


def test_commit_diff_export_import_and_cp(daemon: Wherryd, tmp_path: Path) -> None:
    call(daemon, "run", "--name", "cc", "busybox", "sh", "-c", "echo kept > /made")
    assert call(daemon, "diff", "cc") == "A /made\n"
    assert call(daemon, "commit", "-m", "why", "-a", "who", "-c", "CMD cat /made", "cc", "made:1").startswith("sha256:")
    assert field(daemon, "made:1", "{{.Comment}} {{.Author}}", "image") == "why who"
    assert call(daemon, "run", "--rm", "made:1") == "kept\n"
    call(daemon, "export", "-o", str(tmp_path / "tree.tar"), "cc")
    with tarfile.open(tmp_path / "tree.tar") as archive:
        assert archive.extractfile("made").read() == b"kept\n"  # type: ignore[union-attr]
    assert call(daemon, "import", "-c", "CMD [\"cat\",\"/made\"]", str(tmp_path / "tree.tar"), "imported:1").startswith("sha256:")
    assert call(daemon, "run", "--rm", "imported:1") == "kept\n"
    call(daemon, "cp", "cc:/made", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_text() == "kept\n"
    (tmp_path / "copy").write_text("new\n")
    call(daemon, "cp", str(tmp_path / "copy"), "cc:/made")
    call(daemon, "start", "-a", "cc")
    call(daemon, "container", "prune", "-f")
    for name in ("made:1", "imported:1"):
        call(daemon, "rmi", name)


def test_networks_are_joined_left_and_pruned(daemon: Wherryd) -> None:
    call(daemon, "network", "create", "one")
    call(daemon, "run", "-d", "--name", "cc", "busybox", "sleep", "1000")
    assert call(daemon, "network", "connect", "--alias", "other", "one", "cc") == ""
    assert "one" in json.loads(field(daemon, "cc", "{{json .NetworkSettings.Networks}}"))
    assert field(daemon, "one", "{{range .Containers}}{{.Name}}{{end}}", "network") == "cc"
    assert call(daemon, "network", "disconnect", "one", "cc") == ""
    assert field(daemon, "one", "{{len .Containers}}", "network") == "0"
    assert call(daemon, "network", "prune", "-f") == "Deleted Networks:\none\n\n"
    call(daemon, "rm", "-f", "cc")


def test_what_nothing_uses_is_pruned(daemon: Wherryd) -> None:
    call(daemon, "run", "--name", "cc", "-v", "/data", "busybox", "true")
    volume = field(daemon, "cc", "{{(index .Mounts 0).Name}}")
    assert field(daemon, volume, "{{.Driver}}", "volume") == "local"
    shown = call(daemon, "system", "df")
    assert re.search(r"^Containers +1 +0 ", shown, re.MULTILINE)
    assert re.search(r"^Local Volumes +1 +1 ", shown, re.MULTILINE)
    assert "Deleted Containers:" in call(daemon, "container", "prune", "-f")
    assert volume in call(daemon, "volume", "prune", "-f")
    assert call(daemon, "builder", "prune", "-f") == "Total:\t0B\n"
    call(daemon, "build", "-t", "used", "-", data=b"FROM busybox\nLABEL a=b\n")
    call(daemon, "build", "-t", "used", "-", data=b"FROM busybox\nLABEL a=c\n")
    assert "deleted: sha256:" in call(daemon, "image", "prune", "-f")
    call(daemon, "run", "--name", "cc", "used", "true")
    said = call(daemon, "system", "prune", "-af", "--filter", "label=a")
    assert "Deleted Images:" in said
    assert "Total reclaimed space:" in said
    call(daemon, "container", "prune", "-f")
    assert "busybox" in call(daemon, "images")


def test_events_tell_what_was(daemon: Wherryd) -> None:
    call(daemon, "run", "--rm", "--name", "told", "busybox", "true")
    said = call(daemon, "events", "--since", "10m", "--until", "0s", "--filter", "container=told", "--format", "{{.Action}}")
    assert said.split() == ["create", "attach", "start", "die", "destroy"]


def test_info_version_and_inspect_of_any_kind(daemon: Wherryd) -> None:
    assert call(daemon, "info", "-f", "{{.Driver}}") == "overlay2\n"
    assert call(daemon, "version", "-f", "{{.Server.APIVersion}} {{.Client.APIVersion}}") == "1.50 1.50\n"
    assert call(daemon, "inspect", "-f", "{{.Name}}", "--type", "network", "host") == "host\n"
    assert "No such object: nothing" in call(daemon, "inspect", "nothing", code=1)


def test_dial_stdio_is_a_connection_to_the_daemon(daemon: Wherryd) -> None:
    request = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    said = call(daemon, "system", "dial-stdio", data=request)
    assert said.startswith("HTTP/1.1 200 OK")
    assert said.endswith("OK")


def test_contexts_from_making_to_removal(daemon: Wherryd, tmp_path: Path) -> None:
    config = str(tmp_path)

    def context(*words: str, code: int = 0) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("DOCKER_HOST", "DOCKER_CONTEXT")}
        done = subprocess.run([WHERRY, *words], capture_output=True, timeout=60, text=True, env={**environment, "DOCKER_CONFIG": config})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    assert context("context", "create", "box", "--docker", f"host={daemon.socket}", "--description", "one") == "box\n"
    assert context("context", "use", "box") == "box\n"
    assert context("context", "show") == "box\n"
    assert context("images", "-q") == call(daemon, "images", "-q")
    assert context("context", "inspect", "-f", "{{.Endpoints.docker.Host}}", "box") == f"{daemon.socket}\n"
    assert context("context", "update", "box", "--description", "two") == "box\n"
    assert context("context", "ls", "--format", "{{.Name}} {{.Description}}").splitlines()[0] == "box two"
    context("context", "export", "box", str(tmp_path / "moved"))
    context("context", "import", "again", str(tmp_path / "moved"))
    assert context("context", "inspect", "-f", "{{.Endpoints.docker.Host}}", "again") == f"{daemon.socket}\n"
    context("context", "rm", "box", code=1)
    assert context("context", "rm", "-f", "box", "again") == "box\nagain\n"


def test_registries_that_are_not_there(daemon: Wherryd, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        registry = f"127.0.0.1:{free.getsockname()[1]}"
    config = str(tmp_path)
    assert "connection refused" in call(daemon, "pull", f"{registry}/x", code=1)
    call(daemon, "tag", "busybox", f"{registry}/x")
    assert "connection refused" in call(daemon, "push", f"{registry}/x", code=1)
    call(daemon, "rmi", f"{registry}/x")
    assert "connection refused" in call(daemon, "login", "-u", "ann", "--password-stdin", registry, data=b"secret", code=1, config=config)
    assert not (tmp_path / "config.json").exists()
    assert call(daemon, "logout", registry, config=config) == f"Removing login credentials for {registry}\n"
    assert "searching for images is not supported" in call(daemon, "search", "x", code=1)


def test_what_is_refused_is_named(daemon: Wherryd) -> None:
    assert "cluster volumes are not supported" in call(daemon, "volume", "update", "x", code=1)
    assert "'wherry swarm' is not supported" in call(daemon, "swarm", "init", code=1)
    for flag, name in (("--storage-opt=size=1G", "--storage-opt"), ("--gpus=all", "could not select device driver"),
                       ("--cpu-count=1", "--cpu-count"), ("--link=a:b", "could not get container for a")):
        assert name in call(daemon, "create", flag, "busybox", code=1)
