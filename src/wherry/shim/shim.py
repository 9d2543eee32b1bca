"""The shim: one process per container, which owns its streams and its end, and outlives the daemon.

A fork of the zygote runs `run(request, connection)`: it creates the container, answers on the connection, and then lives in the
loop, with the daemon on that connection, or with the next daemon on `<run_folder>/shim.sock`. `protocol.py` has the conversation.

    created ──start──► running ──init ends, output read──► exited ──release, or no daemon──► gone (when clients have all)
       └──────────── release, daemon gone, start failed ───────────────────────────────────► gone, nothing left behind
"""

from __future__ import annotations

import _signal
import os
import sys
import time

from wherry.errors import Conflict, InvalidArgument, NotFound, WherryError
from wherry.linux import process, unixsocket
from wherry.shim import packets, protocol
from wherry.shim.driver import make_driver
from wherry.shim.exitfile import write_exit
from wherry.shim.logwriter import LogWriter
from wherry.shim.loop import ERR, HUP, IN, OUT, Loop
from wherry.shim.oomwatch import OomWatch
from wherry.shim.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator
    from typing import Any, Final

    from wherry.runtime.slot import Slot
    from wherry.shim.attachment import Attachment
    from wherry.shim.protocol import AttachRequest, Exited, LaunchRequest, ShimEvent

SIGKILL: Final = 9
TERMINATING: Final = (1, 2, 15)  # SIGHUP, SIGINT, SIGTERM
MAX_DEFECTS: Final = 100
CLIENTS_PATIENCE_S: Final = 300.0  # after the end, for clients that do not read


class Exec:
    """A further process: its streams, and how it ended."""

    def __init__(self, pid: int, stdio: Stdio) -> None:
        self.pid = pid
        self.stdio = stdio
        self.exited: Exited | None = None
        self.is_forgotten = False


class Peer:
    """A daemon's connection, with what could not be sent yet."""

    def __init__(self, connection: _socket.socket) -> None:
        self.connection = connection
        self.fd = connection.fileno()
        self.queue: list[tuple[bytes, tuple[int, ...]]] = []


class Shim:
    """One container from its creation to its end."""

    def __init__(self, request: LaunchRequest, connection: _socket.socket, slot: Slot | None) -> None:
        self._request = request
        self._loop = Loop()
        self._folder = os.open(request.run_folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._driver = make_driver(request, self._folder, slot)
        self._peers: dict[int, Peer] = {}
        self._launcher = connection
        self._listener: _socket.socket | None = None
        self._log: LogWriter | None = None
        self._stdio = Stdio(
            self._loop,
            terminal=request.terminal,
            open_stdin=request.open_stdin,
            close_on_eof=request.stdin_once,
            client_ended=self._client_ended,
            replay=self._replay,
        )
        self._execs: dict[str, Exec] = {}
        self._by_pid: dict[int, str] = {}
        self._pid = 0
        self._start_time = 0
        self._rtnetlink: int | None = None
        self._shares_pids = False
        self._parked_pid = 0
        self._ooms = OomWatch(self._loop, lambda: self._tell(protocol.OutOfMemory(at_ns=time.time_ns())))
        self._started = False
        self._exited: Exited | None = None
        self._is_ending = False
        self._is_gone = False
        self._defects = 0

    # Creation

    def create(self) -> None:
        """Makes the container and listens. When it fails nothing is left."""
        request = self._request
        self._loop.on_child(self._child_ended)
        for stale in (protocol.EXIT_NAME, protocol.SOCKET_NAME):
            try:
                os.unlink(stale, dir_fd=self._folder)
            except FileNotFoundError:
                pass
        if request.log.driver == "json-file":
            self._log = LogWriter(request.log, self._log_failed)
            self._stdio.set_log(self._log)
        elif request.log.driver != "none":
            raise InvalidArgument(f"the shim has no log driver {request.log.driver!r}")
        for attach, fd in request.attach:
            self._stdio.attach(attach, fd)
        started = self._driver.create(self._stdio.open_child_ends())
        self._pid = started.pid
        self._rtnetlink = started.rtnetlink
        try:
            self._stdio.begin(started.console, request.console_size)
            self._start_time = process.start_time(self._pid)
            self._shares_pids = os.readlink(f"/proc/{self._pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
            self._listener = unixsocket.listen(f"{request.run_folder}/{protocol.SOCKET_NAME}")
            self._loop.watch(self._listener.fileno(), IN, self._connected)
        except BaseException:
            self._destroy()
            raise
        self._welcome(self._launcher)

    def run(self) -> None:
        """Lives until everything is over."""
        while not self._is_gone or self._has_clients() or any(peer.queue for peer in self._peers.values()):
            try:
                self._loop.run_once()
            except Exception as error:  # a defect in one place must not cost the container its streams and its end
                self._complain(f"{type(error).__name__}: {error}")
                self._defects += 1
                if self._defects > MAX_DEFECTS:
                    raise

    def _destroy(self) -> None:
        """Undoes the creation of a container that was not started, or could not be."""
        self._driver.close()
        if self._pid:
            try:
                os.kill(self._pid, SIGKILL)
                os.waitpid(self._pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self._pid = 0
        try:
            self._driver.delete()
        except (WherryError, OSError) as error:
            self._complain(f"what is left of the container could not be removed: {error}")
        self._stdio.drop()
        self._leave()

    def _leave(self) -> None:
        """No daemon will find this shim from here on."""
        self._is_ending = self._is_gone = True
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
            try:
                os.unlink(protocol.SOCKET_NAME, dir_fd=self._folder)
            except FileNotFoundError:
                pass
        self._loop.after(CLIENTS_PATIENCE_S, lambda: os._exit(0))

    # The daemon

    def _connected(self, _events: int) -> None:
        assert self._listener is not None
        import _socket

        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (`accept` is the wrapping class's)
        except (BlockingIOError, ConnectionAbortedError):
            return
        self._welcome(_socket.socket(fileno=fd))

    def _welcome(self, connection: _socket.socket) -> None:
        connection.setblocking(False)
        packets.make_roomy(connection)
        peer = Peer(connection)
        self._peers[peer.fd] = peer
        self._loop.watch(peer.fd, IN, lambda events: self._peer_ready(peer, events))
        execs = tuple(protocol.ExecState(exec_id=name, pid=one.pid, exited=one.exited) for name, one in self._execs.items())
        hello = protocol.Hello(
            id=self._request.id,
            pid=self._pid,
            shim_pid=os.getpid(),
            start_time=self._start_time,
            started=self._started,
            exited=self._exited,
            execs=execs,
            parked_pid=self._parked_pid,
        )
        self._send(peer, protocol.pack({"re": 0, **protocol.plain(hello)}), () if self._rtnetlink is None else (self._rtnetlink,))

    def _send(self, peer: Peer, packet: bytes, fds: tuple[int, ...] = ()) -> None:
        if not peer.queue:
            try:
                unixsocket.send(peer.connection, packet, fds)
            except BlockingIOError:
                pass
            except OSError:  # it is gone; its end is read from the connection
                return
            else:
                return
        peer.queue.append((packet, fds))
        self._loop.watch(peer.fd, IN | OUT, lambda events: self._peer_ready(peer, events))

    def _tell(self, event: ShimEvent) -> None:
        packet = protocol.event_message(event)
        for peer in list(self._peers.values()):
            self._send(peer, packet)

    def _peer_ready(self, peer: Peer, events: int) -> None:
        if events & OUT and peer.queue:
            waiting, peer.queue = peer.queue, []
            for packet, fds in waiting:
                self._send(peer, packet, fds)
            if not peer.queue:
                self._loop.watch(peer.fd, IN, lambda events: self._peer_ready(peer, events))
        if not events & (IN | HUP | ERR):
            return
        try:
            packet, received = packets.receive(peer.connection)
        except BlockingIOError:
            return
        if packet:
            self._obey(peer, packet, received)
        else:
            self._peer_gone(peer)

    def _peer_gone(self, peer: Peer) -> None:
        self._loop.forget(peer.fd)
        del self._peers[peer.fd]
        peer.connection.close()
        if self._peers or self._is_ending:
            return
        if not self._started:
            self._destroy()  # nobody knows of it
        elif self._exited is not None:
            self._leave()

    def _obey(self, peer: Peer, packet: bytes, fds: list[int]) -> None:
        """Does one order and answers. Descriptors that the order did not take over are closed."""
        seq = -1
        after = None
        try:
            body, raw = protocol.unpack(packet)
            seq = body["seq"]
            order = self._ORDERS.get(body["do"])
            if order is None:
                raise InvalidArgument(f"order {body['do']!r} is not part of the shim's protocol")
            answer: dict[str, Any] = order(self, body, raw, fds) or {}
            after = answer.pop("after", None)
        except Exception as error:  # noqa: BLE001 (the boundary of a request: who asked is told)
            answer = {"error": protocol.error_body(error)}
        for fd in fds:
            os.close(fd)
        self._send(peer, protocol.pack({"re": seq, **answer}))
        if after is not None:
            after()

    # Orders

    def _start(self, _body: dict[str, Any], _raw: bytes, _fds: list[int]) -> dict[str, Any]:
        if self._started or self._is_ending:
            raise Conflict(f"container {self._request.id} was started already")
        try:
            self._driver.start()
        except BaseException:
            self._destroy()
            raise
        self._started = True
        return {"after": lambda: self._ooms.begin(self._pid)}

    def _exec(self, body: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        self._drop_forgotten()
        request = protocol.read_exec(body, raw, tuple(fds))
        if request.exec_id in self._execs or not request.exec_id:
            raise Conflict(f"exec {request.exec_id!r} exists already in container {self._request.id}")
        if not self._started or self._exited is not None:
            raise Conflict(f"container {self._request.id} is not running")
        stdio = Stdio(
            self._loop,
            terminal=request.terminal,
            open_stdin=request.open_stdin,
            close_on_eof=True,
            client_ended=self._client_ended,
        )
        try:
            started = self._driver.execute(request, stdio.open_child_ends())
        except BaseException:
            stdio.drop()
            raise
        self._execs[request.exec_id] = Exec(started.pid, stdio)
        self._by_pid[started.pid] = request.exec_id
        stdio.begin(started.console, request.console_size)
        for attach, fd in request.attach:
            fds.remove(fd)
            stdio.attach(attach, fd)
        return {"pid": started.pid, "after": self._park}

    def _park(self) -> None:
        """After an exec was answered: nobody waits for it."""
        try:
            pid = self._driver.park()
        except (WherryError, OSError) as error:
            self._complain(f"the next exec could not be prepared: {error}")
            return
        if pid:
            self._parked_pid = pid
            for peer in list(self._peers.values()):
                self._send(peer, protocol.pack({"event": "parked", "pid": pid}))

    def _signal(self, body: dict[str, Any], _raw: bytes, _fds: list[int]) -> None:
        pid = self._running(body["exec_id"])
        if body["everyone"]:
            self._driver.kill_all(body["number"])
        else:
            os.kill(pid, body["number"])

    def _resize(self, body: dict[str, Any], _raw: bytes, _fds: list[int]) -> None:
        self._running(body["exec_id"])
        if not self._streams(body["exec_id"]).resize(body["height"], body["width"]):
            raise Conflict("the process has no terminal")

    def _attach(self, body: dict[str, Any], raw: bytes, fds: list[int]) -> None:
        ((request, fd),) = protocol.read_clients(body, raw, tuple(fds))
        stdio = self._streams(request.exec_id)
        if stdio.is_finished and not request.logs:
            raise Conflict(f"the process to attach to has ended in container {self._request.id}")
        fds.clear()
        stdio.attach(request, fd)

    def _close_stdin(self, body: dict[str, Any], _raw: bytes, _fds: list[int]) -> None:
        self._streams(body["exec_id"]).close_stdin()

    def _forget(self, body: dict[str, Any], _raw: bytes, _fds: list[int]) -> None:
        known = self._execs.get(body["exec_id"])
        if known is not None and known.exited is not None:
            known.is_forgotten = True
        self._drop_forgotten()

    def _drop_forgotten(self) -> None:
        """Those whose last client has gone; who still reads its last bytes keeps its exec a little longer."""
        for exec_id, one in list(self._execs.items()):
            if one.is_forgotten and not one.stdio.has_clients:
                del self._execs[exec_id]

    def _release(self, _body: dict[str, Any], _raw: bytes, _fds: list[int]) -> None:
        if self._is_ending:
            return
        if not self._started:
            self._destroy()
        elif self._exited is not None:
            self._leave()
        else:
            raise Conflict(f"container {self._request.id} is running")

    _ORDERS: Final = {
        "start": _start,
        "exec": _exec,
        "signal": _signal,
        "resize": _resize,
        "attach": _attach,
        "close-stdin": _close_stdin,
        "forget": _forget,
        "release": _release,
    }

    def _streams(self, exec_id: str) -> Stdio:
        if not exec_id:
            return self._stdio
        if exec_id not in self._execs:
            raise NotFound(f"no exec {exec_id} in container {self._request.id}")
        return self._execs[exec_id].stdio

    def _running(self, exec_id: str) -> int:
        """The pid of a process that was not reaped yet."""
        self._streams(exec_id)
        pid = self._execs[exec_id].pid if exec_id else self._pid
        if not pid:
            raise NotFound(f"the process has ended in container {self._request.id}")
        return pid

    # Ends

    def _child_ended(self, pid: int, status: int) -> None:
        at_ns = time.time_ns()
        code = os.waitstatus_to_exitcode(status)
        exited = protocol.Exited(code=code if code >= 0 else 128 - code, signalled=code < 0, at_ns=at_ns)
        if pid == self._pid:
            self._pid = 0
            if not self._started or self._is_ending:  # it died while it waited: `start` will fail and remove it
                return
            if self._shares_pids:  # the kernel ends the others only with their pid namespace
                try:
                    self._driver.kill_all(SIGKILL)
                except (WherryError, OSError):
                    pass  # nobody is left
            self._stdio.finish(lambda: self._report_exit(exited))
        elif pid in self._by_pid:
            exec_id = self._by_pid.pop(pid)
            self._execs[exec_id].pid = 0
            self._execs[exec_id].stdio.finish(lambda: self._report_exec(exec_id, exited.replace(exec_id=exec_id)))
        else:
            self._driver.child_ended(pid)
            if pid == self._parked_pid:
                self._parked_pid = 0

    def _report_exec(self, exec_id: str, exited: Exited) -> None:
        self._execs[exec_id].exited = exited
        self._tell(exited)

    def _report_exit(self, exited: Exited) -> None:
        """The container has ended and its output is read: on disk first, then to whoever listens, then the tidying."""
        exited = exited.replace(oom=self._ooms.has_killed())
        if self._log is not None:
            self._log.close()
            self._stdio.set_log(None)
        try:
            write_exit(self._folder, exited)
        except OSError as error:
            self._complain(f"the exit file could not be written: {error}")
        self._exited = exited
        self._tell(exited)
        self._driver.close()
        self._ooms.end()
        try:
            self._driver.delete()
        except (WherryError, OSError) as error:
            self._complain(f"what is left of the container could not be removed: {error}")
        if not self._peers:
            self._leave()

    def _has_clients(self) -> bool:
        return self._stdio.has_clients or any(one.stdio.has_clients for one in self._execs.values())

    # What happens meanwhile

    def _client_ended(self, attachment: Attachment, detached: bool) -> None:
        self._tell(
            protocol.AttachEnded(attach_id=attachment.request.attach_id, exec_id=attachment.request.exec_id, detached=detached)
        )

    def _log_failed(self, message: str) -> None:
        self._tell(protocol.LogFailed(message=message))

    def _replay(self, request: AttachRequest, terminal: bool) -> Iterator[bytes]:
        from wherry.shim.logfile import LogFile, ReadOptions

        if self._request.log.driver != "json-file":
            return iter(())
        options = ReadOptions(stdout=request.stdout, stderr=request.stderr, multiplex=request.multiplex and not terminal)
        return LogFile(self._request.log.path).read(options)

    def _complain(self, message: str) -> None:
        """Says something that nobody asked for, where the daemon's own messages go."""
        try:
            os.write(2, f"wherry-shim {self._request.id[:12]}: {message}\n".encode())
        except OSError:
            pass  # whoever read it has gone


def run(request: LaunchRequest, connection: _socket.socket, slot: Slot | None = None) -> int:
    """The life of a shim, in a fork of the zygote; the exit status for it. Errors of the creation go to the connection.

    `slot`: what was made ahead for a container that is like most.
    """
    os.setsid()
    process.set_title(f"wherry-shim {request.id}")
    process.set_child_subreaper()
    for number in TERMINATING:  # what ends a daemon's process group must not take its containers along
        _signal.signal(number, 1)
    try:
        shim = Shim(request, connection, slot)
        shim.create()
    except Exception as error:  # noqa: BLE001 (the boundary of a request: who asked is told)
        connection.setblocking(True)
        try:
            unixsocket.send(connection, protocol.pack({"re": 0, "error": protocol.error_body(error)}))
        except OSError:
            sys.stderr.write(f"wherry-shim {request.id[:12]}: {error}\n")
        return 1
    shim.run()
    return 0
