"""`-it` is a real terminal: from the keys of a person at a pty, through each command line and wherryd, to the program in the container."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from clients import CLIENTS, WHERRY
from containers_by_api import until
from terminal_lab import Terminal
from wherryd_box import Wherryd, wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net]
SIZED = "until stty size 2>/dev/null | grep .; do sleep 0.1; done"  # docker 20.10 tells the size when the process runs already
# A program that draws again when it is told the size. It is a process group of its own, which is what the kernel tells.
SCREEN = b"sh -c 'trap \"echo screen of \\$(stty size)\" WINCH; echo ready; while :; do sleep 0.1; done'\n"
each_client = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Wherryd]:
    with wherryd() as one:
        yield one


@contextlib.contextmanager
def container(daemon: Wherryd, *words: str) -> Iterator[str]:
    """A container started by `run -d WORDS`, for the length of the block."""
    identifier = daemon.docker("run", "-d", *words, client=WHERRY)
    try:
        yield identifier
    finally:
        daemon.docker("rm", "-f", identifier, client=WHERRY)


def at(client: str, daemon: Wherryd, *words: str) -> Terminal:
    return Terminal([client, "-H", daemon.socket, *words])


def running(daemon: Wherryd, name: str) -> bool:
    return bool(daemon.get(f"/containers/{name}/json")[1]["State"]["Running"])


@each_client
def test_session_controlling_terminal_and_size(daemon: Wherryd, client: str) -> None:
    terminal = at(client, daemon, "run", "--rm", "-it", "busybox", "sh")
    terminal.expect(b"# ")
    assert not terminal.restored()
    terminal.type(b"set -- $(cut -d' ' -f5-8 /proc/$$/stat); echo \"pgrp $1 session $2 tty $3 foreground $4\"; tty\n" + f"{SIZED}\n".encode())
    terminal.expect(b"pgrp 1 session 1 tty 34816 foreground 1\r\n")
    terminal.expect(b"/dev/pts/0\r\n")
    terminal.expect(b"33 99\r\n")
    terminal.type(b"echo $$ > /dev/tty; ls -l /dev/console | cut -c1; echo $TERM\n")
    terminal.expect(b"1\r\n")
    terminal.expect(b"c\r\nxterm\r\n")
    terminal.type(SCREEN)
    terminal.expect(b"\r\nready\r\n")
    terminal.resize(44, 111)
    terminal.expect(b"screen of 44 111\r\n")
    terminal.type(b"\x03")
    terminal.expect(b"# ")
    terminal.type(b"\x04")
    assert terminal.end() == 130  # the shell's last status


@each_client
def test_job_control_in_run_and_exec(daemon: Wherryd, client: str) -> None:
    with container(daemon, "busybox", "sleep", "1000") as box:
        for words in (("run", "--rm", "-it", "busybox", "sh"), ("exec", "-it", box, "sh")):
            terminal = at(client, daemon, *words)
            terminal.expect(b"# ")
            terminal.type(b"sh -c 'echo ready; exec sleep 1000'\n")
            terminal.expect(b"\r\nready\r\n")
            terminal.type(b"\x1a")
            terminal.expect(b"Stopped")
            terminal.expect(b"# ")
            terminal.type(b"bg; jobs\n")
            terminal.expect(b"[1]+  Running                    sh -c ")
            terminal.type(b"fg\n")
            terminal.expect(b"fg\r\nsh -c ")
            terminal.type(b"\x03")
            terminal.expect(b"# ")
            terminal.type(b"echo rea''dy; cat\n")
            terminal.expect(b"ready\r\n")
            terminal.type(b"line\n\x04")
            terminal.expect(b"line\r\nline\r\n")
            terminal.expect(b"# ")
            terminal.type(b"exit 7\n")
            assert terminal.end() == 7


@each_client
@pytest.mark.parametrize("keys", [b"\x10\x11", b"a,b"], ids=["default", "own"])
def test_detach_and_attach_again(daemon: Wherryd, client: str, keys: bytes) -> None:
    """Half a sequence, and a wrong one, reach the program; the program's screen is drawn again for whoever comes back."""
    option = () if keys == b"\x10\x11" else ("--detach-keys", keys.decode())
    typed = keys.replace(b",", b"")
    terminal = at(client, daemon, "run", "-it", "--name", "left", *option, "busybox", "sh")
    try:
        terminal.expect(b"# ")
        terminal.type(SCREEN)
        terminal.expect(b"\r\nready\r\n")
        terminal.type(typed)
        assert terminal.end() == 0
        assert running(daemon, "left")
        terminal = at(client, daemon, "attach", *option, "left")
        terminal.expect(b"screen of 33 99\r\n")
        terminal.type(b"\x03")
        terminal.expect(b"# ")
        terminal.type(b"echo rea''dy; cat -v\n")
        terminal.expect(b"ready\r\n")
        terminal.type(typed[:1] + b"x\n")
        terminal.expect(b"ax\r\nax\r\n" if option else b"^Px\r\n^Px\r\n")
        terminal.type(typed)
        assert terminal.end() == 1
        assert b"read escape sequence" in terminal.text
        terminal = at(client, daemon, "exec", "-it", *option, "left", "sh")
        terminal.expect(b"# ")
        terminal.type(typed)
        assert terminal.end() == 1
        assert b"read escape sequence" in terminal.text
    finally:
        daemon.docker("rm", "-f", "left", client=WHERRY)


@each_client
def test_vi(daemon: Wherryd, client: str) -> None:
    """An editor on the whole screen: addresses the cursor, hears keys at once, follows the window's size, writes the file."""
    with container(daemon, "-t", "busybox", "sleep", "1000") as box:
        terminal = at(client, daemon, "exec", "-it", box, "sh", "-c", f"{SIZED}; exec vi /tmp/text")
        terminal.expect(b"\x1b[33;1H")  # the last row of this window
        terminal.type(b"ifirst\rsecond")
        terminal.expect(b"second")
        terminal.type(b"\x1b")
        terminal.expect(b"[Modified] 2/2 100%")
        terminal.resize(20, 60)
        terminal.expect(b"\x1b[20;1H")
        terminal.type(b"ggdd:wq\r")
        assert terminal.end() == 0
        assert daemon.docker("exec", box, "cat", "/tmp/text", client=WHERRY) == "second"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("verb", ["run", "exec", "attach"])
def test_the_terminal_is_given_back_when_the_client_is_killed(daemon: Wherryd, number: signal.Signals, verb: str) -> None:
    with container(daemon, "-it", "busybox", "sh") as box:
        words = {"run": ("run", "--rm", "-it", "busybox", "sh"), "exec": ("exec", "-it", box, "sh"), "attach": ("attach", box)}[verb]
        terminal = at(WHERRY, daemon, *words)
        terminal.expect(b"# ")
        assert not terminal.restored()
        terminal.signal(number)
        assert terminal.end() == 128 + number
        assert running(daemon, box)


def test_the_terminal_is_given_back_when_its_owner_goes(daemon: Wherryd) -> None:
    """The terminal itself is closed: the client ends; a program in the container goes on."""
    with container(daemon, "-it", "busybox", "sh") as box:
        terminal = at(WHERRY, daemon, "attach", box)
        terminal.expect(b"# ")
        os.close(terminal.fd)
        assert os.waitpid(terminal.pid, 0)[1]
        assert running(daemon, box)


@each_client
def test_the_container_is_removed_under_the_terminal(daemon: Wherryd, client: str) -> None:
    terminal = at(client, daemon, "run", "-it", "--name", "gone", "busybox", "sh")
    terminal.expect(b"# ")
    daemon.docker("rm", "-f", "gone", client=WHERRY)
    assert terminal.end() == 137
    with container(daemon, "busybox", "sleep", "1000") as box:
        terminal = at(client, daemon, "exec", "-it", box, "sh")
        terminal.expect(b"# ")
        daemon.docker("kill", box, client=WHERRY)
        assert terminal.end() == 137


@each_client
def test_start_attached(daemon: Wherryd, client: str) -> None:
    daemon.docker("create", "-it", "--name", "made", "busybox", "sh", client=WHERRY)
    try:
        for code in (3, 0):
            terminal = at(client, daemon, "start", "-ai", "made")
            terminal.expect(b"# ")
            terminal.type(f"{SIZED}\n".encode())
            terminal.expect(b"33 99\r\n")
            terminal.type(f"exit {code}\n".encode())
            assert terminal.end() == code
    finally:
        daemon.docker("rm", "-f", "made", client=WHERRY)


@each_client
def test_a_terminal_without_input_and_input_that_is_none(daemon: Wherryd, client: str) -> None:
    terminal = at(client, daemon, "run", "--rm", "-t", "busybox", "sh", "-c", f"{SIZED}; test -t 0 && test -t 2 && echo yes")
    terminal.expect(b"33 99\r\r\nyes\r\r\n")  # this side is not raw: nothing is typed
    assert terminal.end() == 0
    done = subprocess.run([client, "-H", daemon.socket, "run", "--rm", "-it", "busybox", "true"], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)
    assert done.returncode == 1
    assert b"the input device is not a TTY" in done.stderr


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_the_size_is_there_when_the_program_begins(daemon: Wherryd, verb: str) -> None:
    with container(daemon, "busybox", "sleep", "1000") as box:
        for _ in range(5):
            words = ("run", "--rm", "-it", "busybox") if verb == "run" else ("exec", "-it", box)
            terminal = at(WHERRY, daemon, *words, "stty", "size")
            terminal.expect(b"33 99\r\n")
            assert terminal.end() == 0


def test_two_terminals_at_one_container(daemon: Wherryd) -> None:
    with container(daemon, "-it", "busybox", "sh") as box:
        one, two = at(WHERRY, daemon, "attach", box), at(WHERRY, daemon, "attach", box)
        one.expect(b"# ")
        two.expect(b"# ")
        one.type(b"echo bo''th\n")
        one.expect(b"both\r\n")
        two.expect(b"both\r\n")
        two.type(b"exit 4\n")
        assert (one.end(), two.end()) == (4, 4)


def test_the_terminal_survives_the_daemon(daemon: Wherryd) -> None:
    """The shim holds the line: a killed daemon does not end the session's program, and the client ends with it, its terminal restored."""
    terminal = at(WHERRY, daemon, "run", "-it", "--name", "kept", "busybox", "sh")
    terminal.expect(b"# ")
    daemon.process.kill()
    daemon.process.wait()
    terminal.type(b"echo st''ill here\n")
    terminal.expect(b"still here\r\n")
    daemon.start()
    until(lambda: running(daemon, "kept"))
    terminal.type(b"exit 9\n")
    assert terminal.end() != 0  # the wait for its exit code went with the first daemon
    until(lambda: not running(daemon, "kept"))
    assert daemon.get("/containers/kept/json")[1]["State"]["ExitCode"] == 9
    daemon.docker("rm", "kept", client=WHERRY)
