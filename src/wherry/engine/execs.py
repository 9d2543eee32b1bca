"""`docker exec`: further processes in a running container.

    create    the command is noted; nothing runs
    start     the shim runs it, with the client's connection attached or not; once only
    end       the exit code is kept until the container ends, or for five minutes after the exec's own end

What is written when it cannot start goes to the client in its stream, since the answer's head is sent by then.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wherry.engine import detachkeys
from wherry.engine.execprocess import exec_process
from wherry.engine.starting import hint
from wherry.errors import Conflict, InvalidArgument, NotFound, WherryError
from wherry.shim import protocol
from wherry.shim.stdcopy import STDOUT, header

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.events import Events
    from wherry.engine.model import ExecRequest
    from wherry.engine.options import EngineOptions
    from wherry.engine.pool import Pool
    from wherry.engine.rootfs import Roots
    from wherry.engine.spec.facts import Facts

KEPT_S = 300.0
# What dockerd reports of every exec that does not start, whatever the reason.
NOT_STARTED = 126


class Exec:
    """One process asked for. `exit_code` is None until it has ended; 126 when it could not start."""

    def __init__(self, container: Container, request: ExecRequest) -> None:
        self.id = secrets.token_hex(32)
        self.container = container
        self.request = request
        self.detach_keys = detachkeys.parse(request.detach_keys, called="escape")
        self.pid = 0
        self.started = False
        self.running = False
        self.exit_code: int | None = None
        self.ended = asyncio.get_running_loop().create_future()

    def command(self) -> str:
        """The command line, for events."""
        return " ".join(self.request.cmd or ())

    def attributes(self, **more: str) -> dict[str, str]:
        """What its events say."""
        return self.container.attributes(execID=self.id, **more)

    def inspect(self) -> dict[str, Any]:
        """What `GET /exec/{id}/json` shows."""
        request = self.request
        process: dict[str, Any] = {"tty": request.tty, "entrypoint": (request.cmd or ("",))[0],
                                   "arguments": list((request.cmd or ())[1:]), "privileged": request.privileged}
        if request.user:
            process["user"] = request.user
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": process,
            "OpenStdin": request.attach_stdin,
            "OpenStderr": request.attach_stderr,
            "OpenStdout": request.attach_stdout,
            "CanRemove": False,
            "ContainerID": self.container.id,
            "DetachKeys": list(self.detach_keys) and request.detach_keys,
            "Pid": self.pid,
        }


class Execs:
    """All execs of one engine."""

    def __init__(self, *, pool: Pool, events: Events, roots: Roots, facts: Facts, options: EngineOptions) -> None:
        self._pool = pool
        self._facts = facts
        self._options = options
        self._events = events
        self._roots = roots
        self._by_id: dict[str, Exec] = {}

    def create(self, container: Container, request: ExecRequest, reference: str = "") -> Exec:
        """Notes a command. Raises InvalidArgument without one, Conflict (which may say `reference`) unless the container runs."""
        container.require_shim(reference)
        if not request.cmd:
            raise InvalidArgument("No exec command specified")
        one = Exec(container, request)
        self._by_id[one.id] = one
        container.execs[one.id] = one
        self._events.publish("container", f"exec_create: {one.command()}", container.id, one.attributes())
        return one

    def find(self, exec_id: str) -> Exec:
        """Raises NotFound, also some minutes after it or its container has ended."""
        one = self._by_id.get(exec_id)
        if one is None:
            matching = [found for key, found in self._by_id.items() if exec_id and key.startswith(exec_id)]
            if len(matching) != 1:
                raise NotFound(f"No such exec instance: {exec_id}")
            one = matching[0]
        return one

    def check_start(self, one: Exec) -> None:
        """Raises Conflict when it runs, has run, or its container does not run."""
        if one.running or one.started:
            raise Conflict(f"Error: Exec command {one.id} is already running" if one.running
                           else f"Error: Exec command {one.id} has already run")
        one.container.require_shim()

    async def start(self, one: Exec, *, connection: tuple[int, bytes] | None = None, multiplex: bool = True,
                    console_size: tuple[int, int] = (0, 0)) -> None:
        """Runs it, with a client's connection (descriptor, bytes read early) or in the background.

        `multiplex`: the client reads stdcopy frames. It says so itself, when it starts the command, whatever was created.
        Raises what `check_start` raises, and StartFailed; the connection is the callee's in any case, and a client is
        told in its stream why its command does not run.
        """
        fd = connection[0] if connection else -1
        try:
            self.check_start(one)
            one.started = True
            shim = one.container.require_shim()
            request = one.request
            process = await self._pool.run(self._process, one)
            client: tuple[tuple[protocol.AttachRequest, int], ...] = ()
            if connection:
                client = ((protocol.AttachRequest(
                    attach_id=f"exec-{one.id}", exec_id=one.id, stdin=request.attach_stdin, stdout=request.attach_stdout,
                    stderr=request.attach_stderr, multiplex=multiplex, detach_keys=one.detach_keys,
                    early=connection[1]), fd),)
            one.running = True
            one.pid = await shim.exec(protocol.ExecRequest(
                exec_id=one.id, process=process, terminal=request.tty, open_stdin=request.attach_stdin,
                console_size=console_size if any(console_size) else request.console_size or (0, 0), attach=client))
        except BaseException as error:
            one.running = False
            if one.exit_code is None:
                one.exit_code = NOT_STARTED
            _settle(one)
            if connection:
                await _refuse(fd, failure(error), multiplex=multiplex)
            if isinstance(error, protocol.StartFailed):
                raise InvalidArgument(failure(error)) from error
            raise
        self._events.publish("container", f"exec_start: {one.command()}", one.container.id, one.attributes())

    def exited(self, container: Container, event: protocol.Exited) -> None:
        """The shim reports the end of an exec."""
        one = self._by_id.get(event.exec_id)
        if one is None:
            return
        one.exit_code, one.running, one.pid = event.code, False, 0
        _settle(one)
        self._events.publish("container", "exec_die", container.id, one.attributes(exitCode=str(event.code)))
        asyncio.get_running_loop().call_later(KEPT_S, self._forget, one)

    def detached(self, container: Container, exec_id: str) -> None:
        """The client left by its detach keys."""
        if (one := self._by_id.get(exec_id)) is not None:
            self._events.publish("container", "exec_detach", container.id, one.attributes())

    def container_ended(self, container: Container) -> None:
        """A container has ended: so have its execs, whose exit codes are still asked for by those who were attached."""
        for one in container.execs.values():
            asyncio.get_running_loop().call_later(KEPT_S, self._by_id.pop, one.id, None)
            if one.exit_code is None and one.started:
                one.exit_code = 137
            one.running = False
            _settle(one)
        container.execs = {}

    async def resize(self, one: Exec, height: int, width: int) -> None:
        """Sets the size of its terminal. Raises Conflict when it does not run."""
        if not one.running or one.container.shim is None:
            raise Conflict(f"exec {one.id} is not running")
        await one.container.shim.resize(height, width, one.id)

    async def run(self, container: Container, request: ExecRequest, timeout_s: float | None, limit: int) -> tuple[int, bytes]:
        """Runs a command to its end; its exit code and the first `limit` bytes of its output.

        Raises TimeoutError (the process is killed then), Conflict, InvalidArgument.
        """
        one = self.create(container, request)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            try:
                async with asyncio.timeout(timeout_s):
                    await self.start(one, connection=(theirs.detach(), b""), multiplex=False)
                    output = await _drain(ours, limit)
                    await one.ended
            except TimeoutError:
                if one.running and container.shim is not None:
                    with suppress(WherryError):
                        await container.shim.signal(9, one.id)
                raise
        return one.exit_code if one.exit_code is not None else -1, output

    def _process(self, one: Exec) -> dict[str, Any]:
        with self._roots.opened(one.container) as root:
            return exec_process(one.container, one.request, f"/proc/self/fd/{root}", self._facts, self._options)

    def _forget(self, one: Exec) -> None:
        self._by_id.pop(one.id, None)
        one.container.execs.pop(one.id, None)


def failure(error: BaseException) -> str:
    """Docker's words for an exec that could not start."""
    if isinstance(error, protocol.StartFailed):
        cause = error.message if error.message.startswith(("exec failed", "runc ")) else f"exec failed: {error.message}"
        return f"OCI runtime exec failed: {cause}: unknown{hint(cause)}"
    return str(error)


def _settle(one: Exec) -> None:
    if not one.ended.done():
        one.ended.set_result(None)


async def _refuse(fd: int, message: str, *, multiplex: bool) -> None:
    """Tells a client in its stream why nothing runs, and closes its connection."""
    with socket.socket(fileno=fd) as connection:
        connection.setblocking(False)
        text = message.encode() + b"\r\n"
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(connection, (header(STDOUT, len(text)) if multiplex else b"") + text)


async def _drain(connection: socket.socket, limit: int) -> bytes:
    """Reads to the end; keeps the first `limit` bytes."""
    loop = asyncio.get_running_loop()
    kept = bytearray()
    while data := await loop.sock_recv(connection, 65536):
        kept += data[:max(0, limit - len(kept))]
    return bytes(kept)


