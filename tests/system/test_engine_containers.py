"""Containers through the whole engine: created, run, stopped, listed, renamed, limited, removed."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from containers_by_api import Api, until
from wherryd_box import wherryd

pytestmark = [pytest.mark.root, pytest.mark.net]


@pytest.fixture(scope="module")
def api():
    with wherryd() as daemon:
        yield Api(daemon)


def test_load_create_start_wait_logs_remove(api) -> None:
    container = api.create("sh", "-c", "echo out; echo err >&2; exit 3", name="first")
    assert api.state("first")["Status"] == "created"
    api.start("first")
    assert api.wait("first") == 3
    assert api.logs("first", "stdout=1") == "out\n"
    assert api.logs("first", "stderr=1") == "err\n"
    assert api.logs("first", "stdout=1&stderr=1&tail=1") in ("err\n", "out\n")
    stamped = api.logs("first", "stdout=1&timestamps=1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z out\n", stamped)
    state = api.state("first")
    assert (state["Status"], state["ExitCode"], state["Pid"], state["Running"]) == ("exited", 3, 0, False)
    api.remove(container)
    assert api.refused("GET", "/containers/first/json", 404) == "No such container: first"
    until(lambda: not os.path.exists(f"{api.daemon.data_root}/containers/{container}"))
    assert not os.path.exists(f"{api.daemon.data_root}/image/overlay2/layerdb/mounts/{container}")
    until(lambda: not os.listdir(api.daemon.folder / "exec" / "containers"))


def test_files_on_disk_while_it_runs(api) -> None:
    with api.running(name="ondisk", Labels={"a": "b"}, host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}) as container:
        folder = Path(api.daemon.data_root, "containers", container)
        record = json.loads((folder / "config.v2.json").read_text())
        assert (record["Name"], record["State"]["Running"], record["Config"]["Labels"]) == ("/ondisk", True, {"a": "b"})
        assert record["State"]["Pid"] == api.state(container)["Pid"]
        assert json.loads((folder / "hostconfig.json").read_text())["RestartPolicy"]["MaximumRetryCount"] == 2
        assert (folder / "hostname").read_text() == container[:12] + "\n"
        assert api.exec(container, "cat", "/etc/hostname") == (0, container[:12] + "\n")


def test_a_hosts_file_of_another_one_that_cannot_be_written_is_no_reason_not_to_run(api) -> None:
    with api.running(name="db") as target, api.running(name="web", host={"Links": ["db:store"]}) as container:
        Path(api.daemon.data_root, "containers", container, "hosts").unlink()
        api.ask("POST", f"/containers/{target}/restart?t=0", status=204)
        assert api.state(target)["Status"] == "running"


@pytest.mark.parametrize(("command", "code", "words"), [
    ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'),
    ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied: unknown'),
])
def test_a_start_that_fails_leaves_it_created_with_the_reason(api, command, code, words) -> None:
    container = api.create(command)
    try:
        message = api.refused("POST", f"/containers/{container}/start", 400)
        assert message.startswith("failed to create task for container: ")
        assert message.endswith(words)
        state = api.state(container)
        assert (state["Status"], state["ExitCode"], state["Error"]) == ("created", code, message)
        until(lambda: not os.path.exists(api.daemon.folder / "exec" / "containers" / container))
    finally:
        api.remove(container)


def test_a_start_that_fails_on_a_network_gives_everything_back(api) -> None:
    for _ in range(3):
        container = api.create("nosuch", host={"NetworkMode": "bridge"})
        assert "executable file not found" in api.refused("POST", f"/containers/{container}/start", 400)
        api.remove(container)
    assert api.run("true", host={"NetworkMode": "bridge"})[0] == 0


def test_exit_codes_of_signals_and_stops(api) -> None:
    assert api.run("sh", "-c", "kill -9 $$")[0] in (0, 137)  # the init of a pid namespace does not die of its own signals
    with api.running("sh", "-c", 'trap "exit 5" TERM; while :; do sleep 0.05; done') as container:
        until(lambda: api.exec(container, "true") == (0, ""))
        api.ask("POST", f"/containers/{container}/stop?t=10", status=204)
        assert api.state(container)["ExitCode"] == 5
        api.ask("POST", f"/containers/{container}/stop", status=304)
    with api.running("sleep", "1000") as container:
        api.ask("POST", f"/containers/{container}/stop?t=0", status=204)
        assert api.state(container)["ExitCode"] == 137
    with api.running("sleep", "1000") as container:
        assert "Invalid signal: FOO" in api.refused("POST", f"/containers/{container}/kill?signal=FOO", 400)
        api.ask("POST", f"/containers/{container}/kill", status=204)
        assert api.wait(container) == 137
        message = api.refused("POST", f"/containers/{container}/kill", 409)
        assert message == f"Cannot kill container: {container}: Container {container} is not running"


def test_out_of_memory_is_told(api) -> None:
    container = api.create("sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null; tail /dev/zero",
                           host={"Memory": 24 << 20, "MemorySwap": 24 << 20, "ShmSize": 100 << 20})
    try:
        api.start(container)
        api.wait(container)
        assert api.state(container)["OOMKilled"] is True
    finally:
        api.remove(container)


def test_pausing(api) -> None:
    with api.running() as container:
        api.ask("POST", f"/containers/{container}/pause", status=204)
        assert api.state(container)["Status"] == "paused"
        assert api.refused("POST", f"/containers/{container}/pause", 409) == f"Container {container} is already paused"
        assert "is paused" in api.refused("POST", f"/containers/{container}/exec", 409, {"Cmd": ["true"]})
        assert "cannot start a paused container" in api.refused("POST", f"/containers/{container}/start", 409)
        assert "Unpause and then stop" in api.refused("DELETE", f"/containers/{container}", 409)
        api.ask("POST", f"/containers/{container}/unpause", status=204)
        assert api.exec(container, "echo", "x") == (0, "x\n")
        assert api.refused("POST", f"/containers/{container}/unpause", 500) == f"Container {container} is not paused"
        api.ask("POST", f"/containers/{container}/pause", status=204)
        api.ask("POST", f"/containers/{container}/kill", status=204)
        assert api.wait(container) == 137


def test_names(api) -> None:
    with api.running(name="taken") as container:
        message = api.refused("POST", "/containers/create?name=taken", 409, {"Image": "busybox"})
        assert message == (f'Conflict. The container name "/taken" is already in use by container "{container}". You have to remove '
                           "(or rename) that container to be able to reuse that name.")
        assert "only [a-zA-Z0-9]" in api.refused("POST", "/containers/create?name=!!", 400, {"Image": "busybox"})
        api.ask("POST", "/containers/taken/rename?name=fresh", status=204)
        assert api.inspect("fresh")["Name"] == "/fresh"
        api.refused("GET", "/containers/taken/json", 404)
        assert api.refused("POST", "/containers/fresh/rename?name=fresh", 400).startswith("Renaming a container with the same name")
        assert api.inspect(container[:9])["Id"] == container
    unnamed = api.create("true")
    assert re.fullmatch(r"/[a-z]+_[a-z]+\d?", api.inspect(unnamed)["Name"])
    api.remove(unnamed)


def test_restart_policies(api) -> None:
    container = api.create("sh", "-c", "exit 4", host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    try:
        api.start(container)
        until(lambda: api.state(container)["Status"] == "exited" and api.inspect(container)["RestartCount"] == 2)
        assert api.state(container)["ExitCode"] == 4
    finally:
        api.remove(container)
    with api.running("sleep", "1000", host={"RestartPolicy": {"Name": "always"}}) as container:
        first = api.state(container)["Pid"]
        os.kill(first, 9)
        until(lambda: api.state(container)["Pid"] not in (0, first))
        api.ask("POST", f"/containers/{container}/kill", status=204)
        assert api.state(container)["Status"] == "exited"


def test_auto_remove_and_waiting_for_it(api) -> None:
    container = api.create("sh", "-c", "exit 6", host={"AutoRemove": True}, Volumes={"/v": {}})
    volume = api.inspect(container)["Mounts"][0]["Name"]
    api.start(container)
    assert api.wait(container, "removed") == 6
    api.refused("GET", f"/containers/{container}/json", 404)
    api.refused("GET", f"/volumes/{volume}", 404)


def test_restart_by_hand_keeps_it(api) -> None:
    with api.running("sleep", "1000", host={"AutoRemove": True}) as container:
        first = api.state(container)["Pid"]
        api.ask("POST", f"/containers/{container}/restart?t=0", status=204)
        assert api.state(container)["Pid"] not in (0, first)


def test_volumes_and_binds(api, tmp_path) -> None:
    (tmp_path / "in").write_text("from the host")
    host = {"Binds": [f"{tmp_path}:/host:ro", "keep:/data", f"{tmp_path}/made:/made"], "Tmpfs": {"/scratch": "size=1m"}}
    script = "cat /host/in; touch /host/x 2>/dev/null || echo ' ro'; echo 1 >/data/f; touch /made/y; df /scratch | tail -1 | awk '{print $1}'"
    assert api.run("sh", "-c", script, host=host) == (0, "from the host ro\ntmpfs\n")
    assert (tmp_path / "made" / "y").exists()
    assert api.run("cat", "/data/f", host={"Binds": ["keep:/data"]}) == (0, "1\n")
    assert api.ask("GET", "/volumes/keep")["Name"] == "keep"
    with api.running(host={"Binds": ["keep:/data"]}, name="giver"):
        assert api.run("cat", "/data/f", host={"VolumesFrom": ["giver"]}) == (0, "1\n")
        assert "volume is in use" in api.refused("DELETE", "/volumes/keep", 409)
    api.ask("DELETE", "/volumes/keep", status=204)
    missing = {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}], "NetworkMode": "none"}
    message = api.refused("POST", "/containers/create", 400, {"Image": "busybox", "Cmd": ["true"], "HostConfig": missing})
    assert message == 'invalid mount config for type "bind": bind source path does not exist: /no/such'


def test_a_new_volume_gets_what_the_image_has_there(api) -> None:
    code, text = api.run("ls", "/etc", host={"Binds": ["etc-copy:/etc"]})
    assert code == 0
    assert {"passwd", "group"} <= set(text.split())
    assert "passwd" not in api.run("ls", "/etc", host={"Mounts": [{
        "Type": "volume", "Source": "etc-empty", "Target": "/etc", "VolumeOptions": {"NoCopy": True}}]})[1].split()
    for name in ("etc-copy", "etc-empty"):
        api.ask("DELETE", f"/volumes/{name}", status=204)


def test_limits_and_updates(api) -> None:
    with api.running(host={"Memory": 64 << 20, "PidsLimit": 20}) as container:
        where = "/sys/fs/cgroup/memory/memory.limit_in_bytes" if os.path.isdir("/sys/fs/cgroup/memory") else "/sys/fs/cgroup/memory.max"
        assert api.exec(container, "cat", where) == (0, f"{64 << 20}\n")
        api.ask("POST", f"/containers/{container}/update", {"Memory": 32 << 20, "MemorySwap": 64 << 20})
        assert api.exec(container, "cat", where) == (0, f"{32 << 20}\n")
        assert api.inspect(container)["HostConfig"]["PidsLimit"] == 20
        assert "6MB" in api.refused("POST", f"/containers/{container}/update", 400, {"Memory": 10})


def test_namespaces_of_another_container(api) -> None:
    with api.running(name="donor", host={"IpcMode": "shareable", "NetworkMode": "bridge"}):
        code, text = api.run("sh", "-c", "hostname; ps | grep -c 'sleep 1000'", host={
            "NetworkMode": "container:donor", "PidMode": "container:donor", "IpcMode": "container:donor"})
        assert code == 0
        assert text.splitlines()[0] == api.inspect("donor")["Config"]["Hostname"]
    alone = api.create("true", host={"NetworkMode": "container:nobody"})
    assert "No such container: nobody" in api.refused("POST", f"/containers/{alone}/start", 404)
    api.remove(alone)


def test_lists(api) -> None:
    with api.running(name="listed", Labels={"mark": "1"}):
        (entry,) = api.ask("GET", '/containers/json?size=1&filters={"label":["mark=1"]}')
        assert (entry["Names"], entry["State"], entry["Image"], entry["Command"]) == (["/listed"], "running", "busybox", "sleep 1000")
        assert entry["Status"].startswith("Up ")
        assert entry["SizeRootFs"] > 1 << 20
    assert api.ask("GET", '/containers/json?all=1&filters={"label":["mark=1"]}') == []


def test_top_stats_and_changes(api) -> None:
    with api.running("sh", "-c", "touch /made; rm /etc/group; sleep 1000", host={"NetworkMode": "bridge"}) as container:
        until(lambda: len(api.ask("GET", f"/containers/{container}/changes") or ()) >= 3)
        table = api.ask("GET", f"/containers/{container}/top?ps_args=-o+pid,args")
        assert table["Titles"] == ["PID", "COMMAND"]
        assert {row[1] for row in table["Processes"]} >= {"sleep 1000"}
        job = api.ask("POST", f"/containers/{container}/exec", {"Cmd": ["true"]})["Id"]
        api.ask("POST", f"/exec/{job}/start", {"Detach": True})
        until(lambda: not api.ask("GET", f"/exec/{job}/json")["Running"])
        usage = api.ask("GET", f"/containers/{container}/stats?stream=0")  # the child parked for the next exec does not count
        assert usage["memory_stats"]["usage"] > 0
        assert usage["pids_stats"]["current"] == 1
        assert usage["networks"]["eth0"]["rx_bytes"] >= 0
        assert usage["precpu_stats"]["cpu_usage"]["total_usage"] <= usage["cpu_stats"]["cpu_usage"]["total_usage"]
        changed = {one["Path"]: one["Kind"] for one in api.ask("GET", f"/containers/{container}/changes")}
        assert changed == {"/made": 1, "/etc": 0, "/etc/group": 2}


def test_removing_what_runs(api) -> None:
    with api.running() as container:
        message = api.refused("DELETE", f"/containers/{container}", 409)
        assert message == (f"You cannot remove a running container {container}. Stop the container before attempting removal or "
                           "force remove")
        api.ask("DELETE", f"/containers/{container}?force=1", status=204)
        api.refused("DELETE", f"/containers/{container}?force=1", 404)


def test_pruning(api) -> None:
    gone = api.create("true", Labels={"prune": "me"})
    with api.running(Labels={"prune": "me"}) as kept:
        answer = api.ask("POST", '/containers/prune?filters={"label":["prune=me"]}')
        assert answer["ContainersDeleted"] == [gone]
        assert api.state(kept)["Status"] == "running"


def test_health(api) -> None:
    check = {"Test": ["CMD-SHELL", "test ! -e /sick || { echo why; false; }"], "Interval": 100_000_000, "Retries": 2}
    with api.running(Healthcheck=check) as container:
        until(lambda: api.state(container)["Health"]["Status"] == "healthy")
        api.exec(container, "touch", "/sick")
        health = until(lambda: (api.state(container)["Health"] if api.state(container)["Health"]["Status"] == "unhealthy" else None))
        assert health["Log"][-1]["Output"] == "why\n"
        assert health["FailingStreak"] >= 2
        assert "(unhealthy)" in api.ask("GET", "/containers/json")[0]["Status"]
        api.exec(container, "rm", "/sick")
        until(lambda: api.state(container)["Health"]["Status"] == "healthy")


def test_events_tell_a_containers_life(api) -> None:
    container = api.create("true", name="lively", Labels={"l": "1"})
    api.start(container)
    api.wait(container)
    api.remove(container)
    _, lines = api.daemon.request("GET", f'/events?since=0&until={time.time():.9f}&filters={{"type":["container"]}}')
    told = [json.loads(line) for line in (lines if isinstance(lines, bytes) else json.dumps(lines).encode()).splitlines()]
    mine = [one for one in told if one["Actor"]["ID"] == container]
    assert [one["Action"] for one in mine if one["Action"] != "kill"] == ["create", "start", "die", "destroy"]
    assert mine[0]["Actor"]["Attributes"] == {"l": "1", "image": "busybox", "name": "lively"}
    assert (mine[0]["status"], mine[0]["from"]) == ("create", "busybox")
    assert next(one for one in mine if one["Action"] == "die")["Actor"]["Attributes"]["exitCode"] == "0"


def test_bad_input(api) -> None:
    assert api.refused("POST", "/containers/create", 404, {"Image": "nosuch", "Cmd": ["x"]}) == "No such image: nosuch:latest"
    assert "Config cannot be empty" in api.refused("POST", "/containers/create", 400, {})
    assert "unknown policy 'foo'" in api.refused("POST", "/containers/create", 400, {
        "Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "foo"}}})
    assert "unknown log opt 'foo'" in api.refused("POST", "/containers/create", 400, {
        "Image": "busybox", "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"foo": "1"}}}})
    assert "runtime name: foo" in api.refused("POST", "/containers/create", 400, {"Image": "busybox", "HostConfig": {"Runtime": "foo"}})
    api.refused("POST", "/containers/create", 501, {"Image": "busybox", "HostConfig": {"LogConfig": {"Type": "syslog"}}})
    assert api.ask("GET", "/containers/json?all=1") == []
    for method, path in (("POST", "/containers/x/start"), ("DELETE", "/containers/x"), ("GET", "/containers/x/logs?stdout=1"),
                         ("POST", "/containers/x/wait"), ("GET", "/exec/x/json")):
        assert "No such" in api.refused(method, path, 404)


def test_removing_by_force_what_its_policy_starts_again_and_again(api) -> None:
    for pause in (0.0, 0.05, 0.1, 0.15):
        container = api.create("false", host={"RestartPolicy": {"Name": "always"}})
        api.start(container)
        time.sleep(pause)
        api.ask("DELETE", f"/containers/{container}?force=1", status=204)
        api.refused("GET", f"/containers/{container}/json", 404)


def test_a_container_that_joins_a_network_knows_its_names(api) -> None:
    api.ask("POST", "/networks/create", {"Name": "joined"}, 201)
    try:
        with api.running(name="there", host={"NetworkMode": "joined"}), api.running(host={"NetworkMode": "bridge"}) as container:
            assert api.exec(container, "ping", "-c1", "-W1", "there")[0] == 1
            api.ask("POST", "/networks/joined/connect", {"Container": container})
            assert api.exec(container, "cat", "/etc/resolv.conf")[1].startswith("nameserver 127.0.0.11\n")
            assert api.exec(container, "ping", "-c1", "-W5", "there")[0] == 0
            address = api.inspect(container)["NetworkSettings"]["Networks"]["joined"]["IPAddress"]
            assert f"{address}\t{container[:12]}\n" in api.exec(container, "cat", "/etc/hosts")[1]
            api.ask("POST", "/networks/joined/disconnect", {"Container": container})
            assert address not in api.exec(container, "cat", "/etc/hosts")[1]
    finally:
        api.ask("DELETE", "/networks/joined", status=204)
