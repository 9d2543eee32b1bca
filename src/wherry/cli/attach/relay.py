"""Moves bytes between this terminal and a connection that the daemon has given away, with one poll loop and no threads.

stdin ──(detach keys)──► connection            the end of stdin half-closes the connection
connection ──(frames)──► stdout, stderr        the end of the connection ends the loop
signals ───────────────► the caller            window size, signals to pass on, signals that end us
"""

from __future__ import annotations

import os
import select

from wherry.cli.attach.stdcopy import STDERR, SYSTEM_ERROR, Demultiplexer
from wherry.cli.http import SHUT_WR
from wherry.console.streams import write_all
from wherry.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cli.attach.keys import DetachFilter
    from wherry.cli.http import Socket
    from wherry.console.signals import SignalWatch
    from wherry.console.streams import Streams

PIECE = 1 << 16
DONTWAIT, NOSIGNAL = 0x40, 0x4000
CLOSED = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Relay:
    """One attached connection. `framed` says that stdout and stderr come in frames; without stdin `stdin` is None."""

    def __init__(
        self,
        streams: Streams,
        socket: Socket,
        early: bytes,
        *,
        framed: bool,
        stdin: int | None,
        keys: DetachFilter | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> None:
        self._streams = streams
        self._socket = socket
        self._early = early
        self._frames = Demultiplexer() if framed else None
        self._stdin = stdin
        self._keys = keys
        self._wanted = {1: stdout, 2: stderr}
        self._pending = b""
        self._half_close = False

    def run(self, signals: SignalWatch | None = None, on_signal: Callable[[int], None] | None = None) -> bool:
        """Runs until the connection ends (True) or the detach keys were typed (False).

        What `on_signal` raises ends it as well.
        """
        poll = select.poll()
        end = self._socket.fileno()
        pending = getattr(self._socket, "pending", None)
        if self._early:
            self._write(self._early)
        if signals is not None:
            poll.register(signals.fileno(), select.POLLIN)
        if self._stdin is not None:
            poll.register(self._stdin, select.POLLIN)
        poll.register(end, select.POLLIN)
        while True:
            for fd, event in poll.poll(0 if pending is not None and pending() else None) or [(end, select.POLLIN)]:
                if signals is not None and fd == signals.fileno():
                    for number in signals.read():
                        if on_signal is not None:
                            on_signal(number)
                elif fd == end:
                    if event & select.POLLOUT:
                        self._flush(poll)
                    if event & (select.POLLIN | CLOSED) and not self._receive():
                        return True
                elif not self._typed(poll):
                    return False

    def _receive(self) -> bool:
        try:
            data = self._socket.recv(PIECE)
        except ConnectionResetError:
            return False
        if data:
            self._write(data)
        return bool(data)

    def _write(self, data: bytes) -> None:
        if self._frames is None:
            write_all(self._streams.stdout, data)
            return
        for kind, payload in self._frames.feed(data):
            if kind == SYSTEM_ERROR:
                raise Internal(f"error from daemon in stream: {payload.decode('utf-8', 'replace')}")
            if self._wanted.get(kind or 1):
                write_all(self._streams.stderr if kind == STDERR else self._streams.stdout, payload)

    def _typed(self, poll: select.poll) -> bool:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, PIECE)
        except OSError:  # the terminal has gone (EIO); for the container that is the end of its input
            data = b""
        if not data:
            poll.unregister(self._stdin)
            self._half_close = True
        elif self._keys is not None:
            data = self._keys.feed(data)
            if self._keys.detached:
                return False
        self._pending += data
        self._flush(poll)
        return True

    def _flush(self, poll: select.poll) -> None:
        """Sends what the connection takes now.

        While something is left, stdin is not read: a slow container holds back whoever types.
        """
        try:
            self._pending = self._pending[self._send(self._pending) :] if self._pending else b""
        except (BrokenPipeError, ConnectionResetError):
            self._pending = b""
        if self._stdin is not None and not self._half_close:
            poll.register(self._stdin, 0 if self._pending else select.POLLIN)
        poll.register(self._socket.fileno(), select.POLLIN | (select.POLLOUT if self._pending else 0))
        if self._half_close and not self._pending:
            try:
                self._socket.shutdown(SHUT_WR)
            except OSError:  # the other side was faster
                return

    def _send(self, data: bytes) -> int:
        some = getattr(self._socket, "send_some", None)
        try:
            return int(some(data)) if some is not None else int(self._socket.send(data, DONTWAIT | NOSIGNAL))
        except BlockingIOError:
            return 0
