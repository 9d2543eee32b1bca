"""Where a container asks for names, by what the host's own files say: wherryd beside the real dockerd.

dockerd keeps the host's lines in their order, wherryd writes servers, domains and options: so the lines are compared as a set.
Whether systemd-resolved alone answers is what dockerd finds out once, at its start: that is left to the unit tests.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_dockerd import Dockerd, dockerd
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]

RESOLVED = Path("/run/systemd/resolve/resolv.conf")
HOSTS = {
    "plain": ("nameserver 192.0.2.1\nsearch example.org\noptions timeout:1\n", ""),
    "loopback": ("nameserver 127.0.0.1\n", ""),
    "resolved among others": ("nameserver 127.0.0.53\nnameserver 192.0.2.1\n", "nameserver 192.0.2.2\n"),
    "none": ("", ""),
}
# Where a domain or an option is given, dockerd also names servers on the host's loopback, or none, to a container with a
# network of its own: no name is found there.
UNREACHABLE = (("--dns-search=.",), ("--dns-opt=ndots:3",))
RUNS = ((), ("--network=host",), ("--network=mine",), ("--dns=192.0.2.7",), ("--network=host", "--dns=192.0.2.7"),
        ("--network=host", "--dns-search=example.com"), *UNREACHABLE)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Dockerd, Wherryd]]:
    with dockerd() as real, wherryd() as ours:
        real("network", "create", "mine")
        ours.docker("network", "create", "mine")
        yield real, ours
        real("network", "rm", "mine")


@pytest.fixture
def host_file(tmp_path: Path) -> Iterator[Path]:
    """A file that is mounted over the world's /etc/resolv.conf."""
    place = tmp_path / "resolv.conf"
    place.touch()
    subprocess.run(["mount", "--bind", str(place), "/etc/resolv.conf"], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
        RESOLVED.unlink(missing_ok=True)


def lines(text: str) -> list[str]:
    return sorted(re.sub(r"\s+", " ", line) for line in text.splitlines() if line.strip() and not line.startswith("#"))


@pytest.mark.parametrize("name", HOSTS)
def test_of_each_host_for_each_network(both: tuple[Dockerd, Wherryd], host_file: Path, name: str) -> None:
    etc, resolved = HOSTS[name]
    host_file.write_text(etc)
    if resolved:
        RESOLVED.parent.mkdir(parents=True, exist_ok=True)
        RESOLVED.write_text(resolved)
    real, ours = both
    differing = {}
    for flags in RUNS:
        words = ("run", "--rm", *flags, "busybox", "cat", "/etc/resolv.conf")
        theirs, mine = lines(real(*words)), lines(ours.docker(*words))
        if theirs != mine and not (flags in UNREACHABLE and name != "plain"):
            differing[flags] = (theirs, mine)
    assert not differing
