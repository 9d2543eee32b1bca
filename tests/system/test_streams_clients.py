"""Streams through each command line: the end of a pipe, whole and apart, and what they cost the daemon and the shim."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from clients import CLIENTS, WHERRY
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]
each_client = pytest.mark.parametrize("client", CLIENTS)
LARGE = 100_000_000


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd() as one:
        yield one


@pytest.fixture(scope="module")
def box(daemon: Wherryd) -> str:
    return daemon.docker("run", "-d", "--log-driver", "none", "busybox", "sleep", "1000", client=WHERRY)


def call(client: str, daemon: Wherryd, *words: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
    done = subprocess.run([client, "-H", daemon.socket, *words], input=data, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def resident_kib(pid: int) -> int:
    return int(next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1])


@each_client
@pytest.mark.parametrize("verb", ["run", "exec"])
def test_small_streams(daemon: Wherryd, box: str, client: str, verb: str) -> None:
    def words(*command: str, stdin: bool = True) -> tuple[str, ...]:
        option = ("-i",) if stdin else ()
        return ("run", "--rm", *option, "busybox", *command) if verb == "run" else ("exec", *option, box, *command)

    assert call(client, daemon, *words("cat"), data=b"x\n") == (0, b"x\n", b"")
    assert call(client, daemon, *words("cat")) == (0, b"", b"")
    assert call(client, daemon, *words("cat", stdin=False), data=b"not for it") == (0, b"", b"")
    script = "for i in 1 2 3; do echo o$i; echo e$i >&2; done; exit 5"
    assert call(client, daemon, *words("sh", "-c", script)) == (5, b"o1\no2\no3\n", b"e1\ne2\ne3\n")
    assert call(client, daemon, *words("head", "-c", "3"), data=b"abc" * 3_000_000)[:2] == (0, b"abc")
    assert call(client, daemon, *words("sh", "-c", "exec <&-; echo closed; sleep 0.1"), data=b"x" * 1_000_000)[1] == b"closed\n"


@each_client
def test_a_large_stream_arrives_whole_and_costs_no_memory(daemon: Wherryd, box: str, client: str, tmp_path: Path) -> None:
    source = tmp_path / "data"
    with source.open("wb") as out:
        subprocess.run(["head", "-c", str(LARGE), "/dev/urandom"], stdout=out, check=True)
    with source.open("rb") as data:
        wanted = hashlib.file_digest(data, "sha256").hexdigest()
    state = daemon.get(f"/containers/{box}/json")[1]["State"]
    status = Path(f"/proc/{state['Pid']}/status").read_text().splitlines()
    shim = int(next(line for line in status if line.startswith("PPid")).split()[1])
    call(client, daemon, "exec", "-i", box, "cat", data=b"warm")
    before = [resident_kib(daemon.process.pid), resident_kib(shim)]
    for words in (("exec", "-i", box, "cat"), ("run", "--rm", "-i", "--log-driver", "none", "busybox", "cat")):
        with source.open("rb") as data, subprocess.Popen([client, "-H", daemon.socket, *words], stdin=data,
                                                         stdout=subprocess.PIPE) as process:
            assert process.stdout
            assert hashlib.file_digest(process.stdout, "sha256").hexdigest() == wanted
        assert process.returncode == 0
    after = [resident_kib(daemon.process.pid), resident_kib(shim)]
    assert all(now - then < 8 << 10 for then, now in zip(before, after, strict=True)), (before, after)


def test_a_client_that_goes_does_not_end_the_container(daemon: Wherryd) -> None:
    """And one that does not read holds up only itself: the log goes on."""
    with subprocess.Popen([WHERRY, "-H", daemon.socket, "run", "--name", "busy", "busybox", "sh", "-c", "yes | head -c 3000000; sleep 1000"],
                          stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(2) == b"y\n"
        process.kill()
        process.stdout.close()
    try:
        with subprocess.Popen([WHERRY, "-H", daemon.socket, "logs", "-f", "busy"], stdout=subprocess.PIPE) as logs:
            assert logs.stdout
            assert len(logs.stdout.read(3_000_000)) == 3_000_000
            logs.terminate()
        assert daemon.get("/containers/busy/json")[1]["State"]["Running"] is True
    finally:
        daemon.docker("rm", "-f", "busy", client=WHERRY)
