"""What containerd is told of a container: its record, its task, an exec; and what it says of their ends. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wherry.proto.runc_pb2 import Options
from wherry.shim.driver import exit_code_for, process_of
from wherry.shim.protocol import Exited, StartFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.shim.protocol import ExecRequest, LaunchRequest

RUNTIME = "io.containerd.runc.v2"
# dockerd's label: where the bundle of a container is that belongs to an engine.
BUNDLE_LABEL = "com.docker/engine.bundle.path"
_SPEC = "types.containerd.io/opencontainers/runtime-spec/1/{}"


def container(request: LaunchRequest, config: bytes) -> dict[str, Any]:
    """The record. `config` is the bundle's config.json."""
    options = Options(binary_name=request.runtime, systemd_cgroup=request.systemd_cgroup,
                      no_pivot_root=request.no_pivot, no_new_keyring=request.no_new_keyring)
    packed = {"type_url": Options.DESCRIPTOR.full_name, "value": options.SerializeToString()}
    return {"id": request.id, "labels": {BUNDLE_LABEL: request.bundle}, "spec": _any("Spec", config),
            "runtime": {"name": RUNTIME, "options": packed}}


def process(request: ExecRequest) -> dict[str, Any]:
    """The specification of an exec."""
    return _any("Process", json.dumps(process_of(request)).encode())


def resources(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Limits of a container, «linux.resources» of the runtime-spec."""
    return _any("LinuxResources", json.dumps(limits).encode())


def exited(answer: Any, exec_id: str = "") -> Exited:
    """How a process ended, by an answer that has `exit_status` and `exited_at`."""
    return Exited(code=answer.exit_status, at_ns=answer.exited_at.ToNanoseconds(), exec_id=exec_id,
                  signalled=answer.exit_status > 128)


def refusal(error: BaseException) -> StartFailed | None:
    """Why a process does not run, in the runtime's words, where it was the runtime that refused it."""
    _, refused, cause = str(error).partition("OCI runtime ")
    if not refused:
        return None
    cause = cause.partition(" failed: ")[2].removesuffix(": unknown")
    return StartFailed(cause, exit_code=exit_code_for(cause))


def bundle_of(labels: Mapping[str, str]) -> str:
    """The bundle that a record's labels name; empty for a container of somebody else's."""
    return labels.get(BUNDLE_LABEL, "")


def _any(kind: str, value: bytes) -> dict[str, Any]:
    return {"type_url": _SPEC.format(kind), "value": value}
