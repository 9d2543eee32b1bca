"""What Docker's API runs, as containerd's clients see it: in the namespace `moby`, while it runs, as dockerd has it there.

It can be looked at, waited for, signalled, paused; whatever would change who it belongs to is refused: Docker's API does that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wherry.errors import NotFound, Unsupported
from wherry.linux import cgroup
from wherry.linux.file import read
from wherry.shim.containerd import messages, metrics
from wherry.shim.containerd.settings import cgroup_of
from wherry.store.metadata import containers as store
from wherry.store.metadata.packed import Packed

if TYPE_CHECKING:
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
        found = _running(self._engine).get(name) if namespace == NAMESPACE else None
        return super().get(namespace, name) if found is None else _record(found)

    def all(self, namespace: str, wanted: Filter) -> list[store.Container]:
        """Those of a namespace that a filter lets through."""
        own = super().all(namespace, wanted)
        if namespace != NAMESPACE:
            return own
        docker = [_record(one) for one in _running(self._engine).values()]
        return [*own, *(one for one in docker if wanted(one.field))]


class Tasks:
    """The running containers of Docker's API as tasks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self, namespace: str) -> list[Task]:
        """Those of a namespace: none but of `moby`."""
        return [Task(self._engine, one) for one in _running(self._engine).values()] if namespace == NAMESPACE else []

    def find(self, namespace: str, container_id: str) -> Task | None:
        """One of them."""
        return next((one for one in self.all(namespace) if one.id == container_id), None)


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
            case "Kill":
                await engine.lifecycle.kill(container, str(values["signal"]))
            case "Pause":
                await engine.lifecycle.pause(container)
            case "Resume":
                await engine.lifecycle.unpause(container)
            case _:
                raise Unsupported(f"container {self.id} belongs to Docker's API, which alone can do this ({method}): "
                                  "not implemented")
        return {}


def _running(engine: Engine) -> dict[str, Container]:
    found = sorted(((one.id, one) for one in tuple(engine.containers)), key=lambda pair: pair[0])
    return {name: one for name, one in found if one.state.running and one.shim is not None}


def _record(container: Container) -> store.Container:
    try:
        spec = read(f"{container.run_folder}/config.json")
    except FileNotFoundError:  # it has ended this moment
        spec = b""
    return store.Container(id=container.id, labels={_BUNDLE_LABEL: container.run_folder}, image="", runtime=_RUNTIME,
                           options=None, spec=Packed(type_url=_SPEC_TYPE, value=spec), snapshotter="", snapshot_key="",
                           extensions={}, sandbox="")
