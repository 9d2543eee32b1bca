"""A container as containerd's task: its states, its execs, its mounts; driven through `wherry.shim.driver`.

    created ──start──► running ◄──pause, resume──► paused
       └──────kill──────► stopped ◄──ends───┘        a stopped one stays until `delete`

An exec is first added, then started, and has the same states. Nothing here waits: the loop tells of ends. What does not fit a
state is an error without a class, as with containerd's shim.
"""

from __future__ import annotations

import os
import time

from wherry.errors import Conflict, NotFound, WherryError
from wherry.shim.containerd import messages, rootfs, settings
from wherry.shim.driver import make_driver
from wherry.shim.oomwatch import OomWatch
from wherry.shim.protocol import ExecRequest, LaunchRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Final

    from wherry.shim.containerd.streams import Streams
    from wherry.shim.loop import Loop

SIGKILL: Final = 9
_WORDS: Final = {
    messages.CREATED: "created", messages.RUNNING: "running", messages.STOPPED: "stopped", messages.PAUSED: "paused",
}


class Process:
    """The container's own process (`exec_id` empty) or a further one; `spec` is what a further one is to run."""

    def __init__(self, exec_id: str, streams: Streams, spec: Mapping[str, Any] | None = None) -> None:
        self.exec_id = exec_id
        self.streams = streams
        self.spec = spec
        self.pid = 0
        self.status = messages.CREATED
        self.exit_code = 0
        self.exited_at_ns = 0
        self.is_reaped = False
        self.waiters: list[Callable[[], None]] = []

    @property
    def word(self) -> str:
        """Its status, for messages."""
        return _WORDS[self.status]

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Calls back when it has ended and its output was copied; at once when that is so."""
        if self.status == messages.STOPPED:
            callback()
        else:
            self.waiters.append(callback)

    def end(self, code: int, at_ns: int) -> None:
        """It has ended: whoever waits is told."""
        self.status, self.exit_code, self.exited_at_ns = messages.STOPPED, code, at_ns
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter()


class Task:
    """One container. `ended(task, process)` is called when one of its processes has ended."""

    def __init__(self, loop: Loop, request: LaunchRequest, streams: Streams, mounts: Sequence[Mapping[str, Any]],
                 ended: Callable[[Task, Process], None], out_of_memory: Callable[[Task], None]) -> None:
        self.id = request.id
        self.bundle = request.bundle
        self.init = Process("", streams)
        self.execs: dict[str, Process] = {}
        self._folder = os.open(request.run_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._driver = make_driver(request, self._folder)
        self._mounts = mounts
        self._ended = ended
        self._ooms = OomWatch(loop, lambda: out_of_memory(self))
        self._shares_pids = False
        self.parked_pid = 0  # a child that waits for the next exec; nobody is to see it

    # What is done with it

    def create(self) -> None:
        """Mounts its root and makes it. Nothing is left when that fails."""
        rootfs.mount_all(self._mounts, f"{self.bundle}/rootfs")
        try:
            started = self._driver.create(self.init.streams.open())
            self.init.pid = started.pid
            if started.rtnetlink is not None:
                os.close(started.rtnetlink)
            self.init.streams.begin(started.console)
            self._driver.wait_ready()
            self._shares_pids = os.readlink(f"/proc/{started.pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
            self.init.streams.hold_stdin()
        except BaseException:
            self._give_up()
            raise

    def start(self) -> None:
        """Lets the program run."""
        if self.init.status != messages.CREATED:
            raise WherryError(f"cannot start a {self.init.word} process")
        try:
            self._driver.start()
        except BaseException:
            self._end_unstarted(self.init)
            raise
        self.init.status = messages.RUNNING
        self._ooms.begin(self.init.pid)

    def add_exec(self, process: Process) -> None:
        """Keeps a further process that is to be started."""
        if self.init.status == messages.STOPPED:
            raise WherryError("cannot exec in a stopped state")
        if self.init.status == messages.PAUSED:
            raise WherryError("cannot exec in a paused state")
        self.execs[process.exec_id] = process

    def start_exec(self, exec_id: str) -> Process:
        """Starts it."""
        process = self.process(exec_id)
        if process.status != messages.CREATED or process.pid:
            raise WherryError(f"cannot start a {process.word} process")
        if self.init.status != messages.RUNNING:
            raise WherryError(f"cannot exec in a {self.init.word} state")
        assert process.spec is not None
        wanted = ExecRequest(exec_id=exec_id, process=dict(process.spec), terminal=process.streams.terminal)
        try:
            ends = process.streams.open()
            process.streams.hold_stdin()
            started = self._driver.execute(wanted, ends)
            process.streams.begin(started.console)
        except BaseException:
            self._end_unstarted(process)
            raise
        process.pid, process.status = started.pid, messages.RUNNING
        return process

    def prepare_next_exec(self) -> None:
        """After an exec was answered."""
        if self.init.status == messages.RUNNING:
            self.parked_pid = self._driver.park() or self.parked_pid

    def kill(self, exec_id: str, number: int, everyone: bool) -> None:
        """Signals a process, or all."""
        process = self.process(exec_id)
        if everyone and not exec_id:
            try:
                self._driver.kill_all(number)
            except Conflict:
                if process.status != messages.STOPPED:
                    raise
            return
        if process.is_reaped or process.status == messages.STOPPED:
            raise NotFound("process already finished: not found")
        if not process.pid:
            raise Conflict("process not created: failed precondition")
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            raise NotFound("process already finished: not found") from None
        except OSError as error:
            raise WherryError(f"unable to signal init: {str(error.strerror).lower()}") from None

    def pause(self) -> None:
        """Freezes it."""
        if self.init.status != messages.RUNNING:
            raise WherryError(f"cannot pause {self._named()}")
        self._driver.pause()
        self.init.status = messages.PAUSED

    def resume(self) -> None:
        """Thaws it."""
        if self.init.status != messages.PAUSED:
            raise WherryError(f"cannot resume {self._named()}")
        self._driver.resume()
        self.init.status = messages.RUNNING

    def update(self, resources: Mapping[str, Any]) -> None:
        """Changes its limits."""
        if self.init.status == messages.STOPPED:
            raise WherryError("cannot update a stopped container")
        self._driver.update(resources)

    def delete(self) -> None:
        """Removes what is left of it: mounts, cgroups, state."""
        if self.init.status not in (messages.STOPPED, messages.CREATED):
            raise WherryError(f"cannot delete a {self.init.word} process")
        if self.init.status == messages.CREATED:
            self._end_unstarted(self.init)
        for process in (*self.execs.values(), self.init):
            process.streams.close()
        self._ooms.end()
        self._driver.close()
        try:
            self._driver.delete()
        except NotFound:
            pass  # the runtime removed it when its start failed
        self._release()

    def delete_exec(self, exec_id: str) -> Process:
        """Forgets a further process that has ended, or was never started."""
        process = self.process(exec_id)
        if process.status not in (messages.STOPPED, messages.CREATED):
            raise WherryError(f"cannot delete a {process.word} process")
        process.streams.close()
        del self.execs[exec_id]
        return process

    # What is known of it

    def process(self, exec_id: str) -> Process:
        """Its own process or a further one. Raises NotFound."""
        if not exec_id:
            return self.init
        if exec_id not in self.execs:
            raise NotFound(f"process does not exist {exec_id}: not found")
        return self.execs[exec_id]

    def pids(self) -> list[int]:
        """The processes of the container, without the one that waits for the next exec. Raises NotFound."""
        if self.init.status == messages.STOPPED:
            return []
        return [pid for pid in settings.cgroup_of(self.init.pid).processes() if pid != self.parked_pid]

    def child_ended(self, pid: int, status: int) -> bool:
        """Whether it was one of its processes that has ended."""
        for process in (self.init, *self.execs.values()):
            if process.pid == pid and not process.is_reaped:
                process.is_reaped = True
                self._process_ended(process, status)
                return True
        self._driver.child_ended(pid)
        if pid == self.parked_pid:
            self.parked_pid = 0
        return False

    def _named(self) -> str:
        """What cannot be frozen or thawed, in containerd's words for it."""
        if self.init.status == messages.CREATED:
            return "task in created state"
        return f"a {self.init.word} {'process' if self.init.status == messages.RUNNING else 'container'}"

    # How its processes end

    def _process_ended(self, process: Process, status: int) -> None:
        at_ns = time.time_ns()
        code = os.waitstatus_to_exitcode(status)
        if process is self.init and self._shares_pids:  # the kernel ends the others only with their pid namespace
            try:
                self._driver.kill_all(SIGKILL)
            except (WherryError, OSError):
                pass  # nobody is left
        process.streams.finish(lambda: self._report(process, code if code >= 0 else 128 - code, at_ns))

    def _report(self, process: Process, code: int, at_ns: int) -> None:
        process.end(code, at_ns)
        self._ended(self, process)

    def _end_unstarted(self, process: Process) -> None:
        """Ends a process that never ran its program."""
        if process is self.init:
            self._driver.close()
        if process.pid and not process.is_reaped:
            process.is_reaped = True
            try:
                os.kill(process.pid, SIGKILL)
                os.waitpid(process.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        process.streams.close()
        process.end(128 + SIGKILL, time.time_ns())

    def _give_up(self) -> None:
        self._end_unstarted(self.init)
        try:
            self._driver.delete()
        except (WherryError, OSError):
            pass  # a creation that fails leaves nothing by itself
        self.init.streams.close()
        self._release()

    def _release(self) -> None:
        os.close(self._folder)
        if self._mounts:
            rootfs.unmount(f"{self.bundle}/rootfs")
