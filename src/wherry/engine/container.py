"""One container as the engine holds it in memory: its record on disk, and what only exists while the daemon runs.

`record` and `host` are what was last written to disk. They are replaced by `lifecycle` and its neighbours, under the
container's lock; whoever only reads takes them as they are, without a lock.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.records import nanoseconds
from wherry.engine.restart import Backoff
from wherry.engine.states import require_running

if TYPE_CHECKING:
    from wherry.engine.afterwards import Job
    from wherry.engine.execs import Exec
    from wherry.engine.links import Linked
    from wherry.engine.model import HostConfig
    from wherry.engine.records import Record, State
    from wherry.network.model import Endpoint, PublishedPort
    from wherry.shim.interface import ContainerShim
    from wherry.shim.protocol import AttachRequest


class Ended(msgspec.Struct, frozen=True):
    """What `wait` answers: an exit code, and the error when the container never came to run or was not removed."""

    exit_code: int
    error: str = ""


class Container:
    """A container. For the event loop's thread alone, but for the immutable values it holds."""

    def __init__(self, record: Record, host: HostConfig, run_folder: str) -> None:
        self.record = record
        self.host = host
        self.created_ns = nanoseconds(record.created)
        self.run_folder = run_folder
        self.lock = asyncio.Lock()
        self.shim: ContainerShim | None = None
        self.cgroups_path = ""  # since its last start; it may have been another daemon, with other options, that started it
        self.execs: dict[str, Exec] = {}
        self.endpoints: dict[str, Endpoint] = {}  # by network id, while it runs
        self.ports: dict[str, tuple[PublishedPort, ...]] = {}  # likewise
        self.linked: tuple[Linked, ...] = ()  # what its links have come to, likewise
        self.held: list[tuple[AttachRequest, int]] = []  # clients that attached before the start
        self.backoff = Backoff()
        self.next_start: asyncio.Task[None] | None = None  # a restart that waits for its time
        self.probe: asyncio.Task[None] | None = None  # the health check
        self.leaving: Job | None = None  # what it occupied until it ended is being given back
        self.started_monotonic = 0.0
        self.kept = False  # not to be removed by --rm when it ends: it is being restarted
        self._exit_waiters: list[asyncio.Future[Ended]] = []
        self._removal_waiters: list[asyncio.Future[Ended]] = []

    @property
    def id(self) -> str:
        """The full id."""
        return self.record.id

    @property
    def short_id(self) -> str:
        """The twelve digits that people see."""
        return self.record.id[:12]

    @property
    def name(self) -> str:
        """The name without its slash."""
        return self.record.name.removeprefix("/")

    @property
    def state(self) -> State:
        """The state as last written."""
        return self.record.state

    @property
    def tty(self) -> bool:
        """Whether its output is a terminal's, without frames."""
        return self.record.config.tty

    def attributes(self, **more: str) -> dict[str, str]:
        """What its events say of it: labels, image, name, and what the event adds."""
        return {**(self.record.config.labels or {}), "image": self.record.config.image, "name": self.name, **more}

    def require_shim(self, reference: str = "") -> ContainerShim:
        """The shim of a running, not paused container (see `states.require_running`). Raises Conflict."""
        require_running(self.id, self.state, reference)
        if self.shim is None:
            raise AssertionError(f"container {self.id} runs without a shim")
        return self.shim

    def release_held(self) -> None:
        """Lets go of the clients that attached to a container which does not come to run."""
        for _, fd in self.held:
            os.close(fd)
        self.held.clear()

    def exited(self) -> asyncio.Future[Ended]:
        """Is done when it next ends, or fails to start for good."""
        return _waiter(self._exit_waiters)

    def removed(self) -> asyncio.Future[Ended]:
        """Is done when it was removed."""
        return _waiter(self._removal_waiters)

    @property
    def removal_is_awaited(self) -> bool:
        """Whether somebody waits for the removal."""
        return bool(self._removal_waiters)

    def tell_exited(self, ended: Ended) -> None:
        """Wakes those who wait for the end."""
        _wake(self._exit_waiters, ended)

    def tell_removed(self, ended: Ended) -> None:
        """Wakes those who wait for the removal."""
        _wake(self._removal_waiters, ended)


def _waiter(waiters: list[asyncio.Future[Ended]]) -> asyncio.Future[Ended]:
    waiter: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    waiter.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
    return waiter


def _wake(waiters: list[asyncio.Future[Ended]], ended: Ended) -> None:
    for waiter in tuple(waiters):
        if not waiter.done():
            waiter.set_result(ended)
    waiters.clear()
