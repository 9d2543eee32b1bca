"""Mounts that go from the host to a container and back (`-v x:y:rshared`): wherryd beside the real dockerd."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_dockerd import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]

KINDS = ("rprivate", "private", "rslave", "slave", "rshared", "shared")


@pytest.fixture(scope="module")
def sockets() -> Iterator[tuple[str, str]]:
    with dockerd("--bridge=none", "--iptables=false") as real, wherryd("--bridge=none", "--iptables=false") as ours:
        yield real.socket, ours.socket


@pytest.fixture(params=["shared", "private", "slave"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A mount of the kind, and the kind."""
    place = tmp_path / "host"
    place.mkdir()
    mount("-t", "tmpfs", "host", str(place))
    mount("--make-private" if request.param == "private" else "--make-shared", str(place))
    if request.param == "slave":  # of a peer that is elsewhere
        peer = tmp_path / "peer"
        peer.mkdir()
        mount("--bind", str(place), str(peer))
        mount("--make-slave", str(place))
    try:
        yield request.param, place
    finally:
        for path in (place, tmp_path / "peer"):
            subprocess.run(["umount", "-R", "-l", str(path)], capture_output=True)


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def docker(socket: str, *words: str) -> str:
    done = subprocess.run(["/usr/bin/docker", "-H", socket, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    text = done.stdout + done.stderr
    return "\n".join(line for line in re.sub(r"\b[0-9a-f]{64}\b", "<id>", text).splitlines() if line and not line.startswith("time="))


def passed(socket: str, place: Path, kind: str) -> list[str]:
    """What a container with the folder is told, and what it and the host see of each other's mounts."""
    for folder in ("inside", "outside"):
        (place / folder).mkdir(exist_ok=True)
    told = [docker(socket, "run", "-d", "--name", "one", "--network=none", "--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined", "-v", f"{place}:/x:{kind}",
                   "busybox", "sleep", "1000")]
    if told == ["<id>"]:
        told.append(docker(socket, "exec", "one", "mount", "-t", "tmpfs", "of-container", "/x/inside"))
        mount("-t", "tmpfs", "of-host", str(place / "outside"))
        told += [line.split()[4].replace(str(place), "/host") + " " + line.split(" - ")[1].split()[1]
                 for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{place}/" in line]
        told += [line.split()[2] + " " + line.split()[0] for line in docker(socket, "exec", "one", "mount").splitlines() if " /x" in line]
    docker(socket, "rm", "-f", "one")
    for folder in ("inside", "outside"):
        subprocess.run(["umount", "-l", str(place / folder)], capture_output=True)
    return told


def test_of_each_kind(sockets: tuple[str, str], host: tuple[str, Path]) -> None:
    lies_on, place = host
    differing, reached = {}, set()
    for kind in KINDS:
        theirs, ours = (passed(socket, place, kind) for socket in sockets)
        if theirs != ours:
            differing[kind] = (theirs, ours)
        reached |= {(kind, line) for line in ours if line in ("/host/inside of-container", "/x/outside of-host")}
    assert not differing
    if lies_on == "shared":
        assert {("rshared", "/host/inside of-container"), ("rshared", "/x/outside of-host"), ("rslave", "/x/outside of-host")} <= reached
        assert ("rslave", "/host/inside of-container") not in reached
