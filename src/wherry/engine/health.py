"""Health checks: a probe run in the container every so often, and what its results make of the container's health.

    starting ── success ──▶ healthy ◀── success ── unhealthy
        └────── `retries` failures in a row ──────────▲      (failures in the start period do not count while starting)

What a result means is `judged`, which is pure; the rest is a task per container that ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from wherry.engine.model import ExecRequest, HealthcheckResult, HealthConfig
from wherry.engine.model import Health as HealthState
from wherry.engine.records import nanoseconds, timestamp
from wherry.engine.starting import has_health_check
from wherry.errors import WherryError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from wherry.engine.container import Container
    from wherry.engine.events import Events
    from wherry.engine.execs import Execs
    from wherry.engine.pool import Pool
    from wherry.engine.records import Records

log = logging.getLogger(__name__)

SECOND = 1_000_000_000
INTERVAL_NS, TIMEOUT_NS, START_INTERVAL_NS, RETRIES = 30 * SECOND, 30 * SECOND, 5 * SECOND, 3
RESULTS_KEPT, OUTPUT_KEPT = 5, 4096
DEFAULT_SHELL = ("/bin/sh", "-c")


class Health:
    """Watches the health of containers."""

    def __init__(self, *, pool: Pool, records: Records, execs: Execs, events: Events,
                 spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._pool = pool
        self._records = records
        self._execs = execs
        self._events = events
        self._spawn = spawn

    def watch(self, container: Container) -> None:
        """Begins to probe a container that has just been started or taken over."""
        self.forget(container)
        if has_health_check(container.record):
            container.probe = self._spawn(self._watch(container))

    def forget(self, container: Container) -> None:
        """Ends the probing."""
        if container.probe is not None:
            container.probe.cancel()
            container.probe = None

    async def _watch(self, container: Container) -> None:
        check = container.record.config.healthcheck or HealthConfig()
        started_at = container.state.started_at
        while container.state.running and container.state.started_at == started_at:
            await asyncio.sleep(_pause_ns(check, container) / SECOND)
            if container.state.status == "running":
                await self._probe(container, check)

    async def _probe(self, container: Container, check: HealthConfig) -> None:
        begun = time.time_ns()
        timeout_s = (check.timeout or TIMEOUT_NS) / SECOND
        try:
            code, output = await self._execs.run(container, probe_request(container, check), timeout_s, OUTPUT_KEPT + 1)
            text = output[:OUTPUT_KEPT].decode(errors="replace") + ("..." if len(output) > OUTPUT_KEPT else "")
        except TimeoutError:
            code, text = -1, f"Health check exceeded timeout ({_go_duration(timeout_s)})"
        except (WherryError, OSError) as error:
            if container.state.status != "running":
                return
            code, text = -1, str(error)
        result = HealthcheckResult(start=timestamp(begun), end=timestamp(time.time_ns()), exit_code=code, output=text)
        async with container.lock:
            before = container.state.health
            if container.state.status != "running" or before is None:
                return
            in_start_period = begun - nanoseconds(container.state.started_at) < check.start_period
            after = judged(before, result, check.retries or RETRIES, in_start_period=in_start_period)
            record = replace(container.record, state=replace(container.state, health=after))
            with suppress(OSError):  # a full disk must not end the probing: the next result is written again
                await self._pool.run(self._records.write, record)
            container.record = record
        if after.status != before.status:
            self._events.publish("container", f"health_status: {after.status}", container.id, container.attributes())


def judged(health: HealthState, result: HealthcheckResult, retries: int, *, in_start_period: bool) -> HealthState:
    """The health after a result."""
    log_kept = (*(health.log or ()), result)[-RESULTS_KEPT:]
    if result.exit_code == 0:
        return HealthState(status="healthy", failing_streak=0, log=log_kept)
    if in_start_period and health.status == "starting":
        return replace(health, log=log_kept)
    streak = health.failing_streak + 1
    return HealthState(status="unhealthy" if streak >= retries else health.status, failing_streak=streak, log=log_kept)


def probe_request(container: Container, check: HealthConfig) -> ExecRequest:
    """The probe as an exec: `CMD` with arguments, or `CMD-SHELL` with a line for the shell."""
    kind, *arguments = check.test or ("NONE",)
    config = container.record.config
    command = (*(config.shell or DEFAULT_SHELL), *arguments) if kind == "CMD-SHELL" else tuple(arguments)
    return ExecRequest(cmd=command, attach_stdout=True, attach_stderr=True, user=config.user, working_dir=config.working_dir)


def _pause_ns(check: HealthConfig, container: Container) -> int:
    """How long to wait before the next probe: shorter in the start period."""
    age = time.time_ns() - nanoseconds(container.state.started_at)
    health = container.state.health
    if check.start_interval and age < check.start_period and (health is None or health.status == "starting"):
        return check.start_interval
    return check.interval or INTERVAL_NS


def _go_duration(seconds: float) -> str:
    """A time as Go writes it, for whole seconds and fractions below a minute; minutes as `1m30s`."""
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
    return f"{int(minutes)}m{rest:g}s" if minutes else text
