"""wherryd as a program: how it starts, whom it refuses, what signals do, how it ends."""

from __future__ import annotations

import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wherryd_box import PROGRAM, Wherryd, folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def daemon() -> Iterator[Wherryd]:
    with folders() as one:
        yield one


def until(what: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def complaint(*arguments: str) -> str:
    """What a wherryd that cannot start says, on one line."""
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("wherryd: "), done.stderr
    assert "Traceback" not in done.stderr
    return last


def test_starts_answers_and_ends_without_a_trace(daemon: Wherryd) -> None:
    daemon.start()
    mode = os.stat(daemon.path)
    assert stat.S_IMODE(mode.st_mode) == 0o660
    assert mode.st_uid == 0
    assert (daemon.folder / "pid").read_text() == str(daemon.process.pid)
    assert daemon.stop() == 0
    assert not Path(daemon.path).exists()
    assert not (daemon.folder / "pid").exists()


def test_a_socket_that_was_left_behind_is_replaced_and_a_live_one_is_not(daemon: Wherryd) -> None:
    daemon.start()
    said = complaint("-H", daemon.socket, "--data-root", f"{daemon.data_root}/other", "--exec-root", f"{daemon.folder}/other",
                     "--pidfile", f"{daemon.folder}/other-pid")
    assert said.endswith(f"can't create unix socket {daemon.path}: somebody listens there")
    assert daemon.answers()
    daemon.stop(signal.SIGKILL)
    assert Path(daemon.path).exists()
    daemon.start()
    assert daemon.answers()


def test_two_daemons_never_share_a_root(daemon: Wherryd) -> None:
    daemon.start()
    said = complaint("-H", f"unix://{daemon.folder}/second.sock", "--data-root", daemon.data_root, "--exec-root",
                     f"{daemon.folder}/other", "--pidfile", f"{daemon.folder}/other-pid")
    assert daemon.data_root in said
    assert not (daemon.folder / "second.sock").exists()
    assert not (daemon.folder / "other-pid").exists()


def test_a_pid_file_of_a_running_process_is_respected(daemon: Wherryd) -> None:
    (daemon.folder / "pid").write_text("1")
    said = complaint("-H", daemon.socket, "--data-root", daemon.data_root, "--pidfile", f"{daemon.folder}/pid",
                     "--exec-root", f"{daemon.folder}/exec")
    assert "process with PID 1 is still running" in said
    assert (daemon.folder / "pid").read_text() == "1"
    assert not Path(daemon.path).exists()


@pytest.mark.parametrize(("host", "message"), [
    ("fd://", "no sockets found via socket activation"),
    ("tcp://0.0.0.0:0", "without verifying clients"),
    ("tcp://127.0.0.1:99999", "invalid port"),
    ("unix:///proc/nowhere/x.sock", "/proc/nowhere"),
])
def test_addresses_that_cannot_be_had(daemon: Wherryd, host: str, message: str) -> None:
    said = complaint("-H", host, "--data-root", daemon.data_root, "--pidfile", f"{daemon.folder}/pid",
                     "--exec-root", f"{daemon.folder}/exec")
    assert message in said


def test_the_socket_s_group(daemon: Wherryd) -> None:
    name = grp.getgrgid(1).gr_name
    daemon.start("--group", name)
    assert os.stat(daemon.path).st_gid == 1
    said = complaint("-H", f"unix://{daemon.folder}/b.sock", "--group", "nosuchgroup", "--data-root", f"{daemon.data_root}/b",
                     "--exec-root", f"{daemon.folder}/b", "--pidfile", f"{daemon.folder}/b.pid")
    assert said.endswith("group nosuchgroup not found")


def test_sockets_that_systemd_passes(daemon: Wherryd) -> None:
    """LISTEN_PID must be the daemon's own, so a small program sets it and becomes the daemon."""
    first = socket.socket(socket.AF_UNIX)
    first.bind(daemon.path)
    first.listen()
    second = socket.create_server(("127.0.0.1", 0))
    becoming = ("import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2', LISTEN_FDNAMES='api:other');"
                "os.execv(sys.argv[3], sys.argv[3:])")
    with daemon.log.open("ab") as log:
        daemon.process = subprocess.Popen(
            [sys.executable, "-c", becoming, str(first.fileno()), str(second.fileno()), *PROGRAM, "-H", "fd://", "--data-root",
             daemon.data_root, "--exec-root", f"{daemon.folder}/exec", "--pidfile", f"{daemon.folder}/pid"],
            pass_fds=(first.fileno(), second.fileno()), stderr=log)
    until(daemon.answers)
    with socket.create_connection(second.getsockname()) as sock:
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    first.close()
    second.close()
    assert daemon.stop() == 0
    assert Path(daemon.path).exists()  # it is systemd's


def test_systemd_is_told_when_it_is_ready_and_when_it_ends(daemon: Wherryd) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(f"{daemon.folder}/notify")
        notices.settimeout(20)
        daemon.start(environment={"NOTIFY_SOCKET": f"{daemon.folder}/notify"})
        assert notices.recv(100) == b"READY=1"
        daemon.process.send_signal(signal.SIGHUP)
        assert [notices.recv(100), notices.recv(100)] == [b"RELOADING=1", b"READY=1"]
        daemon.stop()
        assert notices.recv(100) == b"STOPPING=1"


def test_sighup_takes_over_what_can_change(daemon: Wherryd) -> None:
    file = daemon.folder / "daemon.json"
    file.write_text('{"labels": ["a=1"]}')
    daemon.start("--config-file", str(file))
    assert daemon.get("/info")[1]["Labels"] == ["a=1"]
    file.write_text('{"labels": ["a=2"], "debug": true, "mtu": 1400}')
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.get("/info")[1]["Labels"] == ["a=2"])
    assert daemon.get("/info")[1]["Debug"] is True
    assert "network was changed" in daemon.log.read_text()
    until(lambda: "level=debug" in daemon.log.read_text())
    file.write_text('{"labels": ')
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: "cannot be used" in daemon.log.read_text())
    assert daemon.get("/info")[1]["Labels"] == ["a=2"]


def test_json_logs(daemon: Wherryd) -> None:
    daemon.start("--log-format", "json", "-D")
    daemon.get("/v1.41/version")
    daemon.stop()
    records = [json.loads(line) for line in daemon.log.read_text().splitlines()]
    assert {"debug", "info"} <= {one["level"] for one in records}
    assert any(one["msg"] == "Calling GET /v1.41/version" for one in records)


def test_a_daemon_on_demand_ends_when_nobody_needs_it(daemon: Wherryd) -> None:
    daemon.start("--on-demand", "--on-demand-seconds=1")
    daemon.load()
    _, made = daemon.request("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "3"], "HostConfig": {
        "NetworkMode": "none"}})
    assert daemon.request("POST", f"/containers/{made['Id']}/start")[0] == 204
    began = time.monotonic()
    assert daemon.process.wait(30) == 0
    assert time.monotonic() - began > 3  # the container ran as long as it was meant to
    assert "initialization" not in Path(f"{daemon.folder}/exec/wherryd.log").read_text()
    assert not Path(daemon.path).exists()


def test_sigterm_stops_containers_and_answers_who_waits(daemon: Wherryd) -> None:
    daemon.start("--shutdown-timeout", "5")
    daemon.load()
    command = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done"]
    _, made = daemon.request("POST", "/containers/create", {"Image": "busybox", "Cmd": command, "HostConfig": {
        "NetworkMode": "none"}})
    daemon.request("POST", f"/containers/{made['Id']}/start")
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(daemon.path)
        waiting.settimeout(20)
        waiting.sendall(f"POST /containers/{made['Id']}/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        time.sleep(0.3)
        daemon.process.send_signal(signal.SIGTERM)
        answer = b""
        while chunk := waiting.recv(4096):
            answer += chunk
    assert b'"StatusCode":7' in answer
    assert daemon.process.wait(30) == 0
    daemon.start()
    shown = daemon.get(f"/containers/{made['Id']}/json")[1]["State"]
    assert (shown["Status"], shown["ExitCode"]) == ("exited", 7)


def test_live_restore_leaves_containers_running(daemon: Wherryd) -> None:
    daemon.start("--live-restore")
    daemon.load()
    _, made = daemon.request("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": {
        "NetworkMode": "none"}})
    daemon.request("POST", f"/containers/{made['Id']}/start")
    pid = daemon.get(f"/containers/{made['Id']}/json")[1]["State"]["Pid"]
    daemon.stop()
    assert Path(f"/proc/{pid}").exists()
    daemon.start("--live-restore")
    state = daemon.get(f"/containers/{made['Id']}/json")[1]["State"]
    assert (state["Status"], state["Pid"]) == ("running", pid)


def test_drop_in_names_who_holds_docker_s_places(daemon: Wherryd) -> None:
    """A stand-in for dockerd: a process that listens on its socket."""
    Path("/var/run").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind("/var/run/docker.sock")
        try:
            held.listen()
            said = complaint("--drop-in", "--data-root", daemon.data_root, "--exec-root", f"{daemon.folder}/exec")
            assert f"/var/run/docker.sock is held by {Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})" in said
        finally:
            os.unlink("/var/run/docker.sock")
