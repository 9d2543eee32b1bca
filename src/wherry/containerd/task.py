"""One container that a containerd runs: orders become calls, ends are waited for, streams are moved by the pump.

    created ──start──► running ──Wait answers, output read──► exited ──release──► task and record gone
       └────────── release, start failed ────────────────────────────────────────► gone, nothing left behind

An exec goes the same way; its streams are known until the engine has recorded its end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from wherry.containerd import records
from wherry.containerd.calls import SIGKILL, delete, kill, status
from wherry.containerd.streams import Fifos, Streams
from wherry.errors import Conflict, NotFound, WherryError
from wherry.linux import process
from wherry.proto.task_pb2 import Status
from wherry.shim import protocol
from wherry.shim.interface import ContainerShim
from wherry.shim.oomwatch import OomWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from typing import Any

    from wherry.containerd.connection import Connection
    from wherry.containerd.pump import Pump
    from wherry.shim.protocol import AttachRequest, ExecRequest, Exited, LaunchRequest, ShimEvent

log = logging.getLogger(__name__)

AGAIN_S = 1.0


class Task(ContainerShim):
    """A task of containerd. `streams` are those of its first process; `pid` is 0 until it is there."""

    def __init__(self, request: LaunchRequest, connection: Connection, pump: Pump) -> None:
        super().__init__(protocol.Hello(id=request.id, pid=0, shim_pid=0, start_time=0))
        self._folder = request.run_folder
        self._connection = connection
        self._pump = pump
        fifos = Fifos.of(f"{request.run_folder}/io", terminal=request.terminal, open_stdin=request.open_stdin)
        self.streams = Streams(pump, fifos, close_on_eof=request.stdin_once, told=self._tell, log=request.log,
                               input_closed=lambda: self._input_closed(""))
        self._streams = {"": self.streams}
        self._is_lost = False
        self._beside: set[asyncio.Task[None]] = set()
        self._wait_for_end: asyncio.Task[None] | None = None
        self._ooms = OomWatch(pump.loop, lambda: pump.tell(self._out_of_memory))

    async def exists(self, pid: int, *, started: bool) -> None:
        """Its process is there: streams begin to move. Raises OSError for fifos or log."""
        self.pid, self.started = pid, started
        self.start_time = await self._pump.run(lambda: _start_time(pid))
        await self._pump.run(self.streams.begin)

    async def start(self) -> None:
        """Has containerd start it."""
        try:
            await self._ask("Start")
        except BaseException as error:
            await asyncio.shield(self.remove())
            if refused := records.refusal(error):
                raise refused from error
            raise
        self.started = True
        await self.watch()

    async def watch(self) -> None:
        """Begins to wait for the end, and to look for want of memory."""
        await self._pump.run(lambda: self._ooms.begin(self.pid))
        self._wait_for_end = self._go_on(self._wait())

    async def adopt_execs(self) -> None:
        """Takes on the execs of an earlier daemon. Their clients went with it: their input ends, nobody hears their output."""
        for exec_id, fifos in await self._pump.run(lambda: list(_execs_in(self._folder))):
            streams = self._exec_streams(exec_id, fifos)
            await self._pump.run(streams.begin)
            await self._pump.run(streams.close_stdin)
            _ = self._go_on(self._wait_for_exec(exec_id))

    async def ended(self, exited: Exited) -> None:
        """The process has ended: its output is read, then it is told."""
        await self._finish("", lambda: exited.replace(oom=self._end_ooms()))

    async def exec(self, request: ExecRequest) -> int:
        """Makes fifos, has containerd start it, and attaches the clients."""
        name = request.exec_id
        if name in self._streams or not name:
            raise Conflict(f"exec {name!r} exists already in container {self.id}")
        fifos = Fifos.of(_exec_folder(self._folder, name), terminal=request.terminal, open_stdin=request.open_stdin)
        streams = self._exec_streams(name, fifos)
        try:
            await self._pump.run(streams.make)
            await self._ask("Exec", exec_id=name, spec=records.process(request), **fifos.fields())
            pid = int((await self._ask("Start", exec_id=name)).pid)
            await self._pump.run(lambda: streams.begin(request.attach))
        except BaseException as error:
            await asyncio.shield(self._forget_exec(name, streams))
            if refused := records.refusal(error):
                raise refused from error
            raise
        for _, fd in request.attach:
            os.close(fd)
        _ = self._go_on(self._wait_for_exec(name))
        return pid

    async def forget(self, exec_id: str) -> None:
        """Its streams are known until now, for those who attach late."""
        self._streams.pop(exec_id, None)

    async def signal(self, number: int, exec_id: str = "", everyone: bool = False) -> None:
        """Has containerd send it."""
        await self._ask("Kill", exec_id=exec_id, signal=number, all=everyone)

    async def resize(self, height: int, width: int, exec_id: str = "") -> None:
        """Has containerd set it."""
        if not self._of(exec_id).fifos.terminal:
            raise Conflict("the process has no terminal")
        await self._ask("ResizePty", exec_id=exec_id, height=height, width=width)

    async def attach(self, request: AttachRequest, connection_fd: int) -> None:
        """The pump feeds it from here on."""
        streams = self._of(request.exec_id)
        await self._pump.run(lambda: streams.attach(((request, connection_fd),)))
        os.close(connection_fd)

    async def close_stdin(self, exec_id: str = "") -> None:
        """Our end now, and containerd's when it is told of that."""
        await self._pump.run(self._of(exec_id).close_stdin)

    async def freeze(self) -> bool:
        """Has containerd pause it."""
        await self._change("Pause", still=Status.RUNNING)
        return True

    async def thaw(self) -> bool:
        """Has containerd resume it; a runtime may have done so in order to kill it."""
        with suppress(Conflict):
            await self._change("Resume", still=Status.PAUSED)
        return True

    async def limit(self, resources: Mapping[str, Any]) -> bool:
        """Has containerd update it."""
        await self._ask("Update", resources=records.resources(resources))
        return True

    async def release(self) -> None:
        """Deletes task and record."""
        if self.started and self.exited is None and not self._is_lost:
            raise Conflict(f"container {self.id} is running")
        await self.remove()

    async def remove(self) -> None:
        """Leaves nothing of it at containerd, whatever it does; clients of a process that never ran are closed.

        What a containerd keeps of it that is away now goes when it is back. Waits for execs end by that.
        """
        if self._wait_for_end is not None:
            self._wait_for_end.cancel()
        if self.exited is None and not self._is_lost:
            self._pump.post(self.streams.drop)
            await kill(self._connection, self.id)
        try:
            await delete(self._connection, self.id)
        except WherryError as error:
            log.warning("container %s stays behind at containerd for now: %s", self.id, error)
            _ = self._go_on(self._delete_later())

    def close(self) -> None:
        """Lets go of the streams; the container goes on."""
        for work in self._beside:
            work.cancel()
        for streams in self._streams.values():
            self._pump.post(streams.drop)

    # Below: calls, streams, ends

    async def _ask(self, what: str, **fields: Any) -> Any:
        return await self._connection.ask(f"tasks.{what}", container_id=self.id, **fields)

    async def _change(self, what: str, still: Status) -> None:
        """Pauses or resumes. Raises Conflict when that fails and it is not even `still` what it would have to be for it."""
        try:
            await self._ask(what)
        except WherryError as error:
            found = await status(self._connection, self.id)
            if found is None or found.status != still:
                raise Conflict(f"Container {self.id} is not running") from error
            raise

    def _of(self, exec_id: str) -> Streams:
        if exec_id not in self._streams:
            raise NotFound(f"no exec {exec_id} in container {self.id}")
        return self._streams[exec_id]

    def _exec_streams(self, exec_id: str, fifos: Fifos) -> Streams:
        streams = self._streams[exec_id] = Streams(self._pump, fifos, close_on_eof=True, told=self._tell,
                                                   input_closed=lambda: self._input_closed(exec_id))
        return streams

    def _input_closed(self, exec_id: str) -> None:
        """Our end of a stdin was closed: containerd's shim is to close its own."""
        _ = self._go_on(self._close_io(exec_id))

    async def _close_io(self, exec_id: str) -> None:
        with suppress(WherryError):  # it has ended first
            await self._ask("CloseIO", exec_id=exec_id, stdin=True)

    async def _delete_later(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            with suppress(WherryError):
                await kill(self._connection, self.id)
                await delete(self._connection, self.id)
                return

    async def _wait(self) -> None:
        answer = await self._connection.end_of(self.id)
        if answer is not None:
            await self.ended(records.exited(answer))
            return
        self._is_lost = True
        await self._finish("", protocol.Lost)

    async def _wait_for_exec(self, exec_id: str) -> None:
        answer = await self._connection.end_of(self.id, exec_id)
        exited = records.exited(answer, exec_id) if answer is not None else \
            protocol.Exited(code=128 + SIGKILL, at_ns=time.time_ns(), exec_id=exec_id, signalled=True)
        await self._finish(exec_id, lambda: exited)
        await self._delete_exec(exec_id)

    async def _finish(self, exec_id: str, last_word: Callable[[], ShimEvent]) -> None:
        """Has the rest of a process's output read, and tells its end before clients see it: they ask for the exit code then."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        streams = self._streams[exec_id]

        def finished() -> None:
            event = last_word()
            self._pump.tell(lambda: self._tell(event))
            self._pump.settle(done, None)

        self._pump.post(lambda: streams.finish(finished))
        await done

    async def _forget_exec(self, exec_id: str, streams: Streams) -> None:
        del self._streams[exec_id]
        await self._pump.run(streams.drop)
        with suppress(WherryError):
            await self._ask("Kill", exec_id=exec_id, signal=SIGKILL)
        await self._delete_exec(exec_id)

    async def _delete_exec(self, exec_id: str) -> None:
        with suppress(WherryError):  # containerd forgets it with its container at the latest
            await self._ask("DeleteProcess", exec_id=exec_id)
        await self._pump.run(lambda: shutil.rmtree(_exec_folder(self._folder, exec_id), ignore_errors=True))

    def _end_ooms(self) -> bool:
        killed = self._ooms.has_killed()
        self._ooms.end()
        return killed

    def _out_of_memory(self) -> None:
        self._tell(protocol.OutOfMemory(at_ns=time.time_ns()))

    def _go_on(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task


def _exec_folder(run_folder: str, exec_id: str) -> str:
    return f"{run_folder}/exec-{exec_id}"


def _execs_in(run_folder: str) -> Iterator[tuple[str, Fifos]]:
    """The execs that have fifos there."""
    for name in os.listdir(run_folder):
        kind, _, exec_id = name.partition("exec-")
        if not kind and exec_id:
            folder = _exec_folder(run_folder, exec_id)
            made = os.listdir(folder)
            yield exec_id, Fifos.of(folder, terminal="stderr" not in made, open_stdin="stdin" in made)


def _start_time(pid: int) -> int:
    """0 of one that has ended."""
    try:
        return process.start_time(pid)
    except OSError:
        return 0
