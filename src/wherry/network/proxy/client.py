"""wherryd's side of the control socket of `wherry-proxy`: finds the running one, or starts it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from wherry.errors import Internal, Unavailable
from wherry.linux import unixsocket
from wherry.network.proxy import protocol

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable

SOCKET_NAME = "proxy.sock"
_START_S = 10.0
_STEP_S = 0.005


def default_program() -> tuple[str, ...]:
    """Where `wherry-proxy` is: beside the interpreter, beside the package's checkout, or on the path."""
    folder = os.path.dirname(os.path.abspath(__file__))
    checkout = os.path.normpath(os.path.join(folder, "../../../../bin/wherry-proxy"))
    for candidate in (os.path.join(os.path.dirname(sys.executable), "wherry-proxy"), checkout):
        if os.access(candidate, os.X_OK):
            return (candidate,)
    return (shutil.which("wherry-proxy") or "wherry-proxy",)


class ProxyClient:
    """The way to one proxy process, found by its socket `<run_folder>/proxy.sock`. Thread-safe.

    A proxy that died is started again; `on_new` is then called (outside the lock) to give it everything anew.
    """

    def __init__(self, run_folder: str, program: tuple[str, ...] = ()) -> None:
        """`program`: how the proxy is started (default: this installation's `wherry-proxy`). Touches nothing yet."""
        self.path = os.path.join(run_folder, SOCKET_NAME)
        self.on_new: Callable[[], None] | None = None
        self._program = program or default_program()
        self._lock = Lock()
        self._connection: _socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Starts the proxy unless one answers, without waiting for it: the daemon has other things to do meanwhile."""
        with self._lock:
            if self._connection is None and not self._connect_once():
                self._spawn()

    def is_there(self) -> bool:
        """Whether a proxy answers that was not started from here: one that outlived another wherryd."""
        with self._lock:
            return self._process is None and (self._connection is not None or self._connect_once())

    def ports(self, entries: Iterable[protocol.Port], fds: Iterable[int]) -> None:
        """Hands sockets over; the descriptors here stay the caller's. Raises Internal, Unavailable."""
        entries, fds = tuple(entries), tuple(fds)
        for start in range(0, len(entries), protocol.MAX_PORTS):
            part = slice(start, start + protocol.MAX_PORTS)
            self._ask({"do": "ports", "entries": entries[part]}, fds[part])

    def close_ports(self, owners: Iterable[str]) -> None:
        """Closes what owners have."""
        self._ask({"do": "close-ports", "owners": tuple(owners)})

    def dns(self, entry: protocol.Dns, fds: Iterable[int] = ()) -> None:
        """Serves a container's DNS on two sockets (UDP, TCP), or without sockets changes what it sees."""
        self._ask({"do": "dns", "entry": entry}, tuple(fds))

    def close_dns(self, containers: Iterable[str]) -> None:
        """Ends containers' DNS."""
        self._ask({"do": "close-dns", "containers": tuple(containers)})

    def names(self, put: Iterable[protocol.Known] = (), remove: Iterable[tuple[str, str]] = ()) -> None:
        """Adds and removes names of endpoints."""
        self._ask({"do": "names", "put": tuple(put), "remove": tuple(remove)})

    def list(self) -> dict[str, Any]:
        """What the proxy has: owners of ports, containers with DNS, (network, endpoint) of names, its pid."""
        return self._ask({"do": "list"})

    def stop(self) -> None:
        """Ends the proxy if one runs; waits until it has gone when it was started from here."""
        with self._lock:
            if self._connection or self._connect_once():
                with contextlib.suppress(OSError):
                    self._exchange({"do": "stop"}, ())
            self._disconnect()
            if self._process:
                self._process.terminate()
                self._process.wait(_START_S)
                self._process = None

    def close(self) -> None:
        """Lets go of the proxy, which goes on."""
        with self._lock:
            self._disconnect()
            if self._process:
                # It was started in a session of its own and is meant to outlive this process.
                self._process.returncode = 0
                self._process = None

    def _ask(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
        is_new = False
        with self._lock:
            if self._connection is None:
                is_new = self._connect()
            if not is_new:
                try:
                    return self._checked(self._exchange(message, fds))
                except OSError:
                    self._disconnect()
                    is_new = self._connect()
            if self.on_new is None or not is_new:
                return self._checked(self._retry(message, fds))
        self.on_new()
        with self._lock:
            return self._checked(self._retry(message, fds))

    def _retry(self, message: dict[str, Any], fds: tuple[int, ...]) -> dict[str, Any]:
        try:
            return self._exchange(message, fds)
        except OSError as error:
            self._disconnect()
            raise Unavailable(f"wherry-proxy does not answer on {self.path}: {error}") from error

    def _exchange(self, message: dict[str, Any], fds: tuple[int, ...]) -> dict[str, Any]:
        if self._connection is None:
            raise ConnectionResetError
        unixsocket.send(self._connection, protocol.encode(message), fds)
        data, unexpected = unixsocket.receive(self._connection, protocol.MAX_MESSAGE)
        for fd in unexpected:
            os.close(fd)
        if not data:
            raise ConnectionResetError
        return protocol.decode(data)

    def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "error" in answer:
            raise Internal(f"wherry-proxy: {answer['error']}")
        return answer

    def _connect(self) -> bool:
        """Connects; whether the proxy had to be started for it (then it knows nothing)."""
        if self._process is None and self._connect_once():
            return False
        if self._process is None or self._process.poll() is not None:
            self._spawn()
        deadline = time.monotonic() + _START_S
        while not self._connect_once():
            assert self._process
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process = None
                raise Unavailable(f"wherry-proxy ({' '.join(self._program)}) did not start")
            time.sleep(_STEP_S)
        return True

    def _connect_once(self) -> bool:
        try:
            self._connection = unixsocket.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def _spawn(self) -> None:
        os.makedirs(os.path.dirname(self.path), mode=0o711, exist_ok=True)
        try:
            # A session of its own: a signal to wherryd's terminal or process group must not end the ports.
            self._process = subprocess.Popen([*self._program, "--control", self.path], start_new_session=True,
                                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/")
        except OSError as error:
            raise Unavailable(f"wherry-proxy cannot be started: {self._program[0]}: {error.strerror}") from error

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None
