"""The socket of containerd's API: who gets it, what it costs, how it ends, and both front doors in one daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from api_pair import PATIENCE_S, Ours, Side, ours
from wherryd_box import PROGRAM, folders

from wherry.proto.services import events_pb2 as events
from wherry.proto.services import images_pb2 as images
from wherry.proto.services import namespaces_pb2 as namespaces
from wherry.proto.types_pb2 import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def alone() -> Iterator[Ours]:
    with ours() as one:
        yield one


@pytest.fixture(scope="module")
def standing() -> Iterator[Ours]:
    with ours() as one:
        yield one


def refused(*flags: str) -> str:
    done = subprocess.run([*PROGRAM, *flags], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    return done.stderr


def test_it_is_roots_alone_and_goes_with_the_daemon(alone: Ours) -> None:
    path = Path(alone.socket)
    with contextlib.ExitStack() as leaving:
        sides = [Side(alone.socket) for _ in range(8)]
        for _ in range(2):  # before the first client, and after
            found = path.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 0, 0)
            calls = [side.channel.unary_unary("/containerd.services.version.v1.Version/Version").future(b"", timeout=PATIENCE_S)
                     for side in sides]
            assert len({call.result() for call in calls}) == 1
        for side in sides:
            leaving.callback(side.channel.close)
    assert not (alone.folder / "containerd.sock.new").exists()
    assert alone.stop() == 0
    assert not path.exists()


def test_nothing_of_docker_is_there(standing: Ours) -> None:
    assert not Path("/run/wherry.sock").exists()
    assert subprocess.run(["ip", "link", "show", "wherry0"], capture_output=True, check=False).returncode != 0
    assert standing.call("Namespaces.List") == ("OK", "", {})


def test_a_socket_or_a_root_in_use_is_refused(standing: Ours, tmp_path: Path) -> None:
    other = ["--no-docker-api", "--exec-root", str(tmp_path / "run"), "--pidfile", str(tmp_path / "pid")]
    assert "somebody listens there" in refused(*other, "--data-root", str(tmp_path), "--containerd-address", standing.socket)
    assert "is in use by another daemon" in refused(*other, "--data-root", str(standing.folder / "data"), "--containerd-address", str(tmp_path / "s"))
    assert "has no address" in refused(*other, "--containerd-address", "")


def test_it_ends_although_clients_listen(alone: Ours) -> None:
    envelopes = alone.stream("Events.Subscribe", events.SubscribeRequest())
    assert alone.call("Namespaces.Create", namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name="n")))[0] == "OK"
    assert alone.stop() == 0
    with pytest.raises(grpc.RpcError):
        list(envelopes)


def test_what_was_answered_survives_kill_9(alone: Ours) -> None:
    target = Descriptor(media_type="m", digest="sha256:" + "a" * 64, size=1)
    for at in range(20):
        request = images.CreateImageRequest(image=images.Image(name=f"i{at}", target=target, labels={"at": str(at)}))
        assert alone.call("Images.Create", request)[0] == "OK"
    assert alone.call("Images.Delete", images.DeleteImageRequest(name="i7"))[0] == "OK"
    alone.stop(signal.SIGKILL)
    assert Path(alone.socket).exists()
    alone.start()
    found = {one["name"]: one["labels"] for one in alone.call("Images.List")[2]["images"]}
    assert found == {f"i{at}": {"at": str(at)} for at in range(20) if at != 7}


def test_a_reload_and_a_stack_of_tasks_do_no_harm(standing: Ours) -> None:
    for number, said in ((signal.SIGHUP, "reloaded: nothing new"), (signal.SIGUSR1, "Stack for")):
        standing.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE_S
        while said not in standing.log():
            assert time.monotonic() < deadline, standing.log()
            time.sleep(0.01)
    assert standing.call("Version.Version")[0] == "OK"


def test_both_front_doors_in_one_daemon() -> None:
    with folders() as daemon:
        daemon.start("--bridge=none", "--iptables=false")
        before = resident_mib(daemon.process.pid)
        side = Side(f"{daemon.folder}/exec/containerd.sock")
        assert side.call("Version.Version")[2]["version"]
        assert daemon.get("/version")[0] == 200
        assert resident_mib(daemon.process.pid) > before  # which it did not have before somebody asked
        side.channel.close()
        assert daemon.stop() == 0


def test_none_where_none_is_wanted() -> None:
    with folders() as daemon:
        daemon.start("--bridge=none", "--iptables=false", "--containerd-address", "")
        assert not os.path.exists(f"{daemon.folder}/exec/containerd.sock")


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


VANISHING = """
import sys, time, grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from wherry.proto.services import content_pb2, events_pb2, streaming_pb2
channel = grpc.insecure_channel("unix:" + sys.argv[1])
space = [("containerd-namespace", "n")]
def endless(one):
    yield one
    time.sleep(600)
init = streaming_pb2.StreamInit(id="s")
opened = Any(type_url=init.DESCRIPTOR.full_name, value=init.SerializeToString())
calls = [
    channel.unary_stream("/containerd.services.events.v1.Events/Subscribe")(b"", metadata=space),
    channel.stream_stream("/containerd.services.streaming.v1.Streaming/Stream", Any.SerializeToString)(endless(opened), metadata=space),
    channel.stream_stream("/containerd.services.content.v1.Content/Write", content_pb2.WriteContentRequest.SerializeToString)(
        endless(content_pb2.WriteContentRequest(action=1, ref="r", data=b"x")), metadata=space),
]
for call in calls[1:]:
    next(call)
print("here", flush=True)
time.sleep(600)
"""


def test_clients_that_vanish_leave_nothing(alone: Ours) -> None:
    assert alone.call("Version.Version")[0] == "OK"
    before = len(os.listdir(f"/proc/{alone.process.pid}/fd"))
    with contextlib.ExitStack() as leaving:
        client = leaving.enter_context(subprocess.Popen([sys.executable, "-c", VANISHING, alone.socket], stdout=subprocess.PIPE))
        leaving.callback(client.kill)
        assert client.stdout is not None
        assert client.stdout.readline() == b"here\n"
        assert len(os.listdir(f"/proc/{alone.process.pid}/fd")) > before
    deadline = time.monotonic() + PATIENCE_S
    while len(os.listdir(f"/proc/{alone.process.pid}/fd")) > before:
        assert time.monotonic() < deadline, alone.log()
        time.sleep(0.02)
    # What they had is free: the stream's name, and the write, which goes on.
    with subprocess.Popen([sys.executable, "-c", VANISHING, alone.socket], stdout=subprocess.PIPE) as again:
        assert again.stdout is not None
        assert again.stdout.readline() == b"here\n"
        again.kill()
