"""The task service on the real containerd (with its shim and runc) and on wherryd: the same codes, texts, answers and events.

Both run their containers in one world, so each has a namespace of its own: the cgroup of a container is named after it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from api_pair import Pair, dictionary, pair, plain, told
from busybox_image import archive
from google.protobuf.any_pb2 import Any as AnyMessage

from wherry.proto import events_pb2 as happened
from wherry.proto import task_pb2 as task
from wherry.proto import types_pb2 as types
from wherry.proto.services import snapshots_pb2 as snapshots
from wherry.proto.services import tasks_pb2 as tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from api_pair import Answer, Side
    from google.protobuf.message import Message

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not all(map(shutil.which, ("containerd", "ctr", "runc"))), reason="needs containerd, ctr and runc"),
]
BUSYBOX = "docker.io/library/busybox:latest"
OWN = "pid|std(in|out|err)"  # ids of processes, and fifos


class Twins:
    """Both sides, each in its namespace."""

    def __init__(self, both: Pair) -> None:
        self.sides: tuple[tuple[Side, str], ...] = ((both.real, "tasks-of-theirs"), (both.wherry, "tasks-of-ours"))
        self._log = both.wherry.log

    def same(self, name: str, request: Message, ignoring: str = OWN) -> Answer:
        """Makes the call on both and compares as `Pair.same` does; the answer of ours."""
        theirs, ours = (side.call(f"Tasks.{name}", request, space) for side, space in self.sides)
        assert self._plain(ours, ignoring) == self._plain(theirs, ignoring), (name, request, theirs, ours, self._log())
        return ours

    def ctr(self, *words: str, code: int | None = 0) -> str:
        """The real ctr on both prints the same, but for numbers (ids of processes, figures)."""
        theirs, ours = (_numberless(side.ctr(*words, code=code, namespace=space)).replace(space, "SPACE") for side, space in self.sides)
        assert ours == theirs, (words, self._log())
        return ours

    def _plain(self, answer: Answer, ignoring: str) -> Any:
        code, text, found = answer
        for _, space in self.sides:
            text = text.replace(space, "SPACE")
        return plain((code, text, found), ignoring)


def _numberless(text: str) -> str:
    return "\n".join(sorted(re.sub(r"\s+", " ", re.sub(r"\d+", "N", line)) for line in text.splitlines()))  # Go's maps have no order


@pytest.fixture(scope="module")
def both() -> Iterator[Twins]:
    with pair() as one:
        twins = Twins(one)
        for side, space in twins.sides:
            side.ctr("images", "import", "-", data=archive("busybox:latest"), namespace=space)
        yield twins
        for side, space in twins.sides:
            if left := side.ctr("tasks", "ls", "-q", namespace=space).split():  # of a test that failed
                side.ctr("tasks", "rm", "-f", *left, namespace=space)


@pytest.fixture
def running(both: Twins, request: pytest.FixtureRequest) -> Iterator[str]:
    """A container that sleeps, named after the test."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60].split("[")[0]
    both.ctr("run", "-d", BUSYBOX, name, "sleep", "1000")
    yield name
    both.ctr("tasks", "rm", "-f", name, code=None)
    both.ctr("containers", "rm", name)


def test_a_life(both: Twins) -> None:
    both.ctr("run", "-d", BUSYBOX, "one", "sleep", "1000")
    both.same("Get", tasks.GetRequest(container_id="one"))
    listed = [{one["id"] for one in side.call("Tasks.List", tasks.ListTasksRequest(), space)[2]["tasks"]} for side, space in both.sides]
    assert listed[0] == listed[1] >= {"one"}
    both.same("ListPids", tasks.ListPidsRequest(container_id="one"))
    assert "RUNNING" in both.ctr("tasks", "ls")
    assert both.ctr("tasks", "exec", "--exec-id", "e", "one", "echo", "hi") == "hi"
    both.ctr("tasks", "exec", "--exec-id", "e", "one", "sh", "-c", "exit 3", code=1)
    both.same("Pause", tasks.PauseTaskRequest(container_id="one"))
    assert "PAUSED" in both.ctr("tasks", "ls")
    both.same("Resume", tasks.ResumeTaskRequest(container_id="one"))
    both.same("CloseIO", tasks.CloseIORequest(container_id="one", stdin=True))
    both.same("Delete", tasks.DeleteTaskRequest(container_id="one"))
    both.same("Kill", tasks.KillRequest(container_id="one", signal=9, all=True))
    both.same("Wait", tasks.WaitRequest(container_id="one"))
    both.same("Kill", tasks.KillRequest(container_id="one", signal=9))
    both.same("Get", tasks.GetRequest(container_id="one"))
    both.same("Delete", tasks.DeleteTaskRequest(container_id="one"))
    both.ctr("containers", "rm", "one")


def test_what_is_not_there(both: Twins) -> None:
    for name, request in (
        ("Get", tasks.GetRequest(container_id="none")), ("Start", tasks.StartRequest(container_id="none")),
        ("Create", tasks.CreateTaskRequest(container_id="none")), ("Delete", tasks.DeleteTaskRequest(container_id="none")),
        ("Kill", tasks.KillRequest(container_id="none", signal=9)), ("Exec", tasks.ExecProcessRequest(container_id="none", exec_id="e")),
        ("Pause", tasks.PauseTaskRequest(container_id="none")), ("Resume", tasks.ResumeTaskRequest(container_id="none")),
        ("ListPids", tasks.ListPidsRequest(container_id="none")), ("Update", tasks.UpdateTaskRequest(container_id="none")),
        ("CloseIO", tasks.CloseIORequest(container_id="none", stdin=True)), ("Wait", tasks.WaitRequest(container_id="none")),
        ("ResizePty", tasks.ResizePtyRequest(container_id="none", width=1, height=1)),
        ("DeleteProcess", tasks.DeleteProcessRequest(container_id="none", exec_id="e")),
        ("Checkpoint", tasks.CheckpointTaskRequest(container_id="none")),
    ):
        assert both.same(name, request)[0] != "OK"


def test_processes_that_are_not_there(both: Twins, running: str) -> None:
    for name, request in (
        ("Start", tasks.StartRequest(container_id=running, exec_id="e")), ("Kill", tasks.KillRequest(container_id=running, exec_id="e", signal=9)),
        ("DeleteProcess", tasks.DeleteProcessRequest(container_id=running, exec_id="e")),
        ("Get", tasks.GetRequest(container_id=running, exec_id="e")),
        ("Wait", tasks.WaitRequest(container_id=running, exec_id="e")), ("Start", tasks.StartRequest(container_id=running)),
        ("ResizePty", tasks.ResizePtyRequest(container_id=running, exec_id="e", width=1, height=1)),
        ("CloseIO", tasks.CloseIORequest(container_id=running, exec_id="e", stdin=True)),
        ("Create", tasks.CreateTaskRequest(container_id=running)),
    ):
        assert both.same(name, request)[0] != "OK", name


def process(*command: str) -> AnyMessage:
    """What an exec is to run."""
    spec = {"args": command, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    return AnyMessage(type_url="types.containerd.io/opencontainers/runtime-spec/1/Process", value=json.dumps(spec).encode())


def test_execs_in_steps(both: Twins, running: str) -> None:
    def get() -> None:
        both.same("Get", tasks.GetRequest(container_id=running, exec_id="e"))

    asked = tasks.ExecProcessRequest(container_id=running, exec_id="e", spec=process("sleep", "1000"))
    both.same("Exec", tasks.ExecProcessRequest(container_id=running, spec=process("true")))
    both.same("Exec", asked)
    assert both.same("Exec", asked)[0] == "ALREADY_EXISTS"
    get()
    both.same("Kill", tasks.KillRequest(container_id=running, exec_id="e", signal=9))
    both.same("Start", tasks.StartRequest(container_id=running, exec_id="e"))
    both.same("Start", tasks.StartRequest(container_id=running, exec_id="e"))
    get()
    both.same("ListPids", tasks.ListPidsRequest(container_id=running), "pid|value")
    both.same("ResizePty", tasks.ResizePtyRequest(container_id=running, exec_id="e", width=80, height=24))
    both.same("DeleteProcess", tasks.DeleteProcessRequest(container_id=running, exec_id="e"))
    both.same("Kill", tasks.KillRequest(container_id=running, exec_id="e", signal=15))
    both.same("Wait", tasks.WaitRequest(container_id=running, exec_id="e"))
    get()
    both.same("Kill", tasks.KillRequest(container_id=running, exec_id="e", signal=15))
    both.same("Start", tasks.StartRequest(container_id=running, exec_id="e"))
    assert both.same("DeleteProcess", tasks.DeleteProcessRequest(container_id=running, exec_id="e"))[2]["exit_status"] == 143
    get()
    both.same("Exec", tasks.ExecProcessRequest(container_id=running, exec_id="bad id!", spec=process("true")))
    both.same("Exec", tasks.ExecProcessRequest(container_id=running, exec_id="n", spec=process("no-such-program")))
    for side, space in both.sides:
        code, text, _ = side.call("Tasks.Start", tasks.StartRequest(container_id=running, exec_id="n"), space)
        assert (code, "executable file not found" in text) == ("UNKNOWN", True), text
    for side, space in both.sides:  # as ended with 0 there, with 137 here
        assert side.call("Tasks.DeleteProcess", tasks.DeleteProcessRequest(container_id=running, exec_id="n"), space)[0] == "OK"


def update(container_id: str, **resources: object) -> tasks.UpdateTaskRequest:
    packed = AnyMessage(type_url="types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", value=json.dumps(resources).encode())
    return tasks.UpdateTaskRequest(container_id=container_id, resources=packed)


def test_limits_are_changed(both: Twins, running: str) -> None:
    limits = {"pids": {"limit": 77}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512}}
    assert both.same("Update", update(running, **limits))[0] == "OK"
    for name, value in (("pids/pids.max", "77"), ("memory/memory.limit_in_bytes", str(64 << 20)), ("cpu/cpu.shares", "512")):
        for side, space in both.sides:
            pid = side.call("Tasks.Get", tasks.GetRequest(container_id=running), space)[2]["process"]["pid"]
            assert read_limit(pid, name) == value
    metrics = [side.call("Tasks.Metrics", tasks.MetricsRequest(filters=[f"id=={running}"]), space) for side, space in both.sides]
    assert [(code, text, [one["id"] for one in found["metrics"]]) for code, text, found in metrics] == [("OK", "", [running])] * 2


def read_limit(pid: int, name: str) -> str:
    """A file of the process's cgroup (v1)."""
    controller, file = name.split("/")
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as lines:
        path = next(line.rstrip("\n").split(":", 2)[2] for line in lines if controller in line.split(":")[1].split(","))
    with open(f"/sys/fs/cgroup/{controller}{path}/{file}", encoding="ascii") as limit:
        return limit.read().strip()


def test_metrics_and_their_filters(both: Twins, running: str) -> None:
    for filters in ((f"id=={running}",), ("id==nobody",), ("namespace==nowhere",), (f"id=={running}", "id==nobody")):
        answers = [side.call("Tasks.Metrics", tasks.MetricsRequest(filters=filters), space) for side, space in both.sides]
        assert len({(code, text, tuple(one["id"] for one in found.get("metrics", ()))) for code, text, found in answers}) == 1, answers
    bad = {side.call("Tasks.Metrics", tasks.MetricsRequest(filters=["id=="]), space)[1] for side, space in both.sides}
    assert bad == {"filters: parse error: [id==]: expected value or quoted: invalid argument"}


def test_all_are_killed_at_once(both: Twins) -> None:
    both.ctr("run", "-d", BUSYBOX, "many", "sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000 & wait; wait")
    both.same("Kill", tasks.KillRequest(container_id="many", signal=0))
    assert {side.call("Tasks.Kill", tasks.KillRequest(container_id="many", signal=99), space)[0] for side, space in both.sides} == {"UNKNOWN"}
    both.same("Kill", tasks.KillRequest(container_id="many", signal=9, all=True))
    assert both.same("Wait", tasks.WaitRequest(container_id="many"))[2]["exit_status"] == 137
    both.same("ListPids", tasks.ListPidsRequest(container_id="many"))
    both.same("Delete", tasks.DeleteTaskRequest(container_id="many"))
    both.ctr("containers", "rm", "many")


def test_what_a_stopped_one_answers(both: Twins) -> None:
    both.ctr("run", "-d", BUSYBOX, "stopped", "sh", "-c", "exit 7")
    assert both.same("Wait", tasks.WaitRequest(container_id="stopped"))[2]["exit_status"] == 7
    for name, request in (
        ("Pause", tasks.PauseTaskRequest(container_id="stopped")), ("Resume", tasks.ResumeTaskRequest(container_id="stopped")),
        ("Start", tasks.StartRequest(container_id="stopped")), ("Kill", tasks.KillRequest(container_id="stopped", signal=9)),
        ("Kill", tasks.KillRequest(container_id="stopped", signal=9, all=True)),
        ("Exec", tasks.ExecProcessRequest(container_id="stopped", exec_id="e", spec=process("true"))),
        ("CloseIO", tasks.CloseIORequest(container_id="stopped", stdin=True)),
        ("ResizePty", tasks.ResizePtyRequest(container_id="stopped", width=1, height=1)),
        ("Update", update("stopped", pids={"limit": 5})), ("ListPids", tasks.ListPidsRequest(container_id="stopped")),
    ):
        both.same(name, request)
    both.ctr("tasks", "rm", "stopped", code=None)
    both.same("Delete", tasks.DeleteTaskRequest(container_id="stopped"))
    both.ctr("containers", "rm", "stopped")


def test_stdin_ends_when_it_is_closed(both: Twins, tmp_path: Path) -> None:
    both.ctr("containers", "create", BUSYBOX, "stdin", "cat")
    for number, (side, space) in enumerate(both.sides):
        folder = tmp_path / str(number)
        folder.mkdir()
        fifos = {name: str(folder / name) for name in ("stdin", "stdout", "stderr")}
        for path in fifos.values():
            os.mkfifo(path)
        stdout, stderr = (os.open(fifos[name], os.O_RDONLY | os.O_NONBLOCK) for name in ("stdout", "stderr"))
        mounts = side.message("Snapshots.Mounts", snapshots.MountsRequest(snapshotter="overlayfs", key="stdin"), space).mounts
        side.message("Tasks.Create", tasks.CreateTaskRequest(container_id="stdin", rootfs=mounts, **fifos), space)
        side.message("Tasks.Start", tasks.StartRequest(container_id="stdin"), space)
        with open(fifos["stdin"], "wb") as stdin:
            stdin.write(b"in and out\n")
        os.set_blocking(stdout, True)
        assert os.read(stdout, 100) == b"in and out\n"
        got = side.message("Tasks.Get", tasks.GetRequest(container_id="stdin"), space)
        assert (got.process.status, got.process.stdin) == (task.RUNNING, fifos["stdin"])  # another client may come
        side.message("Tasks.CloseIO", tasks.CloseIORequest(container_id="stdin", stdin=True), space)
        assert side.message("Tasks.Wait", tasks.WaitRequest(container_id="stdin"), space).exit_status == 0
        assert os.read(stdout, 100) == b""
        os.close(stdout)
        os.close(stderr)
    both.same("Delete", tasks.DeleteTaskRequest(container_id="stdin"))
    both.ctr("containers", "rm", "stdin")


def test_what_a_created_one_answers(both: Twins) -> None:
    both.ctr("containers", "create", BUSYBOX, "created", "sleep", "1000")
    for side, space in both.sides:
        mounts = side.message("Snapshots.Mounts", snapshots.MountsRequest(snapshotter="overlayfs", key="created"), space).mounts
        side.message("Tasks.Create", tasks.CreateTaskRequest(container_id="created", rootfs=mounts), space)
    for name, wanted in (
        ("Get", tasks.GetRequest(container_id="created")), ("Pause", tasks.PauseTaskRequest(container_id="created")),
        ("Resume", tasks.ResumeTaskRequest(container_id="created")), ("ListPids", tasks.ListPidsRequest(container_id="created")),
        ("CloseIO", tasks.CloseIORequest(container_id="created", stdin=True)),
        ("ResizePty", tasks.ResizePtyRequest(container_id="created", width=1, height=1)),
        ("Kill", tasks.KillRequest(container_id="created", signal=9)), ("Wait", tasks.WaitRequest(container_id="created")),
        ("Start", tasks.StartRequest(container_id="created")), ("Delete", tasks.DeleteTaskRequest(container_id="created")),
    ):
        both.same(name, wanted)
    both.ctr("containers", "rm", "created")


def test_ctr_tasks(both: Twins, running: str) -> None:
    both.ctr("tasks", "pause", running)
    both.ctr("tasks", "pause", running, code=None)
    both.ctr("tasks", "exec", "--exec-id", "e", running, "true", code=1)
    both.ctr("tasks", "resume", running)
    both.ctr("tasks", "ps", running)
    both.ctr("tasks", "metrics", "--format", "json", "nobody", code=1)
    both.ctr("tasks", "exec", "-d", "--exec-id", "d", running, "sleep", "1000")
    both.ctr("tasks", "ps", running)
    both.ctr("tasks", "kill", "-s", "SIGKILL", "--exec-id", "d", running)
    both.same("Wait", tasks.WaitRequest(container_id=running, exec_id="d"))
    both.ctr("tasks", "rm", "--exec-id", "d", running, code=None)
    both.ctr("tasks", "rm", running, code=1)
    both.ctr("tasks", "start", running, code=1)
    both.ctr("containers", "rm", running, code=1)
    both.ctr("tasks", "kill", "-a", "-s", "9", running)
    both.same("Wait", tasks.WaitRequest(container_id=running))
    both.ctr("tasks", "kill", running, code=None)
    both.ctr("tasks", "ls")
    both.ctr("tasks", "rm", running, code=None)
    both.ctr("tasks", "start", "-d", running)
    both.ctr("tasks", "kill", "-s", "KILL", running)


def test_checkpoints_are_refused(both: Twins, running: str) -> None:
    side, space = both.sides[1]
    refused = side.call("Tasks.Checkpoint", tasks.CheckpointTaskRequest(container_id=running), space)
    assert refused[:2] == ("UNIMPLEMENTED", "checkpoints of containers are not supported: not implemented")
    assert "checkpoints of containers are not supported" in side.ctr("tasks", "checkpoint", running, namespace=space, code=1)
    request = tasks.CreateTaskRequest(container_id=running, checkpoint=types.Descriptor(media_type="m", digest="sha256:" + "0" * 64, size=1))
    assert side.call("Tasks.Create", request, space)[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("filters", [
    (), ("topic~=|^/tasks/|",), ('topic=="/tasks/exit"',), ("event.container_id==lived,topic~=exec",), ('topic!="/tasks/create",topic~=tasks',),
], ids=["all", "tasks", "exits", "execs", "not created"])
def test_events_of_a_life(both: Twins, filters: tuple[str, ...]) -> None:
    lives = []
    for side, space in both.sides:
        def live(side: Side, space: str = space) -> None:
            def ctr(*words: str, code: int = 0) -> None:
                side.ctr(*words, code=code, namespace=space)

            ctr("run", "-d", BUSYBOX, "lived", "sleep", "1000")
            ctr("tasks", "exec", "--exec-id", "e", "lived", "sh", "-c", "exit 3", code=1)
            ctr("tasks", "pause", "lived")
            ctr("tasks", "resume", "lived")
            ctr("tasks", "kill", "-s", "KILL", "lived")
            assert side.call("Tasks.Wait", tasks.WaitRequest(container_id="lived"), space)[0] == "OK"
            assert side.call("Tasks.Delete", tasks.DeleteTaskRequest(container_id="lived"), space)[0] == "OK"

        envelopes = told(side, filters, live, space, "/tasks/delete")
        side.ctr("containers", "rm", "lived", namespace=space)
        lives.append([(one.topic, one.event.type_url, plain(fields_of(one.event), f"{OWN}|bundle|rootfs|parent|key"))
                      for one in envelopes if one.topic.startswith("/tasks/")])
    theirs, ours = lives
    assert ours == theirs


def fields_of(event: AnyMessage) -> dict[str, Any]:
    message = getattr(happened, event.type_url.rpartition(".")[2])()
    message.ParseFromString(event.value)
    return dictionary(message)
