"""What containerd is told of a container, and what it says of ends and failures. Pure."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("google.protobuf")

from google.protobuf.timestamp_pb2 import Timestamp

from wherry.containerd import records
from wherry.proto.runc_pb2 import Options
from wherry.proto.services.containers_pb2 import CreateContainerRequest
from wherry.proto.services.tasks_pb2 import WaitResponse
from wherry.shim.protocol import ExecRequest, Exited, LaunchRequest

REQUEST = LaunchRequest(id="c1", bundle="/run/x/containers/c1", run_folder="/run/x/containers/c1", runtime="crun", systemd_cgroup=True)


def test_a_record_is_one_that_dockerd_would_have_written() -> None:
    record = CreateContainerRequest(container=records.container(REQUEST, b'{"ociVersion": "1.0.2"}')).container
    assert (record.id, record.runtime.name, record.spec.value) == ("c1", "io.containerd.runc.v2", b'{"ociVersion": "1.0.2"}')
    assert record.spec.type_url == "types.containerd.io/opencontainers/runtime-spec/1/Spec"
    assert record.runtime.options.type_url == "containerd.runc.v1.Options"
    options = Options.FromString(record.runtime.options.value)
    assert (options.binary_name, options.systemd_cgroup, options.no_pivot_root) == ("crun", True, False)
    assert records.bundle_of(record.labels) == REQUEST.bundle
    assert records.bundle_of({"else": "x"}) == ""


def test_an_exec_brings_its_terminal_and_its_size() -> None:
    found = records.process(ExecRequest(exec_id="e", process={"args": ["sh"]}, terminal=True, console_size=(30, 90)))
    assert json.loads(found["value"]) == {"args": ["sh"], "terminal": True, "consoleSize": {"height": 30, "width": 90}}


@pytest.mark.parametrize(("status", "signalled"), [(0, False), (127, False), (128, False), (137, True)])
def test_ends(status: int, signalled: bool) -> None:
    answer = WaitResponse(exit_status=status, exited_at=Timestamp(seconds=5, nanos=7))
    assert records.exited(answer, "e") == Exited(code=status, at_ns=5_000_000_007, exec_id="e", signalled=signalled)


@pytest.mark.parametrize(("message", "cause", "code"), [
    (('failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "x": '
     "executable file not found in $PATH: unknown"),
     'runc create failed: unable to start container process: exec: "x": executable file not found in $PATH', 127),
    ('OCI runtime exec failed: exec failed: unable to start container process: exec: "/etc": permission denied: unknown',
     'exec failed: unable to start container process: exec: "/etc": permission denied', 126),
    ("OCI runtime start failed: cannot start a stopped container: unknown", "cannot start a stopped container", 125),
])
def test_a_runtimes_refusal_is_told_in_its_own_words(message: str, cause: str, code: int) -> None:
    refused = records.refusal(RuntimeError(message))
    assert refused is not None
    assert (refused.message, refused.exit_code) == (cause, code)


def test_other_failures_are_no_refusals() -> None:
    assert records.refusal(RuntimeError("failed to start shim: exec: no such file or directory: unknown")) is None
