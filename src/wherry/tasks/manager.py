"""The tasks of all namespaces: created in bundles of their own, kept by shims that outlive us, found again at the next start.

A task is here from the moment in which its shim has created it until it is deleted. One whose shim dies is ended and removed,
and its end is told as if the shim had told it. For the event loop's thread alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from wherry.errors import AlreadyExists, NotFound, WherryError
from wherry.shim.containerd import messages
from wherry.shim.containerd.leftovers import SIGKILL, clear
from wherry.shim.containerd.protobuf import encode
from wherry.tasks.bundle import Bundle, all_bundles
from wherry.tasks.runtimes import drain_log
from wherry.tasks.shim import Shim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wherry.shim.containerd.protobuf import Message
    from wherry.tasks.runtimes import Runtimes

log = logging.getLogger(__name__)


class Task:
    """One task: where it is, and who has it."""

    def __init__(self, bundle: Bundle, shim: Shim) -> None:
        self.bundle, self.shim = bundle, shim

    @property
    def id(self) -> str:
        """The container's."""
        return self.bundle.id

    async def call(self, method: str, /, **values: Any) -> dict[str, Any]:
        """A call of its shim about it."""
        return await self.shim.call(method, id=self.id, **values)


class Tasks:
    """All tasks. `forward` is told what happened: an envelope (timestamp, namespace, topic, event) for each."""

    def __init__(self, folder: str, runtimes: Runtimes, forward: Callable[[dict[str, Any]], None]) -> None:
        """`folder` is for the bundles."""
        self._folder, self._runtimes, self._forward = folder, runtimes, forward
        self._tasks: dict[tuple[str, str], Task] = {}
        self._being_made: set[tuple[str, str]] = set()
        self._shims: dict[str, Shim] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def create(self, namespace: str, container_id: str, *, spec: bytes, runtime: str, mounts: Sequence[Mapping[str, Any]],
                     io: Mapping[str, Any], options: Mapping[str, Any] | None) -> int:
        """Makes a task, which waits for `start`; the pid of its init. `io`: stdin, stdout, stderr, terminal.

        Raises AlreadyExists, InvalidArgument, and what the shim and the runtime say. Nothing is left then, nor when the caller
        has gone before the answer.
        """
        making = asyncio.ensure_future(self._create(namespace, container_id, spec, runtime, mounts, io, options))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            self._later(self._unmake(making, namespace, container_id))
            raise

    def get(self, namespace: str, container_id: str) -> Task:
        """One of them. Raises NotFound."""
        task = self._tasks.get((namespace, container_id))
        if task is None:
            raise NotFound(f"task {container_id} not found")
        return task

    def all(self, namespace: str) -> list[Task]:
        """Those of a namespace, by id."""
        return [task for (there, _), task in sorted(self._tasks.items()) if there == namespace]

    async def delete(self, namespace: str, container_id: str) -> dict[str, Any]:
        """Removes a task that has ended or never started: pid, exit_status, exited_at. Raises NotFound, what the shim says."""
        task = self.get(namespace, container_id)
        try:
            ended = await task.call("Delete")
        except WherryError as error:
            raise type(error)(f"failed to delete task: {error.message}") from error
        self._tasks.pop((namespace, container_id), None)
        await self._leave(task)
        return ended

    async def take_over(self) -> None:
        """Finds the tasks again that an earlier daemon has left, and clears up after those whose shims are gone."""
        await asyncio.gather(*(self._take_over(bundle) for bundle in all_bundles(self._folder)))

    async def close(self) -> None:
        """Lets go of the shims, which go on."""
        for shim in self._shims.values():
            shim.close()
        if self._background:
            await asyncio.wait(self._background)

    # Below: how a task is made, and unmade

    async def _create(self, namespace: str, container_id: str, spec: bytes, runtime: str, mounts: Sequence[Mapping[str, Any]],
                      io: Mapping[str, Any], options: Mapping[str, Any] | None) -> int:
        key = (namespace, container_id)
        if key in self._tasks or key in self._being_made:
            raise AlreadyExists(f"task {container_id}: already exists")
        self._being_made.add(key)
        bundle = Bundle(self._folder, namespace, container_id)
        try:
            bundle.make(spec, runtime)
            try:
                options = self._runtimes.options(runtime, options)
                shim = await self._started(bundle, runtime, options)
                created = await self._created(shim, bundle, mounts, io, options)
            except BaseException:
                bundle.remove()
                raise
            self._tasks[key] = Task(bundle, shim)
            return int(created["pid"])
        finally:
            self._being_made.discard(key)

    async def _started(self, bundle: Bundle, runtime: str, options: Mapping[str, Any] | None) -> Shim:
        try:
            return await self._connect(await self._runtimes.start(bundle, runtime, options))
        except (WherryError, OSError, TimeoutError) as error:
            raise WherryError(f"failed to start shim: {error}") from error

    async def _connect(self, address: str) -> Shim:
        shim = self._shims.get(address)
        if shim is None:
            shim = self._shims[address] = await Shim.connect(address, self._shim_lost)
        return shim

    async def _created(self, shim: Shim, bundle: Bundle, mounts: Sequence[Mapping[str, Any]], io: Mapping[str, Any],
                       options: Mapping[str, Any] | None) -> dict[str, Any]:
        shim.tasks.add(bundle.id)
        try:
            return await shim.call("Create", id=bundle.id, bundle=bundle.path, rootfs=list(mounts), options=options, **io)
        except WherryError as error:
            await self._let_go(shim, bundle.id)
            raise type(error)(f"failed to create shim task: {error.message}") from error

    async def _let_go(self, shim: Shim, container_id: str) -> None:
        if shim.tasks <= {container_id}:
            self._shims.pop(shim.address, None)
        await shim.leave(container_id)

    async def _leave(self, task: Task) -> None:
        """The task has been deleted: its shim may end, its folder goes."""
        await self._let_go(task.shim, task.id)
        await asyncio.to_thread(task.bundle.remove)

    async def _unmake(self, making: asyncio.Future[int], namespace: str, container_id: str) -> None:
        """Whoever asked for a task has gone before it was there."""
        try:
            await making
            task = self.get(namespace, container_id)
            await task.call("Delete")  # of one that was not started: it is ended
            self._tasks.pop((namespace, container_id), None)
            await self._leave(task)
        except (WherryError, OSError) as error:
            log.info("task %s in %s, which nobody waits for any more: %s", container_id, namespace, error)

    # Below: shims that are found again, or lost

    async def _take_over(self, bundle: Bundle) -> None:
        key = (bundle.namespace, bundle.id)
        try:
            if os.path.exists(f"{bundle.path}/log"):
                drain_log(bundle)
            shim = await self._connect(bundle.address)
            shim.tasks.add(bundle.id)
            await shim.call("State", id=bundle.id)
        except NotFound:  # the shim has no such task: we died before it was made
            await self._leave(Task(bundle, shim))
        except (WherryError, OSError):
            await self._clear(bundle)
        else:
            self._tasks[key] = Task(bundle, shim)

    def _shim_lost(self, shim: Shim) -> None:
        self._shims.pop(shim.address, None)
        for key, task in list(self._tasks.items()):
            if task.shim is shim:
                del self._tasks[key]
                log.warning("the shim of task %s in %s has died", task.id, task.bundle.namespace)
                self._later(self._clear(task.bundle))

    async def _clear(self, bundle: Bundle) -> None:
        """Ends and removes what a shim that is gone has left, and tells of the end that it could not tell."""
        try:
            pid = await asyncio.to_thread(clear, bundle.id, bundle.path)
        except (WherryError, OSError) as error:
            log.warning("what is left of task %s in %s could not be removed: %s", bundle.id, bundle.namespace, error)
            return
        ended = {"container_id": bundle.id, "pid": pid, "exit_status": 128 + SIGKILL,
                 "exited_at": messages.timestamp(time.time_ns())}
        if pid:
            self._tell(bundle.namespace, messages.TaskExit, {**ended, "id": bundle.id})
            self._tell(bundle.namespace, messages.TaskDelete, ended)
        self._runtimes.forget(bundle)
        await asyncio.to_thread(bundle.remove)

    def _tell(self, namespace: str, kind: Message, values: Mapping[str, Any]) -> None:
        self._forward({"timestamp": messages.timestamp(time.time_ns()), "namespace": namespace, "topic": messages.TOPICS[kind],
                       "event": {"type_url": kind.name, "value": encode(kind, values)}})

    def _later(self, work: Any) -> None:
        """Has something done that nobody waits for."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
