"""Sandboxes: a shim that is one before its first container and after its last; the containers are the real ctr's.

The containerd beside has no such service (1.6): the interface's own documentation says how it is to be.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from api_pair import PATIENCE_S, ours, told
from busybox_image import archive

from wherry.oci.platform import host_platform
from wherry.proto import events_pb2 as happened
from wherry.proto.services import sandbox_pb2 as api
from wherry.proto.types_pb2 import Mount, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_pair import Answer, Ours, Side
    from google.protobuf.message import Message

pytestmark = [pytest.mark.root, pytest.mark.peer, pytest.mark.skipif(not shutil.which("ctr"), reason="needs ctr (Debian: containerd)")]
BUSYBOX = "docker.io/library/busybox:latest"
SPACE = "of-ctr"
OWN = Sandbox(sandbox_id="pod", runtime=Sandbox.Runtime(name="io.containerd.wherry.v2"))
IN_POD = ("--annotation", "io.kubernetes.cri.sandbox-id=pod")


@pytest.fixture
def side() -> Iterator[Ours]:
    with ours() as one:
        one.ctr("images", "import", "-", data=archive("busybox:latest"))
        yield one
        assert shims() == []
        assert not list((one.folder / "run/containerd/sandboxes").glob("*/*"))


def call(side: Side, name: str, request: Message) -> Answer:
    return side.call(f"Controller.{name}", request, SPACE)


def shims() -> list[str]:
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.startswith("wherry-shim ")]


def create(side: Side) -> Answer:
    return call(side, "Create", api.ControllerCreateRequest(sandbox_id="pod", sandbox=OWN))


def state(side: Side) -> str:
    return str(call(side, "Status", api.ControllerStatusRequest(sandbox_id="pod"))[2].get("state", ""))


def test_a_life(side: Ours) -> None:
    assert create(side) == ("OK", "", {"sandbox_id": "pod"})
    assert create(side)[:2] == ("ALREADY_EXISTS", "sandbox pod already running: already exists")
    started = call(side, "Start", api.ControllerStartRequest(sandbox_id="pod"))[2]
    assert started["address"].startswith("unix:///")
    assert started["version"] == 2
    platform = call(side, "Platform", api.ControllerPlatformRequest(sandbox_id="pod"))[2]["platform"]
    assert platform["architecture"] == host_platform().architecture
    assert call(side, "Metrics", api.ControllerMetricsRequest(sandbox_id="pod")) == ("OK", "", {})
    assert call(side, "Update", api.ControllerUpdateRequest(sandbox_id="pod"))[0] == "OK"
    assert state(side) == "SANDBOX_READY"
    assert shims() == ["wherry-shim pod"]
    for name in ("one", "two"):  # both in the sandbox's shim, which stays when they have gone
        side.ctr("run", "-d", *IN_POD, BUSYBOX, name, "sleep", "1000")
        assert shims() == ["wherry-shim pod"]
    side.ctr("tasks", "rm", "-f", "one")
    side.ctr("run", "--rm", *IN_POD, BUSYBOX, "three", "true")
    waited: list[Answer] = []
    waiting = threading.Thread(target=lambda: waited.append(call(side, "Wait", api.ControllerWaitRequest(sandbox_id="pod"))))
    waiting.start()
    assert call(side, "Stop", api.ControllerStopRequest(sandbox_id="pod"))[0] == "OK"
    waiting.join(PATIENCE_S)
    assert waited[0][0] == "OK"
    assert waited[0][2]["exited_at"]["seconds"] > 0
    assert call(side, "Wait", api.ControllerWaitRequest(sandbox_id="pod")) == waited[0]
    assert state(side) == "SANDBOX_NOTREADY"
    assert side.ctr("tasks", "rm", "two", code=None)  # it was killed with the sandbox
    assert call(side, "Shutdown", api.ControllerShutdownRequest(sandbox_id="pod"))[0] == "OK"
    assert state(side) == ""


def test_another_daemon_finds_it_again(side: Ours) -> None:
    assert create(side)[0] == "OK"
    side.ctr("run", "-d", *IN_POD, BUSYBOX, "one", "sleep", "1000")
    side.stop(signal.SIGKILL)
    side.start()
    assert state(side) == "SANDBOX_READY"
    side.ctr("tasks", "rm", "-f", "one")
    assert shims() == ["wherry-shim pod"]
    assert call(side, "Shutdown", api.ControllerShutdownRequest(sandbox_id="pod"))[0] == "OK"


def test_by_its_record(side: Ours) -> None:
    assert call(side, "Create", api.ControllerCreateRequest(sandbox_id="pod"))[0] == "NOT_FOUND"
    assert side.call("Store.Create", api.StoreCreateRequest(sandbox=OWN), SPACE)[0] == "OK"
    assert call(side, "Create", api.ControllerCreateRequest(sandbox_id="pod"))[0] == "OK"
    assert call(side, "Shutdown", api.ControllerShutdownRequest(sandbox_id="pod"))[0] == "OK"


def test_what_cannot_be(side: Ours) -> None:
    rootfs = [Mount(type="bind", source="/", options=["rbind"])]
    refused = call(side, "Create", api.ControllerCreateRequest(sandbox_id="pod", sandbox=OWN, rootfs=rootfs))
    assert refused[:2] == ("UNIMPLEMENTED", "failed to create sandbox pod: a sandbox with a root of its own is not supported: not implemented")
    none = Sandbox(sandbox_id="pod", runtime=Sandbox.Runtime(name="io.containerd.none.v1"))
    refused = call(side, "Create", api.ControllerCreateRequest(sandbox_id="pod", sandbox=none))
    assert (refused[0], "failed to start new shim for sandbox pod" in refused[1]) == ("UNKNOWN", True)
    assert call(side, "Create", api.ControllerCreateRequest(sandbox_id="", sandbox=OWN))[0] == "INVALID_ARGUMENT"
    for name in ("Start", "Platform", "Wait", "Metrics", "Shutdown", "Update"):
        request = getattr(api, f"Controller{name}Request")(sandbox_id="none")
        assert call(side, name, request)[:2] == ("NOT_FOUND", "sandbox none: not found")
    assert call(side, "Stop", api.ControllerStopRequest(sandbox_id="none"))[0] == "OK"
    assert call(side, "Start", api.ControllerStartRequest(sandbox_id="pod", sandboxer="podsandbox"))[:2] == (
        "NOT_FOUND", "sandbox controller podsandbox: not found")


def test_it_is_told_of(side: Ours) -> None:
    def live(side: Side) -> None:
        create(side)
        call(side, "Start", api.ControllerStartRequest(sandbox_id="pod"))
        call(side, "Stop", api.ControllerStopRequest(sandbox_id="pod"))

    envelopes = told(side, ("topic~=sandbox",), live, SPACE, "/sandbox/exit")
    assert [one.topic for one in envelopes] == ["/sandbox/create", "/sandbox/start", "/sandbox/exit"]
    exited = happened.SandboxExit.FromString(envelopes[-1].event.value)
    assert (exited.sandbox_id, exited.exit_status, exited.exited_at.seconds > 0) == ("pod", 0, True)
    assert call(side, "Shutdown", api.ControllerShutdownRequest(sandbox_id="pod"))[0] == "OK"
