"""What a shim promises, whichever runtime it drives: the same for ours in the process, ours as a program, runc and crun."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shim_box import Box, Client, alive

from wherry.shim.client import AttachEnded, AttachRequest, StartFailed, read_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root
WHERRY_RUNC = Path(__file__).resolve().parents[2] / "bin/wherry-runc"
BOTH = AttachRequest(attach_id="run", stdin=True, stdout=True, stderr=True)
RAW = BOTH.replace(multiplex=False)


def program(name: str) -> str:
    """The runtime's path; skips by name where it does not work on this machine."""
    if name == "builtin":
        return name
    path = str(WHERRY_RUNC) if name == "wherry-runc" else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="module", params=["builtin", "wherry-runc", "runc", "crun"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    runtime = program(request.param)
    base = Path("/run") / f"shim-{request.param}-{os.getpid()}"
    base.mkdir()
    one = Box(base, runtime)
    try:
        if request.param in ("crun", "wherry-runc"):
            try:
                one.start("true").exited()
                one.finish()
            except StartFailed as error:
                pytest.skip(f"{request.param} does not start containers here: {error}")
        yield one
    finally:
        one.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(box: Box) -> Iterator[None]:
    yield
    box.finish()
    left = subprocess.run(["find", "/sys/fs/cgroup", "-name", f"{box.base.name}-*", "-type", "d"], capture_output=True, text=True, check=True).stdout
    assert left == ""


def test_output_is_framed_logged_and_complete_before_the_exit(box: Box) -> None:
    client = Client()
    one = box.start("echo out; echo err >&2; exit 3", clients=((BOTH, client),))
    assert client.streams() == (b"out\n", b"err\n")
    exited = one.exited()
    assert (exited.code, exited.signalled, exited.oom) == (3, False, False)
    assert read_exit(str(one.folder)) == exited
    assert sorted((record["stream"], record["log"]) for record in one.log()) == [("stderr", "err\n"), ("stdout", "out\n")]
    one.release()
    assert not (one.folder / "shim.sock").exists()


def test_stdin_ends_when_the_clients_half_does(box: Box) -> None:
    client = Client()
    box.start("cat; echo end", open_stdin=True, stdin_once=True, clients=((BOTH.replace(early=b"early "), client),))
    client.send(b"typed\n")
    client.half_close()
    assert client.streams() == (b"early typed\nend\n", b"")


def test_a_terminal_is_a_terminal(box: Box) -> None:
    client = Client()
    one = box.start("tty; stty size; read line; stty size; echo $line", terminal=True, open_stdin=True, console_size=(33, 101), clients=((RAW, client),))
    client.until(b"33 101\r\n")
    box.run(one.shim.resize(44, 90))
    client.send(b"typed\r")
    text = client.all()
    assert text.startswith(b"/dev/")
    assert b"44 90\r\n" in text
    assert text.endswith(b"typed\r\n")
    assert one.log()[1]["log"] == "33 101\r\n"


def test_signals_arrive(box: Box) -> None:
    one = box.start("trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 0.05; done")
    client = one.attach(logs=True)
    client.until(b"ready")
    box.run(one.shim.signal(10))
    assert one.exited().code == 7
    other = box.start(["sleep", "100"])
    box.run(other.shim.signal(9))
    assert (other.exited().code, other.exited().signalled) == (137, True)


def test_a_signal_for_everyone_reaches_children_too(box: Box) -> None:
    one = box.start("trap '' TERM; (trap 'echo child; exit' USR2; while :; do sleep 0.05; done) & trap 'echo init' USR2; echo ready; wait; wait; sleep 0.2")
    client = one.attach(logs=True)
    client.until(b"ready")
    box.run(one.shim.signal(12, everyone=True))
    client.until(b"child")
    client.until(b"init")


def test_an_exec_has_its_own_streams_and_end(box: Box) -> None:
    one = box.start(["sleep", "100"])
    client = Client()
    pid = one.exec("e1", "cat; echo err >&2; exit 5", client, open_stdin=True)
    assert alive(pid)
    client.send(b"to the exec")
    client.half_close()
    assert client.streams() == (b"to the exec", b"err\n")
    assert (one.exited("e1").code, one.exited("e1").signalled) == (5, False)
    one.event(AttachEnded, attach_id="e1", detached=False)
    assert one.log() == []


def test_an_exec_can_have_a_terminal(box: Box) -> None:
    one = box.start(["sleep", "100"])
    client = Client()
    one.exec("e1", "stty size; read x; echo $x; tty", client, terminal=True, open_stdin=True, console_size=(20, 77))
    client.until(b"20 77\r\n")
    client.send(b"hello\r")
    assert client.all().split(b"\r\n")[1:4] == [b"hello", b"hello", client.raw.split(b"\r\n")[3]]
    assert client.raw.split(b"\r\n")[3].startswith(b"/dev/")
    assert one.exited("e1").code == 0


def test_what_cannot_run_is_told_with_dockers_exit_code(box: Box) -> None:
    for command, code in ((["nosuch"], 127), (["/etc"], 126), (["/etc/passwd"], 126)):
        with pytest.raises(StartFailed) as failed:
            box.start(command)
        assert failed.value.exit_code == code, failed.value.message
    for one in box.launched:
        box.wait_for(lambda one=one: not alive(one.shim.shim_pid), lambda: "the shim of a failed start ends")
        assert not (one.folder / "exit.json").exists()


def test_an_exec_that_cannot_run_leaves_the_container_alone(box: Box) -> None:
    one = box.start(["sleep", "100"])
    client = Client()
    process: dict[str, Any] = {"args": ["nosuch"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    from wherry.shim.client import ExecRequest

    with pytest.raises(StartFailed) as failed:
        box.run(one.shim.exec(ExecRequest(exec_id="bad", process=process, attach=((AttachRequest(stdout=True), client.theirs),))))
    assert failed.value.exit_code == 127
    os.write(client.theirs, b"still ours")
    os.close(client.theirs)
    assert client.all() == b"still ours"
    one.exec("good", "exit 4")
    assert one.exited("good").code == 4


def test_a_container_that_was_not_started_is_removed_by_release(box: Box) -> None:
    one = box.launch(["sleep", "100"])
    assert alive(one.shim.pid)
    one.release()
    assert not alive(one.shim.pid)
    assert one.events == []
