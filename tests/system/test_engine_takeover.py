"""kill -9 of the daemon, and its ordinary end: what goes on, what is found again, what is started, what is cleaned up."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import tarfile
import threading
import time
from pathlib import Path

import pytest
from containers_by_api import Api, until
from wherryd_box import folders

from wherry.linux import cgroup

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
    serve = "while :; do nc -l -p 80 -e echo hi; done"  # again and again: one who asked may have lost patience
    made = api.ask("POST", f"/containers/{container}/exec", {"Cmd": ["sh", "-c", serve]}, 201)["Id"]
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


def test_what_stands_still_is_what_is_recorded_as_paused(api) -> None:
    """A daemon that died between the freezer and the record has not answered: the record holds."""
    with api.running() as goes, api.running() as stands:
        groups = {one: cgroup.manager(f"/wherry/{one}") for one in (goes, stands)}
        api.ask("POST", f"/containers/{stands}/pause", status=204)
        crash(api)
        again(api)
        assert (api.state(stands)["Status"], groups[stands].frozen(), groups[goes].frozen()) == ("paused", True, False)
        crash(api)
        groups[goes].freeze()
        groups[stands].thaw()
        again(api)
        assert (api.state(stands)["Status"], groups[stands].frozen()) == ("paused", True)
        assert api.state(goes)["Status"] == "running"
        assert api.exec(goes, "echo", "x") == (0, "x\n")
        api.ask("POST", f"/containers/{stands}/unpause", status=204)
        assert api.exec(stands, "echo", "x") == (0, "x\n")


def test_a_daemon_with_another_cgroup_parent_finds_where_the_last_one_put_containers(api) -> None:
    api.daemon.stop()
    again(api, "--cgroup-parent=/first")
    container = api.create("sh", "-c", "sleep 1000 & sleep 1000", host={"Memory": 64 << 20})
    api.start(container)
    group = cgroup.manager(f"/first/{container}")
    crash(api)
    again(api, "--cgroup-parent=/second")
    api.ask("POST", f"/containers/{container}/update", {"Memory": 32 << 20, "MemorySwap": 32 << 20})
    assert api.ask("GET", f"/containers/{container}/stats?stream=0")["memory_stats"]["limit"] == 32 << 20
    assert len(api.ask("GET", f"/containers/{container}/top")["Processes"]) == 2
    api.ask("POST", f"/containers/{container}/pause", status=204)
    assert group.frozen()
    api.ask("POST", f"/containers/{container}/unpause", status=204)
    api.ask("POST", f"/containers/{container}/restart?t=0", status=204)
    assert (group.exists(), cgroup.manager(f"/second/{container}").exists()) == (False, True)


def test_the_next_daemon_knows_the_links(api) -> None:
    api.start(api.create("sleep", "1000", name="db", host={"NetworkMode": "bridge"}))
    web = api.create("sleep", "1000", name="web", host={"NetworkMode": "bridge", "Links": ["db:store"]})
    api.start(web)
    line = next(line for line in api.exec(web, "cat", "/etc/hosts")[1].splitlines() if "\tstore " in line)
    crash(api)
    again(api)
    assert "STORE_NAME=/web/store" in api.exec(web, "env")[1].splitlines()
    api.ask("POST", "/networks/create", {"Name": "more"}, 201)
    api.ask("POST", "/networks/more/connect", {"Container": web})
    assert line in api.exec(web, "cat", "/etc/hosts")[1].splitlines()


def test_the_containers_of_a_build_that_was_cut_off_are_removed(api) -> None:
    dockerfile = b"FROM busybox\nRUN true\nRUN echo far; sleep 1000\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        tar.addfile(member, io.BytesIO(dockerfile))

    def build() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            api.daemon.request("POST", "/build?networkmode=none&rm=0", context.getvalue(), {"Content-Type": "application/x-tar"})

    kept = api.create("sleep", "1000")
    worker = threading.Thread(target=build)
    worker.start()
    until(lambda: any("sleep 1000" in one["Command"] for one in api.ask("GET", "/containers/json")))
    steps = {one["Id"] for one in api.ask("GET", "/containers/json?all=1")} - {kept}
    pids = [api.state(one)["Pid"] for one in steps]
    assert len(steps) == 2
    crash(api)
    worker.join()
    again(api)
    assert [one["Id"] for one in api.ask("GET", "/containers/json?all=1")] == [kept]
    until(lambda: not any(pid_exists(pid) for pid in pids if pid))
    assert not os.path.exists(f"{api.daemon.data_root}/tmp/builds")


def test_a_container_that_left_all_networks_gives_its_interfaces_back_at_its_end(api) -> None:
    """Its DNS is served from sockets inside: they would keep its namespace, and with it the interfaces."""
    network = api.ask("POST", "/networks/create", {"Name": "one"}, 201)["Id"]

    def pairs() -> list[str]:
        return [name for name in os.listdir("/sys/class/net") if name.startswith("veth")]

    before = pairs()
    for crashing in (False, True):
        container = api.create("sleep", "1000", host={"NetworkMode": "one"})
        api.start(container)
        api.ask("POST", "/networks/bridge/connect", {"Container": container})
        api.ask("POST", "/networks/one/disconnect", {"Container": container})
        assert len(pairs()) == len(before) + 1
        if crashing:
            crash(api)
            again(api)
        api.remove(container)
        until(lambda: pairs() == before)
    api.ask("DELETE", f"/networks/{network}", status=204)


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
