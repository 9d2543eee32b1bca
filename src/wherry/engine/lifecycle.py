"""What one may do to a container: start, stop, kill, restart, pause, rename, update.

Each verb takes the container's lock for what it does and never while it waits for a container to end. How a start and an
end go is `starting` and `ending`; which verb fits which state is the table in `states`.
"""

from __future__ import annotations

import asyncio
import signal as signals
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import naming, restart, states
from wherry.errors import Conflict, InvalidArgument, NotFound, NotModified, Unavailable, WherryError
from wherry.linux.signals import signal_number as by_name

if TYPE_CHECKING:
    from wherry.engine.cgroups import Cgroups
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container, Ended
    from wherry.engine.containers import Containers
    from wherry.engine.ending import Ender
    from wherry.engine.events import Events
    from wherry.engine.health import Health
    from wherry.engine.links import Links
    from wherry.engine.model import HostConfig, UpdateRequest
    from wherry.engine.pool import Pool
    from wherry.engine.records import Record, Records
    from wherry.engine.starting import Starter

DEFAULT_STOP_TIMEOUT_S = 10
# Between a removal and the failure that led to it: docker 20.10 waits for both, and complains when it hears of the failure first.
HEARD_S = 0.01
KILL_TIMEOUT_S = 10.0  # after SIGKILL: longer means that the kernel cannot end it (uninterruptible sleep)


class Lifecycle:
    """The verbs."""

    def __init__(self, *, pool: Pool, records: Records, containers: Containers, events: Events, starter: Starter, ender: Ender,
                 cgroups: Cgroups, health: Health, connections: Connections, links: Links) -> None:
        self._pool = pool
        self._records = records
        self._containers = containers
        self._events = events
        self._starter = starter
        self._ender = ender
        self._cgroups = cgroups
        self._health = health
        self._connections = connections
        self._links = links

    async def start(self, container: Container) -> None:
        """Starts a container by hand. Raises NotModified when it runs, Conflict, NotFound, InvalidArgument, Internal."""
        async with container.lock:
            self._require_known(container)
            if container.state.status == "restarting":
                raise NotModified(f"container {container.id} is already running")
            container.backoff = restart.Backoff()
            container.record = replace(container.record, restart_count=0)
            await self.start_locked(container)

    async def start_locked(self, container: Container) -> None:
        """Starts a container whose lock is held; also after a pause of its restart policy and when the daemon starts."""
        self._cgroups.expect_start()
        try:
            await self._starter.start(container)
        except NotModified:
            raise
        except Exception:
            if container.host.auto_remove and container.state.status in ("created", "exited"):
                await self._ender.remove(container)
                await asyncio.sleep(HEARD_S)
            raise
        self._health.watch(container)

    async def stop(self, container: Container, *, signal: str = "", timeout_s: int | None = None) -> None:
        """Asks a container to end, and kills it when it has not after the time (negative: never).

        Raises NotModified when it does not run, InvalidArgument for an unknown signal.
        """
        number = signal_number(signal) if signal else stop_signal(container.record)
        if timeout_s is None:
            timeout_s = container.record.config.stop_timeout
        if timeout_s is None:
            timeout_s = DEFAULT_STOP_TIMEOUT_S
        if not container.state.running:
            raise NotModified(f"Container {container.id} is already stopped")
        if not await self._end(container, number, timeout_s if timeout_s >= 0 else None):
            await self._kill(container)
        self._events.publish("container", "stop", container.id, container.attributes())

    async def restart(self, container: Container, *, signal: str = "", timeout_s: int | None = None) -> None:
        """Stops a container where it runs, and starts it. It is not removed in between (`--rm`)."""
        container.kept = True
        try:
            if container.state.running:
                await self.stop(container, signal=signal, timeout_s=timeout_s)
        except NotModified:
            pass  # it ended meanwhile
        finally:
            async with container.lock:
                container.kept = False
        await self.start(container)
        self._events.publish("container", "restart", container.id, container.attributes())

    async def kill(self, container: Container, signal: str = "", *, reference: str = "") -> None:
        """Sends a signal (SIGKILL by default, and then waits for the end). Raises Conflict when it does not run."""
        number = signal_number(signal) if signal else signals.SIGKILL
        if not container.state.running or container.state.status == "restarting":
            if container.state.status == "restarting" and number == signals.SIGKILL:
                await self._give_up(container)
                return
            raise Conflict(f"Cannot kill container: {reference or container.id}: Container {container.id} is not running")
        if number == signals.SIGKILL:
            await self._kill(container)
        else:
            await self._signal(container, number)

    async def pause(self, container: Container, *, lasting: bool = True) -> None:
        """Freezes all processes. Raises Conflict unless it runs.

        One that is not `lasting` is not written down, so that it ends with this daemon at the latest (`Takeover`).
        """
        async with container.lock:
            states.check(container.id, container.state, "pause")
            try:
                await self._cgroups.freeze(container)
            except FileNotFoundError as error:  # it has ended, and its cgroup is gone before the news came
                raise Conflict(f"Container {container.id} is not running") from error
            paused = _moved(container.record, "pause")
            if lasting:
                await self._ender.write(container, paused)
            else:
                container.record = paused
        self._events.publish("container", "pause", container.id, container.attributes())

    async def unpause(self, container: Container) -> None:
        """Lets them go on. Raises Internal unless it is paused (Docker answers 500)."""
        async with container.lock:
            states.check(container.id, container.state, "unpause")
            await self._cgroups.thaw(container)
            await self._ender.write(container, _moved(container.record, "unpause"))
        self._events.publish("container", "unpause", container.id, container.attributes())

    async def rename(self, container: Container, name: str) -> None:
        """Gives a container another name. Raises InvalidArgument, Conflict when it is taken."""
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        async with container.lock:
            self._require_known(container)
            old = container.record.name
            if old == "/" + name.removeprefix("/"):
                raise InvalidArgument("Renaming a container with the same name as its current name")
            try:
                new = naming.check_name("/" + name.removeprefix("/"))
                self._containers.reserve(new, container.id)
            except (Conflict, InvalidArgument) as error:
                raise type(error)(f"Error when allocating new name: {error.message}") from error
            try:
                record = replace(container.record, name=new)
                await self._pool.run(self._records.write_durably, record, container.host)
                await self._pool.run(self._connections.rename, container, new.removeprefix("/"))
            except BaseException:
                self._containers.release(new)
                raise
            container.record = record
            self._containers.release(old)
        await self._links.renamed(container, old.removeprefix("/"))
        self._events.publish("container", "rename", container.id, container.attributes(oldName=old))

    async def update(self, container: Container, host: HostConfig) -> None:
        """Changes limits and restart policy to those of `host` (see `updating.updated`), at once where it runs."""
        async with container.lock:
            self._require_known(container)
            before = container.host
            if container.state.running and container.state.status != "restarting":
                await self._cgroups.limit(container, host)
            try:
                await self._pool.run(self._records.write_durably, container.record, host)
            except OSError:
                if container.state.running:
                    await self._cgroups.limit(container, before)
                raise
            container.host = host
            if host.restart_policy != before.restart_policy:
                container.backoff = restart.Backoff()
        self._events.publish("container", "update", container.id, container.attributes())

    async def shut_down(self, timeout_s: int) -> None:
        """Stops all running containers side by side, as dockerd does when it ends: their policies start them next time."""
        self._ender.restarting_allowed = False
        await asyncio.gather(*(self._shut_down(one, timeout_s) for one in self._containers))

    async def _shut_down(self, container: Container, timeout_s: int) -> None:
        if container.state.status == "restarting":
            await self._give_up(container)
        if not container.state.running:
            return
        wanted = container.record.config.stop_timeout
        patience = min(wanted if wanted is not None else DEFAULT_STOP_TIMEOUT_S, timeout_s)
        try:
            if not await self._end(container, stop_signal(container.record), patience, by_hand=False):
                await self._kill(container, by_hand=False)
            async with container.lock:
                pass  # what it occupied is given back
        except WherryError:
            return  # it could not be ended: the next daemon finds it running

    async def _end(self, container: Container, number: int, patience_s: int | None, *, by_hand: bool = True) -> bool:
        """Sends a signal and waits for the end; whether it came in time."""
        if container.state.status == "restarting":
            await self._give_up(container)
            return True
        ended = container.exited()
        try:
            await self._signal(container, number, final=by_hand)
            async with asyncio.timeout(patience_s):
                await ended
        except (TimeoutError, NotFound, Unavailable):
            return not container.state.running
        finally:
            ended.cancel()
        return True

    async def _kill(self, container: Container, *, by_hand: bool = True) -> None:
        """Kills and waits. Raises Unavailable when the kernel cannot end it."""
        ended = container.exited()
        try:
            with suppress(NotFound):  # it ended by itself, which is heard of soon, or was
                await self._signal(container, signals.SIGKILL, final=by_hand)
            if container.state.running:
                async with asyncio.timeout(KILL_TIMEOUT_S):
                    await ended
        except TimeoutError:
            if container.state.running:
                raise Unavailable(f"tried to kill container {container.id}, but did not receive an exit event") from None
        finally:
            ended.cancel()

    async def _signal(self, container: Container, number: int, *, final: bool | None = None) -> None:
        """Sends a signal. `final`: it is meant to end the container, so its policy does not start it again."""
        ending = number in (signals.SIGKILL, stop_signal(container.record))
        async with container.lock:
            if not container.state.running or container.shim is None:
                raise NotFound(f"container {container.id} has ended")
            if (ending if final is None else final) and not container.record.has_been_manually_stopped:
                await self._ender.write(container, replace(container.record, has_been_manually_stopped=True))
            await container.shim.signal(number)
            if container.state.paused and ending:
                # A frozen process takes no signal but on v2: it must go on to end.
                await self._cgroups.thaw(container)
                await self._ender.write(container, _moved(container.record, "unpause"))
        self._events.publish("container", "kill", container.id, container.attributes(signal=str(int(number))))

    async def _give_up(self, container: Container) -> None:
        async with container.lock:
            container.record = replace(container.record, has_been_manually_stopped=True)
            await self._ender.give_up(container)

    def _require_known(self, container: Container) -> None:
        """A container may have been removed while one waited for its lock."""
        if self._containers.get(container.id) is None:
            raise NotFound(f"No such container: {container.id}")


def updated(host: HostConfig, asked: UpdateRequest) -> HostConfig:
    """The host configuration after an update: what is zero or absent in the request stays.

    Raises Conflict for what cannot be changed.
    """
    changes = {name: getattr(asked, name) for name in asked.__struct_fields__ if name != "restart_policy"
               and getattr(asked, name) not in (0, "", None, ())}
    if asked.nano_cpus and (host.cpu_quota or host.cpu_period):
        raise Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period or Quota has already been set")
    if (asked.cpu_quota or asked.cpu_period) and host.nano_cpus:
        raise Conflict("Conflicting options: CPU Period or Quota cannot be updated as NanoCPUs has already been set")
    if asked.memory and not asked.memory_swap and host.memory_swap < asked.memory:  # as dockerd: -1 and 0 are smaller too
        raise Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
    if asked.restart_policy.name:
        if host.auto_remove and asked.restart_policy.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        restart.check(asked.restart_policy, auto_remove=False)
        changes["restart_policy"] = asked.restart_policy
    return replace(host, **changes)


def signal_number(text: str) -> int:
    """`SIGTERM`, `term` or `15`. Raises InvalidArgument for an unknown one."""
    number = by_name(text)
    if number is None:
        raise InvalidArgument(f"Invalid signal: {text}")
    return number


def stop_signal(record: Record) -> int:
    """With which signal a container is asked to end."""
    return signal_number(record.config.stop_signal) if record.config.stop_signal else signals.SIGTERM


def _moved(record: Record, event: states.Event) -> Record:
    return replace(record, state=states.move(record.id, record.state, event))


async def outcome(waiting: asyncio.Future[Ended] | Ended) -> Ended:
    """The end that `waits.begin` gave or promised."""
    return await waiting if isinstance(waiting, asyncio.Future) else waiting
