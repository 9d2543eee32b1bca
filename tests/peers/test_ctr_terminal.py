"""wherry-ctr on the real containerd where more than output is at stake: a terminal, attach, signals, stdin, a registry, CNI, events."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ctr_side import OURS, side
from docker_registry import serve
from real_containerd import IMAGE
from terminal_lab import Terminal

pytestmark = [pytest.mark.peer, pytest.mark.root, pytest.mark.slow,
              pytest.mark.skipif(not (shutil.which("ctr") and shutil.which("containerd")), reason="needs containerd and ctr")]
WAIT_S = 30.0


@pytest.fixture(scope="module")
def here():
    with side(OURS) as one:
        yield one


def start(here, *words):
    return subprocess.Popen([OURS, *words], env=here.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_stdin_goes_in_and_its_end_too(here):
    data = os.urandom(300_000).hex().encode()  # far more than a pipe holds
    done = here.call("run", "--rm", IMAGE, "in1", "wc", "-c", data=data)
    assert (done.returncode, done.stdout.split()) == (0, [str(len(data))])


def test_output_is_whole(here):
    done = here.call("run", "--rm", IMAGE, "out1", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    assert done.stdout.splitlines() == [f"line {number}" for number in range(20000)]


def test_signals_are_passed_on(here):
    script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    with start(here, "run", "--rm", IMAGE, "sig1", "sh", "-c", script) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert (process.communicate(timeout=WAIT_S)[0], process.returncode) == (b"got it\n", 5)


def test_attach_takes_over(here):
    assert here.call("run", "-d", IMAGE, "att1", "cat").returncode == 0
    with start(here, "tasks", "attach", "att1") as process:
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"hello\n"
        process.stdin.close()
        assert process.wait(WAIT_S) == 0
    assert here.call("c", "rm", "att1").returncode == 0


def test_a_terminal(here):
    terminal = Terminal([OURS, "-a", here.socket, "run", "--rm", "-t", IMAGE, "tty1", "sh"])
    terminal.expect(b"#")
    terminal.type(b"stty size; echo $TERM; tty\n")
    terminal.expect(b"33 99")
    terminal.expect(b"xterm")
    terminal.expect(b"/dev/pts/0")
    terminal.type(b"exit 6\n")
    assert terminal.end() == 6
    assert here.call("c", "ls", "-q").stdout == ""


def test_exec_on_a_terminal(here):
    here.call("run", "-d", IMAGE, "tty2", "sleep", "1000")
    terminal = Terminal([OURS, "-a", here.socket, "tasks", "exec", "-t", "--exec-id", "e", "tty2", "sh"])
    terminal.expect(b"#")
    terminal.type(b"tty; exit 3\n")
    terminal.expect(b"/dev/pts/0")
    assert terminal.end() == 3
    here.call("t", "rm", "-f", "tty2")
    assert here.call("c", "rm", "tty2").returncode == 0


def test_events_as_they_come(here):
    with subprocess.Popen([OURS, "events", "topic~=images"], env=here.environment, stdout=subprocess.PIPE) as process:
        # who subscribes is told of what comes after: tag until the first line is there
        tagged = 0
        text = b""
        deadline = time.monotonic() + WAIT_S
        while b"/images/create" not in text:
            assert time.monotonic() < deadline
            here.call("images", "tag", "--force", IMAGE, f"event-{tagged}")
            tagged += 1
            if select.select([process.stdout], [], [], 0.1)[0]:
                text += os.read(process.stdout.fileno(), 1 << 16)
        process.terminate()
        process.wait(WAIT_S)
    assert b' default /images/create {"name":"event-' in text


def test_a_registry(here, tmp_path):
    registry = serve(tmp_path, "127.0.0.1:5077")
    name = "127.0.0.1:5077/some/where:v1"
    try:
        assert here.call("images", "push", name, IMAGE).returncode == 0
        assert here.call("images", "push", "--plain-http", name, IMAGE).returncode == 0
        hosts = tmp_path / "hosts/other.example"
        hosts.mkdir(parents=True)
        (hosts / "hosts.toml").write_text(
            'server = "https://other.example"\n[host."http://127.0.0.1:5077"]\ncapabilities = ["pull", "resolve"]\n')
        pulled = here.call("images", "pull", "--hosts-dir", str(tmp_path / "hosts"), "other.example/some/where:v1")
        assert pulled.returncode == 0, pulled.stderr
        assert "unpacking linux/amd64" in pulled.stdout
        assert here.call("run", "--rm", "other.example/some/where:v1", "pulled", "echo", "hi").stdout == "hi\n"
        # the real one finds what ours pushed, and ours what the real one pushed
        subprocess.run(["ctr", "images", "pull", "--plain-http", name], env=here.environment, check=True, capture_output=True)
        subprocess.run(["ctr", "images", "push", "--plain-http", "127.0.0.1:5077/real:v2", IMAGE], env=here.environment, check=True, capture_output=True)
        fetched = here.call("content", "fetch-object", "--plain-http", "127.0.0.1:5077/real:v2")
        assert json.loads(fetched.stdout)["schemaVersion"] == 2
        missing = here.call("images", "pull", "--plain-http", "127.0.0.1:5077/nope:v1")
        assert missing.stderr == ('wherry-ctr: failed to resolve reference "127.0.0.1:5077/nope:v1": '
                                  "127.0.0.1:5077/nope:v1: not found\n")
        traced = here.call("images", "pull", "--plain-http", "--http-dump", name)
        assert "GET http://127.0.0.1:5077/v2/some/where/manifests/v1: 200" in traced.stderr
    finally:
        registry.terminate()
        registry.wait()


def test_an_archive_from_stdin(here):
    here.call("images", "rm", "--sync", IMAGE)
    assert here.call("images", "import", "-", data=Path(here.folder, "image.tar").read_bytes()).returncode == 0
    assert here.call("run", "--rm", IMAGE, "again", "echo", "hi").stdout == "hi\n"


@pytest.mark.skipif(not os.access("/usr/lib/cni/bridge", os.X_OK), reason="needs containernetworking-plugins")
@pytest.mark.net
def test_cni(here):
    folder = Path("/etc/cni/net.d")
    before = sorted(folder.glob("*")) if folder.exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "00-wherry-test.conflist"
    file.write_text(json.dumps({"cniVersion": "0.4.0", "name": "wherry-test", "plugins": [
        {"type": "bridge", "bridge": "wct0", "isGateway": True,
         "ipam": {"type": "host-local", "dataDir": str(here.folder / "cni"), "ranges": [[{"subnet": "10.199.7.0/24"}]]}}]}))
    try:
        done = here.call("run", "--rm", "--cni", IMAGE, "net1", "ip", "-4", "-o", "addr")
        assert done.returncode == 0, done.stderr
        assert "eth0    inet 10.199.7." in done.stdout
        assert "lo    inet 127.0.0.1" in done.stdout
        assert [path.name for path in (here.folder / "cni/wherry-test").glob("10.*")] == []  # given back
    finally:
        file.unlink()
        subprocess.run(["ip", "link", "del", "wct0"], capture_output=True)
    assert (sorted(folder.glob("*")) if folder.exists() else []) == before
