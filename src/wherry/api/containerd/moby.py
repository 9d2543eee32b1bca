"""What Docker's API runs, as containerd's clients see it: in the namespace `moby`, while it runs, as dockerd has it there.

It can be looked at, waited for, signalled, paused; whatever would change who it belongs to is refused: Docker's API does that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wherry.errors import AlreadyExists, NotFound, Unsupported
from wherry.linux import cgroup
from wherry.linux.file import read
from wherry.oci.gotext import quote
from wherry.shim.containerd import messages, metrics
from wherry.shim.containerd.leftovers import SIGKILL
from wherry.shim.containerd.settings import cgroup_of
from wherry.store.metadata import containers as store
from wherry.store.metadata.packed import Packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.engine.compose import Engine
    from wherry.engine.container import Container
    from wherry.store.metadata.database import Database
    from wherry.store.metadata.filters import Filter

NAMESPACE = "moby"
_SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
_RUNTIME = "io.containerd.runc.v2"
_BUNDLE_LABEL = "com.docker/engine.bundle.path"


class Containers(store.Containers):
    """The records of containers, with Docker's among them."""

    def __init__(self, database: Database, engine: Engine) -> None:
        super().__init__(database)
        self._engine = engine

    def get(self, namespace: str, name: str) -> store.Container:
        """One by its id. Raises NotFound."""
        found = _find(self._engine, namespace, name)
        return super().get(namespace, name) if found is None else _record(found)

    def all(self, namespace: str, wanted: Filter) -> list[store.Container]:
        """Those of a namespace that a filter lets through."""
        docker = [_record(one) for one in _running(self._engine, namespace)]
        return [*super().all(namespace, wanted), *(one for one in docker if wanted(one.field))]

    def create(self, namespace: str, container: store.Container) -> store.Container:
        """Makes one. Raises InvalidArgument, AlreadyExists."""
        if _find(self._engine, namespace, container.id):
            raise AlreadyExists(f"container {quote(container.id)}: already exists")
        return super().create(namespace, container)

    def update(self, namespace: str, container: store.Container, paths: Sequence[str]) -> store.Container:
        """Replaces what the paths name. Raises NotFound, InvalidArgument, Unsupported for one of Docker's."""
        if _find(self._engine, namespace, container.id):
            raise _refusal(container.id, "update")
        return super().update(namespace, container, paths)

    def delete(self, namespace: str, name: str) -> None:
        """Removes one. Raises NotFound, Unsupported for one of Docker's."""
        if _find(self._engine, namespace, name):
            raise _refusal(name, "delete")
        super().delete(namespace, name)


class Tasks:
    """The running containers of Docker's API as tasks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, namespace: str) -> list[Task]:
        """Those of a namespace: none but of `moby`."""
        return [Task(self._engine, one) for one in _running(self._engine, namespace)]

    def find(self, namespace: str, container_id: str) -> Task | None:
        """One of them."""
        found = _find(self._engine, namespace, container_id)
        return None if found is None else Task(self._engine, found)


class Task:
    """One running container, called as a shim's task is."""

    def __init__(self, engine: Engine, container: Container) -> None:
        self._engine, self._container = engine, container

    @property
    def id(self) -> str:
        """The container's."""
        return self._container.id

    async def call(self, method: str, /, **values: Any) -> dict[str, Any]:
        """What containerd's task service answers, as far as it does not change whose the container is. Raises Unsupported."""
        if values.get("exec_id") and method != "Exec":
            raise NotFound(f"process does not exist {values['exec_id']}: not found")
        engine, container = self._engine, self._container
        match method:
            case "State":
                state = container.state
                return {"pid": state.pid, "status": messages.PAUSED if state.paused else messages.RUNNING, "stdin": "",
                        "stdout": "", "stderr": "", "terminal": container.tty, "exit_status": 0, "exited_at": None}
            case "Pids":
                found = await engine.pool.run(cgroup_of(container.state.pid).processes)
                parked = container.require_shim().parked_pid
                return {"processes": [{"pid": pid, "info": None} for pid in found if pid != parked]}
            case "Stats":
                used = await engine.pool.run(cgroup_of(container.state.pid).stats)
                return {"stats": metrics.pack(used, cgroup.detect() == "v2")}
            case "Wait":
                ended = await container.exited()
                return {"exit_status": ended.exit_code, "exited_at": messages.timestamp(time.time_ns())}
            case "Kill" if values["all"] and values["signal"] != SIGKILL:
                await container.require_shim().signal(values["signal"], everyone=True)
            case "Kill":  # SIGKILL ends all with the first of them
                await engine.lifecycle.kill(container, str(values["signal"]))
            case "Pause":
                await engine.lifecycle.pause(container)
            case "Resume":
                await engine.lifecycle.unpause(container)
            case _:
                raise _refusal(self.id, method)
        return {}


def _running(engine: Engine, namespace: str) -> list[Container]:
    """Those that are seen in a namespace, by id."""
    found = [one for one in engine.containers if _runs(one)] if namespace == NAMESPACE else []
    return sorted(found, key=lambda one: one.id)


def _find(engine: Engine, namespace: str, container_id: str) -> Container | None:
    found = engine.containers.get(container_id) if namespace == NAMESPACE else None
    return found if found is not None and _runs(found) else None


def _runs(container: Container) -> bool:
    return container.state.running and container.shim is not None


def _refusal(container_id: str, doing: str) -> Unsupported:
    return Unsupported(f"container {container_id} belongs to Docker's API, which alone can do this ({doing}): not implemented")


def _record(container: Container) -> store.Container:
    try:
        spec = read(f"{container.run_folder}/config.json")
    except FileNotFoundError:  # it has ended this moment
        spec = b""
    return store.Container(id=container.id, labels={_BUNDLE_LABEL: container.run_folder}, image="", runtime=_RUNTIME,
                           options=None, spec=Packed(type_url=_SPEC_TYPE, value=spec), snapshotter="", snapshot_key="",
                           extensions={}, sandbox="")
