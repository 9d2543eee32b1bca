"""One attached client: a connection that gets a process's output and may feed its input.

What the client does not take is kept here, and the process's output is not read any further until it has (`is_full`): a slow
client neither loses a byte nor makes the shim grow; it holds the process up, as Docker does. A client that wants the log first
(`replay`) is fed from the log file at its own speed; what the process writes meanwhile is in that file too, so nothing is kept.

The end, from here: what is left is sent, the sending half is shut down, and input is thrown away until the client closes, at most
a second: closing at once would reset a connection with unread input, and the client could lose its last bytes (tcp(7)).
"""

from __future__ import annotations

import _socket
import os

from wherry.shim.detach import DetachScanner
from wherry.shim.loop import ERR, HUP, IN, OUT
from wherry.shim.stdcopy import header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Protocol

    from wherry.shim.loop import Loop, Timer
    from wherry.shim.protocol import AttachRequest

    class Owner(Protocol):
        """The process's side: where input goes, and who wants to know."""

        has_stdin: bool
        has_terminal: bool

        @property
        def can_take_input(self) -> bool:
            """Whether the process has taken all that was sent to it so far."""

        def take_input(self, data: bytes) -> None:
            """Bytes typed by the client."""

        def input_ended(self, attachment: Attachment) -> None:
            """The client will send nothing more."""

        def drained(self) -> None:
            """The client took all it was given."""

        def unfinished_line(self, stream: int) -> bytes:
            """Output that is not in the log yet."""

        def ended(self, attachment: Attachment, detached: bool) -> None:
            """The client is gone, or will get nothing more."""

        def closed(self, attachment: Attachment) -> None:
            """The connection is closed."""


LINGER_S: Final = 1.0
_CHUNK: Final = 1 << 16
_IOV_MAX: Final = 512


class Attachment:
    """A client of one process. Owns its connection."""

    def __init__(self, loop: Loop, request: AttachRequest, fd: int, owner: Owner, replay: Iterator[bytes] | None) -> None:
        """Takes the connection over. Raises OSError when it is not a socket; then it is closed."""
        self.request = request
        try:
            self._connection = _socket.socket(fileno=fd)
            os.set_blocking(fd, False)
        except OSError:
            os.close(fd)
            raise
        self._loop = loop
        self._fd = fd
        self._owner = owner
        self._replay = replay
        self._pending: list[bytes | memoryview] = []
        self._framed = request.multiplex
        self._streams = {stream for stream, wanted in ((1, request.stdout), (2, request.stderr)) if wanted}
        self._reads = request.stdin and owner.has_stdin
        self._scanner = DetachScanner(request.detach_keys if owner.has_terminal else b"")
        self._closing = False  # the process has ended, or nothing was to follow the log
        self._over = False  # nothing more is sent
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Sends and reads for the first time."""
        if not self.request.stream:
            self._closing = True
        if self.request.early and self._reads:
            self._typed(self.request.early)
        self._flush()

    @property
    def is_full(self) -> bool:
        """Whether the client has not taken yet what it was given."""
        return bool(self._pending) and self._replay is None

    def feed(self, stream: int, chunk: bytes) -> None:
        """Gives it a chunk of output."""
        if self._over or self._closing or self._replay is not None or stream not in self._streams:
            return
        parts: list[bytes | memoryview] = [header(stream, len(chunk)), chunk] if self._framed else [chunk]
        if self._pending:
            self._pending += parts
        else:
            self._send(parts)
        if self._pending:
            self._watch()

    def finish(self) -> None:
        """No more output comes; the connection is closed once the client has taken what is left."""
        self._closing = True
        self._flush()

    def resume_input(self) -> None:
        """The process took its input: more may be read."""
        if not self._over:
            self._watch()

    def drop(self) -> None:
        """Closes the connection at once."""
        if not self._over:
            self._over = True
            self._close()

    def _send(self, parts: list[bytes | memoryview]) -> None:
        """Sends what the connection takes; the rest is pending."""
        try:
            sent = os.writev(self._fd, parts[:_IOV_MAX])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        at = 0
        while at < len(parts) and sent >= len(parts[at]):
            sent -= len(parts[at])
            at += 1
        self._pending = parts[at:]
        if sent:
            self._pending[0] = memoryview(self._pending[0])[sent:]

    def _flush(self) -> None:
        """Sends what is pending, then from the log; ends when that was all there is."""
        while not self._over:
            if self._pending:
                before = len(self._pending)
                self._send(self._pending)
                if len(self._pending) == before:
                    break
            elif self._replay is not None:
                batch = next(self._replay, None)
                if batch:
                    self._pending = [batch]
                elif batch is None:
                    self._replay = None
                    self._pending = self._unfinished_lines()
            elif self._closing:
                self._end()
            else:
                break
        if not self._over:
            self._watch()

    def _unfinished_lines(self) -> list[bytes | memoryview]:
        parts: list[bytes | memoryview] = []
        for stream in sorted(self._streams):
            rest = self._owner.unfinished_line(stream)
            if rest:
                parts += [header(stream, len(rest)), rest] if self._framed else [rest]
        return parts

    def _watch(self) -> None:
        events = OUT if self._pending else 0
        if self._reads and self._owner.can_take_input:
            events |= IN
        self._loop.watch(self._fd, events, self._happened)

    def _happened(self, events: int) -> None:
        if events & OUT:
            was_full = self.is_full
            self._flush()
            if was_full and not self.is_full:
                self._owner.drained()
        if self._over:
            return
        if self._reads and events & (IN | HUP | ERR):
            if self._owner.can_take_input:
                self._read()
            else:  # HUP would come again and again until the process has taken what waits for it
                self._loop.forget(self._fd)
        elif events & (HUP | ERR):
            self._end()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._typed(data)
            if not self._over:
                self._watch()
            return
        self._reads = False
        self._owner.take_input(self._scanner.end())
        self._owner.input_ended(self)
        if not self._over:
            self._watch()

    def _typed(self, data: bytes) -> None:
        passed, detached = self._scanner.feed(data)
        self._owner.take_input(passed)
        if detached:
            self._end(detached=True)

    def end(self) -> None:
        """Nothing more is sent, whatever the process still writes."""
        self._end()

    def _end(self, detached: bool = False) -> None:
        if self._over:
            return
        self._over = True
        self._pending = []
        self._replay = None
        self._owner.ended(self, detached)
        try:
            self._connection.shutdown(_socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._loop.watch(self._fd, IN, self._discard)
        self._timer = self._loop.after(LINGER_S, self._close)
        self._discard(IN)

    def _discard(self, _events: int) -> None:
        try:
            while os.read(self._fd, _CHUNK):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.forget(self._fd)
        self._connection.close()
        self._owner.closed(self)
