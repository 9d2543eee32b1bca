"""kill -9 of the daemon, and its ordinary end: what goes on, what is found again, what is started, what is cleaned up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
from containers_by_api import Api, until
from wherryd_box import folders

pytestmark = [pytest.mark.root, pytest.mark.net]


@pytest.fixture
def api():
    with folders() as daemon:
        daemon.start()
        daemon.load()
        yield Api(daemon)


def crash(api: Api) -> None:
    """Kills the daemon, and nothing else."""
    api.daemon.stop(signal.SIGKILL)


def again(api: Api, *flags: str) -> None:
    """Starts the next daemon on the same root."""
    api.daemon.start(*flags)


def pid_exists(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_what_runs_goes_on_and_is_found_again(api) -> None:
    counting = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    container = api.create("sh", "-c", counting, name="counter", host={"NetworkMode": "bridge", "PortBindings": {"80/tcp": [{}]},
                                                                       "Binds": ["kept:/data"]})
    api.start(container)
    before = api.inspect(container)
    crash(api)
    assert pid_exists(before["State"]["Pid"])
    time.sleep(0.3)
    again(api)
    after = api.inspect(container)
    assert after["State"] == before["State"]
    assert after["NetworkSettings"] == before["NetworkSettings"]
    assert api.exec(container, "echo", "x") == (0, "x\n")
    port = int(after["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
    made = api.ask("POST", f"/containers/{container}/exec", {"Cmd": ["nc", "-l", "-p", "80", "-e", "echo", "hi"]}, 201)["Id"]
    api.ask("POST", f"/exec/{made}/start", {"Detach": True})

    def answered() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as peer:
                return peer.recv(10) == b"hi\n"
        except OSError:
            return False

    until(answered)
    api.ask("POST", f"/containers/{container}/stop?t=0", status=204)
    numbers = [int(line) for line in api.logs(container, "stdout=1").split()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert api.state(container)["ExitCode"] == 137
    api.start(container)
    api.remove(container)
    until(lambda: not os.listdir(api.daemon.folder / "exec" / "containers"))


def test_an_end_that_came_meanwhile_is_reported(api) -> None:
    container = api.create("sh", "-c", "sleep 0.3; exit 7", host={"NetworkMode": "bridge"})
    removed = api.create("sh", "-c", "sleep 0.3", host={"AutoRemove": True})
    api.start(container)
    api.start(removed)
    pid = api.state(container)["Pid"]
    crash(api)
    until(lambda: not pid_exists(pid))
    again(api)
    state = api.state(container)
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    assert api.inspect(container)["NetworkSettings"]["IPAddress"] == ""
    until(lambda: removed not in [one["Id"] for one in api.ask("GET", "/containers/json?all=1")])
    api.start(container)
    assert api.wait(container) == 7


def test_policies_start_what_ended_meanwhile(api) -> None:
    always = api.create("sh", "-c", "sleep 0.2; exit 1", host={"RestartPolicy": {"Name": "always"}})
    stopped = api.create("sleep", "1000", host={"RestartPolicy": {"Name": "unless-stopped"}})
    for one in (always, stopped):
        api.start(one)
    api.ask("POST", f"/containers/{stopped}/stop?t=0", status=204)
    crash(api)
    again(api)
    until(lambda: api.inspect(always)["RestartCount"] >= 1)
    assert api.state(stopped)["Status"] == "exited"


def test_a_shim_that_was_killed_ends_its_container(api) -> None:
    with api.running() as container:
        pid = api.state(container)["Pid"]
        shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(shim, signal.SIGKILL)
        until(lambda: api.state(container)["Status"] == "exited")
        assert not pid_exists(pid)
        api.start(container)
        assert api.exec(container, "echo", "again") == (0, "again\n")


def test_a_machine_that_was_switched_off(api) -> None:
    """Nothing of the run folder is left, and what the records say runs does not."""
    container = api.create("sleep", "1000", host={"NetworkMode": "bridge"})
    api.start(container)
    pid = api.state(container)["Pid"]
    crash(api)
    shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shim, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not pid_exists(pid))
    shutil.rmtree(api.daemon.folder / "exec" / "containers")
    again(api)
    state = api.state(container)
    assert (state["Status"], state["ExitCode"]) == ("exited", 255)
    api.start(container)
    assert api.exec(container, "true")[0] == 0


def test_half_made_containers_are_cleaned_up(api) -> None:
    kept = api.create("true", name="kept")
    root = Path(api.daemon.data_root)
    half = "ab" * 32
    crash(api)
    (root / "containers" / half).mkdir()
    (root / "containers" / half / "hostconfig.json").write_text("{}")
    layer = root / "image/overlay2/layerdb/mounts"
    shutil.copytree(layer / kept, layer / half)
    (api.daemon.folder / "exec/containers" / half).mkdir()
    damaged = "cd" * 32
    (root / "containers" / damaged).mkdir()
    (root / "containers" / damaged / "config.v2.json").write_text("{")
    again(api)
    assert [one["Id"] for one in api.ask("GET", "/containers/json?all=1")] == [kept]
    assert not (root / "containers" / half).exists()
    assert not (api.daemon.folder / "exec/containers" / half).exists()
    assert "cannot be loaded" in api.daemon.log.read_text()
    shutil.rmtree(root / "containers" / damaged)


def test_an_ordinary_end_stops_everything_at_once(api) -> None:
    containers = [api.create("sh", "-c", 'trap "exit 0" TERM; while :; do sleep 0.02; done', host={
        "RestartPolicy": {"Name": "unless-stopped"}}) for _ in range(3)]
    for one in containers:
        api.start(one)
        until(lambda one=one: api.exec(one, "true")[0] == 0)
    pids = [api.state(one)["Pid"] for one in containers]
    assert api.daemon.stop() == 0
    assert not any(pid_exists(pid) for pid in pids)
    records = [json.loads(Path(api.daemon.data_root, "containers", one, "config.v2.json").read_text()) for one in containers]
    assert [(one["State"]["Running"], one["HasBeenManuallyStopped"]) for one in records] == [(False, False)] * 3
    again(api)
    for one in containers:
        until(lambda one=one: api.state(one)["Status"] == "running")


def test_live_restore_leaves_everything_running(api) -> None:
    api.daemon.stop()
    again(api, "--live-restore")
    container = api.create("sleep", "1000", host={"NetworkMode": "bridge"})
    api.start(container)
    pid = api.state(container)["Pid"]
    assert api.daemon.stop() == 0
    assert pid_exists(pid)
    again(api, "--live-restore")
    assert api.state(container)["Pid"] == pid
    assert api.exec(container, "echo", "x") == (0, "x\n")
