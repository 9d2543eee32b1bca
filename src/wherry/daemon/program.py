"""The daemon from its first moment to its last: sockets, engine, API, signals, the end.

    settings → sockets → PID file → engine (lock, what runs is taken over) → API → READY
    SIGTERM, SIGINT    ends in order; the third one at once
    SIGHUP             reads daemon.json again
    SIGUSR1            writes what every task is doing to the log

Sockets come first, so that two daemons never work on one data root; clients who connect early wait in the backlog.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from wherry import __version__
from wherry.api.docker.api import router
from wherry.api.docker.router import NEWEST, spell
from wherry.api.docker.server import Server
from wherry.daemon import containerd, dropin, listen, pidfile
from wherry.daemon.idle import Idle
from wherry.daemon.logs import set_level
from wherry.daemon.notify import notify
from wherry.daemon.reload import reloaded
from wherry.daemon.settings import DOCKERS
from wherry.engine.compose import Engine
from wherry.errors import WherryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wherry.daemon.settings import Settings

ANSWERS_SECONDS = 5.0
"""How long requests under way have for their answers when the daemon ends."""
CALLS_SECONDS = 1.0
"""The same of containerd's API, where streams and waits stay open until a client ends them."""
FORCED_AFTER = 3

log = logging.getLogger("wherry.daemon")

HEADERS = (("Api-Version", spell(NEWEST)), ("Docker-Experimental", "false"), ("Ostype", "linux"),
           ("Server", f"wherry/{__version__} (linux)"))


class Program:
    """One run of the daemon."""

    def __init__(self, settings: Settings, read_again: Callable[[], Settings], environment: Mapping[str, str]) -> None:
        """`read_again` gives the settings after daemon.json was changed; it raises WherryError when they make no sense."""
        self._settings = settings
        self._read_again = read_again
        self._environment = environment
        self._ended = asyncio.Event()
        self._interrupts = 0
        self._engine: Engine | None = None

    async def run(self, ready: Callable[[], None]) -> int:
        """Serves until it is told to end; the exit status. Raises WherryError or OSError when it cannot start."""
        settings = self._settings
        if settings.places is DOCKERS:
            dropin.check(settings)
        async with AsyncExitStack() as stack:
            listeners, warnings = listen.open_all(settings, self._environment) if settings.docker_api else ([], [])
            stack.callback(listen.close_all, listeners)
            for warning in warnings:
                log.warning("%s", warning)
            pidfile.write(settings.pid_file)
            stack.callback(pidfile.remove, settings.pid_file)
            self._handle_signals()
            if not settings.docker_api:
                self._serve_containerd(stack, await stack.enter_async_context(containerd.alone(settings.engine, settings.pace)))
                await self._serve(ready)
                return 0
            engine = self._engine = await Engine.open(settings.engine)
            engine.info.debug = settings.debug
            server = Server(router(engine), HEADERS)
            try:
                async with AsyncExitStack() as beside:
                    if settings.containerd_address:
                        self._serve_containerd(beside, containerd.shared(engine, settings.pace))
                    for listener in listeners:
                        await server.listen(listener.sock, listener.context)
                        log.info("API listen on %s", listener.address.removeprefix("unix://"))
                    await self._serve(ready, server)
            finally:
                # Those who wait for a container hear of its end before their connections close.
                server.stop()
                await engine.close()
                await server.close(ANSWERS_SECONDS)
        return 0

    def _serve_containerd(self, stack: AsyncExitStack, ground: containerd.Ground) -> None:
        stack.push_async_callback(containerd.door(ground, self._settings.containerd_address).close, CALLS_SECONDS)

    async def _serve(self, ready: Callable[[], None], server: Server | None = None) -> None:
        waiting = None
        if self._settings.on_demand_s is not None and server is not None and self._engine is not None:
            waiting = asyncio.create_task(Idle(self._engine, server, self._settings.on_demand_s).wait())
            waiting.add_done_callback(lambda _: self._ended.set())
        log.info("Daemon has completed initialization")
        ready()
        notify("READY=1", self._environment)
        await self._ended.wait()
        notify("STOPPING=1", self._environment)
        if waiting is not None:
            waiting.cancel()

    # -- signals

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._interrupt, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGUSR1, dump_tasks)

    def _interrupt(self, number: int) -> None:
        log.info("Processing signal '%s'", signal.Signals(number).name)
        self._interrupts += 1
        self._ended.set()
        if self._interrupts >= FORCED_AFTER:
            log.info("Forcing shutdown without cleanup; %d interrupts received", FORCED_AFTER)
            os._exit(128 + number)

    def _reload(self) -> None:
        """Takes over what can change while running; the rest is named in the log. Wrong settings change nothing."""
        notify("RELOADING=1", self._environment)
        try:
            fresh = self._read_again()
        except WherryError as error:
            log.error("Got signal to reload configuration, but it cannot be used: %s", error.message)
            notify("READY=1", self._environment)
            return
        settings, changed, waiting = reloaded(self._settings, fresh)
        self._settings = settings
        set_level(settings.log_level, debug=settings.debug)
        engine = self._engine
        if engine is not None:
            engine.reload(settings.engine)
            engine.info.debug = settings.debug
        for name in waiting:
            log.warning("%s was changed in the configuration, and takes effect at the next start", name)
        log.info("Got signal to reload configuration, reloaded: %s", ", ".join(changed) or "nothing new")
        if engine is not None:
            engine.events.publish("daemon", "reload", engine.info.id, {"name": os.uname().nodename})
        notify("READY=1", self._environment)


def dump_tasks() -> None:
    """Writes the stack of every task to the log."""
    for task in asyncio.all_tasks():
        text = io.StringIO()
        task.print_stack(file=text)
        log.info("%s", text.getvalue())
