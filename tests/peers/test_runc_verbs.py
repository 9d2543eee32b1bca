"""Every verb of wherry-runc beside Debian's runc: flags in all spellings, refusals, every state that a verb can meet."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from beside_runc import RUNTIMES, WHERRY, both, bundle_of_busybox, call, configure, group, sleeping  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.peer]


def usage(text: str) -> str:
    """A call's output without a help page, which is written in words of our own, and without runc's warnings about cgroups."""
    text = re.sub(r"Incorrect Usage.*?(?=time level|\Z)", "", text, flags=re.DOTALL)
    text = "".join(line + "\n" for line in text.splitlines() if "level=warning msg=\"Setting back" not in line)
    return re.sub(r"(failed to write )(\S+: write \S+: |'\S+': )", r"\1", text.replace('\\n"', '"').replace('\\"', "'")).lower()


def same(bundle: Path, *calls: tuple[str, ...]) -> None:
    ours, theirs = both(bundle, *calls)
    for words, our, their in zip(calls, ours, theirs, strict=True):
        assert (words, our[0], usage(our[1])) == (words, their[0], usage(their[1]))


@pytest.fixture
def running(bundle: Path) -> Iterator[Path]:
    with sleeping(bundle) as one:
        yield one


def test_words_that_are_no_call(bundle: Path) -> None:
    configure(bundle, "true")
    same(bundle, ("create",), ("create", "x", "y"), ("run",), ("state",), ("state", "a", "b"), ("kill",), ("delete",), ("start",), ("ps",),
         ("exec",), ("events",), ("update",), ("pause",), ("resume",), ("checkpoint",), ("restore",), ("spec", "x"), ("features", "x"),
         ("--nope",), ("state", "--nope", "x"), ("--root",), ("run", "-b"), ("nosuch",), ("--log-format", "x", "list"),
         ("--log", "/no/lg", "list"), ("--debug=x", "list"), ("list", "--format=x"), ("events", "--interval", "x", "y"))


def test_ids(bundle: Path) -> None:
    configure(bundle, "true")
    same(bundle, *((verb, name) for name in ("", ".", "..", "a/b", "a b", "a:b", "../x", "ä") for verb in ("create", "state", "delete")),
         ("delete", "--force", "a/b"), ("create", "a,b"), ("state", "a,b"), ("delete", "a,b"))


@pytest.mark.parametrize("verb", ["state", "start", "pause", "resume", "ps", "kill", "delete", "events", "update", "checkpoint"])
def test_nobody_by_that_name(bundle: Path, verb: str) -> None:
    same(bundle, (verb, "nope"))
    assert call(WHERRY, bundle, "delete", "nope", "--force") == (0, "")


def test_global_flags_are_understood(bundle: Path) -> None:
    same(bundle, *((*flags, "list", "-q") for flags in (
        ("--rootless", "true"), ("--rootless=false",), ("-rootless=auto",), ("--criu", "/x"), ("--systemd-cgroup",), ("-debug=false",),
        ("--log-format=json",), ("--log-format", "text"))), ("list",), ("list", "-f", "json"), ("list", "--format=table"))
    for flags in (("--cgroup-manager", "cgroupfs"), ("--cgroup-manager=systemd",), ("--config", "x.json")):  # crun's
        assert call(WHERRY, bundle, *flags, "list", "-q") == (0, "")
    assert call(WHERRY, bundle, "--cgroup-manager", "x", "list")[0] == 1


def test_the_configuration_may_have_another_name(bundle: Path) -> None:
    configure(bundle, "echo", "other")
    (bundle / "config.json").rename(bundle / "other.json")
    assert call(WHERRY, bundle, "--config", "other.json", "run", "x") == (0, "other\n")
    assert call(WHERRY, bundle, "run", "--config=other.json", "x") == (0, "other\n")
    same(bundle, ("run", "x"))


def test_update(running: Path) -> None:
    (running / "r.json").write_text('{"memory": {"limit": 33554432}, "pids": {"limit": 20}}')
    same(running, *(("update", *words) for words in (
        ("x",), ("--memory", "64m", "x"), ("--memory=65536k", "--memory-swap", "-1", "x"), ("--memory-reservation", "1x", "x"),
        ("--memory-reservation", "32M", "x"), ("--pids-limit", "abc", "x"), ("--pids-limit", "-1", "x"),
        ("--cpu-share", "500", "--cpu-quota", "10000", "--cpu-period", "50000", "x"), ("--cpu-quota", "-1", "x"), ("--cpu-period", "x", "x"),
        ("--cpuset-cpus", "0", "x"), ("--cpuset-cpus", "99", "x"), ("--kernel-memory", "50m", "x"), ("-r", "nope.json", "x"),
        ("--l3-cache-schema", "x", "x"), ("--mem-bw-schema", "x", "x"), ("-r", "r.json", "x"), ("--resources=r.json", "x"))))
    for runtime in RUNTIMES:
        for name, value in (("memory/{}/memory.limit_in_bytes", "33554432"), ("pids/{}/pids.max", "20"), ("cpu/{}/cpu.shares", "500")):
            with open("/sys/fs/cgroup/" + name.format(group(runtime))) as limit:
                assert limit.read().strip() == value


def test_signals(running: Path) -> None:
    same(running, *(("kill", "x", name) for name in ("SIGUSR9", "99", "-1", "sigwinch", "WINCH", "28", "SIGwinch", "0", "nope")),
         ("kill", "--all", "x", "0"), ("kill", "x", "-a", "0")[:3])
    assert call(WHERRY, running, "kill", "x", "KILL", "--all") == (0, "")


def test_created(bundle: Path) -> None:
    configure(bundle, "sleep", "1000")
    for runtime in RUNTIMES:  # one after the other: they share their cgroup
        seen = [call(runtime, bundle, *words)[0] for words in (
            ("create", "--no-pivot", "--no-new-keyring", "--pid-file=pf", "x"), ("create", "x"), ("pause", "x"), ("state", "x"), ("start", "x"),
            ("resume", "x"), ("update", "--pids-limit", "30", "x"), ("ps", "x"), ("events", "--stats", "x"), ("exec", "x", "true"))]
        assert seen == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0]
        assert '"created"' in call(runtime, bundle, "state", "x")[1]
        assert call(runtime, bundle, "delete", "x") == (0, "")  # a created one needs no force


def test_stopped(bundle: Path) -> None:
    configure(bundle, "true")
    seen = []
    for runtime in RUNTIMES:
        assert call(runtime, bundle, "run", "--keep", "x") == (0, "")
        seen.append([call(runtime, bundle, *words) for words in (
            ("state", "x"), ("ps", "x"), ("events", "--stats", "x"), ("pause", "x"), ("resume", "x"), ("update", "--pids-limit", "30", "x"),
            ("kill", "x"), ("kill", "x", "0"), ("kill", "-a", "x"), ("exec", "x", "true"), ("start", "x"), ("list", "-q"), ("run", "x"),
            ("delete", "x"), ("delete", "x"))])
    assert seen[1] == seen[0]


def test_ps(running: Path) -> None:
    for runtime in RUNTIMES:
        pids = json.loads(call(runtime, running, "ps", "-f", "json", "x")[1])
        assert len(pids) == 1
        lines = call(runtime, running, "ps", "x", "-o", "pid,comm")[1].split()
        assert lines == ["PID", "COMMAND", str(pids[0]), "sleep"]
    same(running, ("ps", "x", "-o", "comm"), ("ps", "-f", "bad", "x"), ("ps", "--format=json", "nope"), ("ps", "x", "--nonsense"))


class Listener:
    """Listens at a path and takes one message with a descriptor."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.settimeout(30)

    def take(self) -> tuple[bytes, int]:
        connection, _ = self._socket.accept()
        with connection, self._socket:
            text, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            return text, fds[0]


def test_pidfd_sockets(bundle: Path, tmp_path: Path) -> None:
    """Runc 1.3's: whoever listens gets a descriptor of the very process, for the init and for an exec's."""
    configure(bundle, "sleep", "1000")
    listener = Listener(tmp_path / "init.sock")
    assert call(WHERRY, bundle, "run", "-d", "--pidfd-socket", str(tmp_path / "init.sock"), "x") == (0, "")
    name, init = listener.take()
    assert name == b"standard"
    listener = Listener(tmp_path / "exec.sock")
    assert call(WHERRY, bundle, "exec", "-d", "--pidfd-socket", str(tmp_path / "exec.sock"), "x", "sleep", "1000") == (0, "")
    name, further = listener.take()
    assert name == b"setns"
    for pidfd, left in ((further, 1), (init, 0)):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(json.loads(call(WHERRY, bundle, "ps", "-f", "json", "x")[1]) or ()) != left:
            assert time.monotonic() < deadline
        os.close(pidfd)
    assert call(WHERRY, bundle, "delete", "x") == (0, "")
    code, text = call(WHERRY, bundle, "create", "--pidfd-socket", "/no/such", "x")
    assert code == 1
    assert "dial unix /no/such: connect: no such file or directory" in text
    assert call(WHERRY, bundle, "list", "-q") == (0, "")
