"""`wherryd --containerd`: the engine's containers run by the real containerd, driven by the real docker and by wherry's command line."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time

import pytest
from clients import CLIENTS
from real_containerd import Containerd, containerd
from wherryd_box import IMAGE, Wherryd, folders

pytest.importorskip("grpc")
pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not all(map(shutil.which, ("containerd", "ctr", "runc", "docker"))),
                       reason="needs containerd, ctr, runc and docker (Debian: containerd, runc, docker.io)"),
]
WAIT_S = 60.0
TASKS = "/run/containerd/io.containerd.runtime.v2.task/moby"


class Pair:
    """A containerd, and a wherryd that runs its containers on it."""

    def __init__(self, below: Containerd, daemon: Wherryd) -> None:
        self.below, self.daemon = below, daemon

    def start(self, *flags: str) -> None:
        """Starts wherryd."""
        self.daemon.start("--containerd", self.below.socket, *flags)

    def docker(self, *words: str, client: str = "docker", code: int = 0, data: bytes = b"") -> subprocess.CompletedProcess[str]:
        """A command line on it, which is to end with this status."""
        done = subprocess.run([client, "-H", self.daemon.socket, *words], input=data, capture_output=True, timeout=WAIT_S)
        text = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert text.returncode == code, (words, text.stdout, text.stderr, self.below.log())
        return text

    @contextlib.contextmanager
    def beside(self, *words: str, client: str = "docker"):
        """A command line on it that goes on beside the test, and is killed at its end."""
        with subprocess.Popen([client, "-H", self.daemon.socket, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, name: str, *command: str, flags: tuple[str, ...] = ()) -> str:
        """A container in the background; its id."""
        return self.docker("run", "-d", "--name", name, *flags, IMAGE, *command).stdout.strip()

    def inspect(self, name: str, what: str) -> str:
        """One field of a container."""
        return self.docker("inspect", "-f", "{{" + what + "}}", name).stdout.strip()

    def until(self, condition, what: str) -> None:
        """Waits until it is so."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.02)

    def statuses(self) -> dict[str, str]:
        """What containerd says of the tasks, by id."""
        lines = self.below.ctr("-n", "moby", "task", "ls").stdout.splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}

    def left(self) -> list[str]:
        """What containers have left anywhere."""
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
        folders = [f"{self.daemon.folder}/exec/containers", TASKS]
        return [*self.below.ctr("-n", "moby", "containers", "ls", "-q").stdout.split(),
                *(name for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)),
                *(line for line in processes if line.startswith("/usr/bin/containerd-shim"))]


@pytest.fixture(scope="module")
def pair():
    with containerd() as below, folders() as daemon:
        one = Pair(below, daemon)
        one.start()
        daemon.load()
        yield one


@pytest.fixture(autouse=True)
def _nothing_is_left(pair):
    yield
    names = pair.docker("ps", "-aq").stdout.split()
    if names:
        pair.docker("rm", "-f", "-v", *names)
    pair.until(lambda: pair.left() == [], f"nothing is left: {pair.left()}")


@pytest.mark.parametrize("client", CLIENTS)
def test_run_and_its_exit_codes(pair, client) -> None:
    done = pair.docker("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3", client=client, code=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert pair.docker("run", "-i", "--rm", IMAGE, "cat", client=client, data=b"typed" * 50000).stdout == "typed" * 50000
    assert "executable file not found in $PATH" in pair.docker("run", "--rm", IMAGE, "nosuch", client=client, code=127).stderr
    assert "permission denied" in pair.docker("run", "--rm", IMAGE, "/etc", client=client, code=126).stderr
    pair.docker("run", "--rm", "--network", "nosuch", IMAGE, "true", client=client, code=125)


@pytest.mark.parametrize("client", CLIENTS)
def test_logs_wait_and_rm(pair, client) -> None:
    pair.run("one", "sh", "-c", "echo first; read x; echo $x; exit 5", flags=("-i",))
    with pair.beside("logs", "-f", "one", client=client) as following, pair.beside("attach", "one", client=client) as attached:
        assert following.stdout.readline() == b"first\n"
        attached.stdin.write(b"second\n")
        attached.stdin.flush()
        assert attached.stdout.readline() == b"second\n"
        assert following.stdout.readline() == b"second\n"
        assert attached.wait(WAIT_S) == 5
        assert following.wait(WAIT_S) == 0
    assert pair.docker("wait", "one", client=client).stdout == "5\n"
    assert pair.docker("logs", "one", client=client).stdout == "first\nsecond\n"
    pair.docker("rm", "one", client=client)


@pytest.mark.parametrize("client", CLIENTS)
def test_execs(pair, client) -> None:
    pair.run("one", "sleep", "1000")
    assert pair.docker("exec", "one", "echo", "hi", client=client).stdout == "hi\n"
    assert pair.docker("exec", "one", "sh", "-c", "echo err >&2; exit 9", client=client, code=9).stderr == "err\n"
    assert pair.docker("exec", "-i", "one", "cat", client=client, data=b"x" * 200000).stdout == "x" * 200000
    assert "executable file not found" in pair.docker("exec", "one", "nosuch", client=client, code=126).stdout
    assert pair.docker("exec", "-e", "A=b", "-w", "/tmp", "-u", "12:34", "one", "sh", "-c", "echo $A $(pwd) $(id -u)", client=client
                       ).stdout == "b /tmp 12\n"
    pair.docker("exec", "-d", "one", "sh", "-c", "echo done > /made", client=client)
    pair.until(lambda: pair.docker("exec", "one", "sh", "-c", "cat /made || true", client=client).stdout == "done\n", "it ran")
