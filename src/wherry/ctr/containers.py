"""Containers' records: what is written for a new one, and what of one comes back as JSON."""

from __future__ import annotations

import json

from wherry import errors
from wherry.ctr.spec.default import ordered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.client import Client

SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
RUNC = "io.containerd.runc.v2"
RUNC_OPTIONS = "containerd.runc.v1.Options"
CONFIG_PATH_OPTIONS = "runtimeoptions.v1.Options"


def spec_of(record: Any) -> dict[str, Any]:
    """The runtime-spec in a container's record."""
    try:
        found: dict[str, Any] = json.loads(record.spec.value)
    except ValueError:
        raise errors.InvalidArgument(f"the spec of container {record.id} is not JSON") from None
    return found


def spec_message(spec: dict[str, Any]) -> dict[str, Any]:
    """A runtime-spec as a field of a record."""
    return {"type_url": SPEC_TYPE, "value": json.dumps(ordered(spec), separators=(",", ":")).encode()}


def load(client: Client, name: str) -> Any:
    """A container's record. Raises NotFound."""
    return client.containers.Get(id=name).container


def task_of(client: Client, name: str) -> Any:
    """The init process of a container's task. Raises NotFound where it has none."""
    try:
        return client.tasks.Get(container_id=name).process
    except errors.NotFound as problem:
        raise errors.NotFound(f"no running task found: {problem.message}") from None


def delete(client: Client, name: str, *, with_snapshot: bool) -> None:
    """Deletes a record, and the container's snapshot. Raises NotFound, Conflict while there is a task."""
    record = load(client, name)
    try:
        task = task_of(client, name)
    except errors.NotFound:
        task = None
    if task is not None:
        raise errors.Conflict(f"cannot delete running task {name}: failed precondition")
    if with_snapshot and record.snapshot_key:
        try:
            client.snapshots.Remove(snapshotter=record.snapshotter, key=record.snapshot_key)
        except errors.NotFound:
            pass  # gone with an earlier attempt
    client.containers.Delete(id=name)
