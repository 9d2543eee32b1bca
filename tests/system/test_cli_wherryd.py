"""The everyday path of the command line on our own daemon, and the daemon that starts by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from busybox_image import archive
from terminal_lab import Terminal
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]
WHERRY = str(Path(sys.executable).parent / "wherry")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd() as one:
        yield one


def call(daemon: Wherryd, *words: str, data: bytes = b"", code: int = 0) -> str:
    done = subprocess.run([WHERRY, "-H", daemon.socket, *words], input=data, capture_output=True, timeout=60)
    text = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == code, text
    return text


def test_run_and_its_exit_codes(daemon: Wherryd) -> None:
    assert call(daemon, "run", "--rm", "busybox", "echo", "hello") == "hello\n"
    assert call(daemon, "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", code=7) == "out\nerr\n"
    assert "executable file not found" in call(daemon, "run", "--rm", "busybox", "nope", code=127)
    call(daemon, "run", "--rm", "busybox", "/etc", code=126)
    assert "invalid reference format" in call(daemon, "run", "BAD", code=125)
    data = os.urandom(1_000_000).hex().encode()
    assert call(daemon, "run", "-i", "--rm", "busybox", "cat", data=data) == data.decode()
    assert call(daemon, "ps", "-aq") == ""


def test_the_life_of_a_container(daemon: Wherryd) -> None:
    identifier = call(daemon, "run", "-d", "--name", "web", "--label", "a=b", "busybox", "sh", "-c", "echo up; sleep 1000").strip()
    assert len(identifier) == 64
    assert call(daemon, "ps", "--format", "{{.Names}} {{.Label \"a\"}} {{.State}}") == "web b running\n"
    assert call(daemon, "exec", "web", "sh", "-c", "echo in; exit 3", code=3) == "in\n"
    assert call(daemon, "logs", "web") == "up\n"
    assert "sleep 1000" in call(daemon, "top", "web")
    assert call(daemon, "inspect", "-f", "{{.State.Running}} {{.Name}}", "web") == "true /web\n"
    assert call(daemon, "stop", "-t", "0", "web") == "web\n"
    assert call(daemon, "start", "web") == "web\n"
    assert call(daemon, "rename", "web", "site") == ""
    assert call(daemon, "kill", "site") == "site\n"
    assert call(daemon, "wait", "site") == "137\n"
    assert call(daemon, "rm", "site") == "site\n"


def test_images(daemon: Wherryd, tmp_path: Path) -> None:
    assert "busybox" in call(daemon, "images")
    call(daemon, "tag", "busybox", "other:1")
    call(daemon, "save", "-o", str(tmp_path / "saved"), "other:1")
    assert call(daemon, "rmi", "other:1") == "Untagged: other:1\n"
    assert call(daemon, "load", "-i", str(tmp_path / "saved")) == "Loaded image: other:1\n"
    assert "layer 0" in call(daemon, "history", "other:1")
    call(daemon, "rmi", "other:1")


def test_terminal(daemon: Wherryd) -> None:
    terminal = Terminal([WHERRY, "-H", daemon.socket, "run", "--rm", "-it", "busybox", "sh"])
    terminal.expect(b"# ")
    terminal.type(b"stty size; tty\n")
    terminal.expect(b"33 99\r\n")
    terminal.resize(44, 111)
    terminal.type(b"while [ \"$(stty size)\" != '44 111' ]; do sleep 0.1; done; echo re''sized\n")
    terminal.expect(b"resized\r\n")
    terminal.type(b"exit 5\n")
    assert terminal.end() == 5


def test_networks_and_volumes(daemon: Wherryd) -> None:
    assert len(call(daemon, "network", "create", "nets").strip()) == 64
    assert call(daemon, "volume", "create", "vols") == "vols\n"
    assert "nets" in call(daemon, "network", "ls")
    assert call(daemon, "volume", "ls", "-q") == "vols\n"
    assert call(daemon, "run", "--rm", "--network", "nets", "-v", "vols:/v", "busybox", "sh", "-c", "echo x > /v/f; cat /v/f") == "x\n"
    assert call(daemon, "network", "rm", "nets") == "nets\n"
    assert call(daemon, "volume", "rm", "vols") == "vols\n"


def test_a_daemon_on_demand() -> None:
    """Nothing answers on the default socket: of two commands at once one starts wherryd and says so, all others find it.

    It runs in a network namespace of its own: the daemon of the other tests has its firewall table in this one.
    """
    root = Path("/var/lib/wherry")
    subprocess.run(["mkdir", "-p", str(root), "/var/tmp/wherry-on-demand"], check=True)
    subprocess.run(["mount", "--bind", "/var/tmp/wherry-on-demand", str(root)], check=True)
    env = {"PATH": os.environ["PATH"], "HOME": "/run/home"}

    def run(*words: str, data: bytes = b"") -> tuple[str, str]:
        done = subprocess.run(["unshare", "-n", WHERRY, *words], input=data, capture_output=True, env=env, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(), done.stderr.decode()

    try:
        two = [subprocess.Popen(["unshare", "-n", WHERRY, "ps", "-q"], env=env, stderr=subprocess.PIPE) for _ in range(2)]
        assert sorted(one.communicate(timeout=60)[1] for one in two) == [b"", b"wherry: starting wherryd\n"]
        assert run("load", data=archive()) == ("Loaded image: busybox:latest\n", "")
        assert run("run", "--rm", "--network", "none", "busybox", "echo", "hi") == ("hi\n", "")
    finally:
        subprocess.run(["pkill", "-TERM", "-f", "wherryd --on-demand"], check=False)  # this world has processes of its own alone
        for _ in range(100):
            if subprocess.run(["pgrep", "-f", "wherryd --on-demand"], capture_output=True).returncode:
                break
            subprocess.run(["sleep", "0.1"], check=True)
        subprocess.run(["umount", str(root)], check=True)
        subprocess.run(["rm", "-rf", "/var/tmp/wherry-on-demand"], check=True)
