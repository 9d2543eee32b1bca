"""A process's streams: pipes or a terminal, the log, the clients, and how they end.

    process ──stdout──► read ─► log ─► client, client, …      stops reading while a client is full
            ──stderr──►
            ◄──stdin──  ◄──────────── client                  stops reading clients while the process does not take it

When the process has ended, what it wrote is still read to its end. Others may hold the pipe's other end (a background child of an
exec, processes of a shared pid namespace): after two seconds they are not waited for any longer, as in Docker.
"""

from __future__ import annotations

import os

from wherry.linux import pty
from wherry.shim.attachment import Attachment
from wherry.shim.loop import IN, OUT
from wherry.shim.stdcopy import STDERR, STDOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Final

    from wherry.shim.logwriter import LogWriter
    from wherry.shim.loop import Loop, Timer
    from wherry.shim.protocol import AttachRequest

PATIENCE_S: Final = 2.0
_CHUNK: Final = 1 << 16
_GULP: Final = 1 << 20


class Stdio:
    """The streams of one process. `client_ended(attachment, detached)` is told of each client that is gone.

    `input_closed` is told when stdin was closed while the process runs: others may hold the pipe's writing end as well.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        terminal: bool,
        open_stdin: bool,
        close_on_eof: bool,
        client_ended: Callable[[Attachment, bool], None],
        replay: Callable[[AttachRequest, bool], Iterator[bytes]] | None = None,
        input_closed: Callable[[], None] | None = None,
    ) -> None:
        self.has_terminal = terminal
        self.has_stdin = open_stdin
        self._close_on_eof = close_on_eof  # stdin_once, and every exec
        self._loop = loop
        self._log: LogWriter | None = None
        self._client_ended = client_ended
        self._replay = replay
        self._input_closed = input_closed
        self._attachments: list[Attachment] = []
        self._leaving: list[Attachment] = []  # they get nothing more, and have not closed yet
        self._sources: dict[int, int] = {}  # descriptor to stream
        self._paused = False
        self._console = -1
        self._stdin = -1
        self._input = b""  # not taken by the process yet
        self._input_closing = False
        self._child_ends: tuple[int, ...] = ()
        self._done: Callable[[], None] | None = None
        self._timer: Timer | None = None
        self._finished = False

    def open_child_ends(self) -> tuple[int, int, int] | None:
        """The three descriptors for the process, to be closed by `begin`; None where it gets a terminal."""
        if self.has_terminal:
            return None
        if self.has_stdin:
            child_in, self._stdin = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._stdin, False)
        else:
            child_in = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        ends = [child_in]
        for stream in (STDOUT, STDERR):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reading, False)
            self._sources[reading] = stream
            ends.append(writing)
        self._child_ends = tuple(ends)
        return ends[0], ends[1], ends[2]

    def take(self, stdin: int, outputs: Mapping[int, int]) -> None:
        """In place of `open_child_ends`: pipes that others have made. `stdin` is -1 for none; outputs have their stream.

        The descriptors do not block, and are owned here from now on.
        """
        self._stdin = stdin
        self._sources = dict(outputs)

    def begin(self, console: int | None, size: tuple[int, int] = (0, 0)) -> None:
        """The process exists: `console` is the master of its terminal, owned here from now on."""
        for fd in self._child_ends:
            os.close(fd)
        self._child_ends = ()
        if console is not None:
            self._console = console
            os.set_blocking(console, False)
            if any(size):
                pty.resize(console, *size)
            self._sources[console] = STDOUT
            if self.has_stdin:
                self._stdin = os.dup(console)  # a descriptor of its own, so that each direction is watched for itself
                os.set_inheritable(self._stdin, False)
        if self._input:
            self._write_input()
        if not self._paused:
            self._resume()

    def attach(self, request: AttachRequest, fd: int) -> None:
        """Adds a client; its connection is owned here from now on. Raises OSError when it is not a socket."""
        replay = self._replay(request, self.has_terminal) if request.logs and self._replay is not None else None
        attachment = Attachment(self._loop, request, fd, self, replay)
        self._attachments.append(attachment)
        attachment.begin()

    @property
    def has_clients(self) -> bool:
        """Whether a connection is still open."""
        return bool(self._attachments or self._leaving)

    @property
    def is_finished(self) -> bool:
        """Whether the process has ended and its output was read."""
        return self._finished

    def set_log(self, log: LogWriter | None) -> None:
        """Where output is logged from now on."""
        self._log = log

    def resize(self, height: int, width: int) -> bool:
        """Sets the terminal's size; False when there is none."""
        if self._console < 0:
            return False
        pty.resize(self._console, height, width)
        return True

    # What attachments ask for (attachment.Owner)

    @property
    def can_take_input(self) -> bool:
        """Whether the process has taken all that was sent to it so far."""
        return not self._input and not self._input_closing

    def take_input(self, data: bytes) -> None:
        """Passes input on; what the process does not take waits."""
        if data and not self._input_closing and self.has_stdin and not self._finished:
            self._input += data
            if self._stdin >= 0:
                self._write_input()

    def input_ended(self, attachment: Attachment) -> None:
        """A client's end of input ends the process's where that was asked for; otherwise the client, as in Docker."""
        if self._close_on_eof and not self.has_terminal:
            self.close_stdin()
        elif not self._finished:
            attachment.end()

    def unfinished_line(self, stream: int) -> bytes:
        """Output that is not in the log yet."""
        return self._log.rest(stream) if self._log is not None else b""

    def drained(self) -> None:
        """A client has caught up."""
        if self._paused and not any(one.is_full for one in self._attachments):
            self._resume()

    def ended(self, attachment: Attachment, detached: bool) -> None:
        """A client gets nothing more."""
        self._attachments.remove(attachment)
        self._leaving.append(attachment)
        self._client_ended(attachment, detached)
        self.drained()

    def closed(self, attachment: Attachment) -> None:
        """A client's connection is closed."""
        if attachment in self._leaving:
            self._leaving.remove(attachment)

    # Input

    def close_stdin(self) -> None:
        """Closes the process's stdin when it has taken what waits for it. Without effect on a terminal."""
        if self.has_terminal:
            return
        self._input_closing = True
        if not self._input:
            self._end_input()

    def _write_input(self, _events: int = 0) -> None:
        try:
            written = os.write(self._stdin, self._input)
        except BlockingIOError:
            written = 0
        except OSError:  # nobody reads it any more
            self._input, self._input_closing = b"", True
            self._end_input()
            return
        self._input = self._input[written:]
        if self._input:
            self._loop.watch(self._stdin, OUT, self._write_input)
            return
        self._loop.forget(self._stdin)
        if self._input_closing:
            self._end_input()
            return
        for attachment in list(self._attachments):
            attachment.resume_input()

    def _end_input(self) -> None:
        was_open = self._stdin >= 0
        self._drop_stdin()
        if was_open and self._input_closed is not None:
            self._input_closed()

    def _drop_stdin(self) -> None:
        if self._stdin >= 0:
            self._loop.forget(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    # Output

    def _resume(self) -> None:
        self._paused = False
        for fd in self._sources:
            self._loop.watch(fd, IN, lambda _events, fd=fd: self._readable(fd))  # type: ignore[misc]

    def _readable(self, fd: int) -> None:
        self._read(fd)
        if any(one.is_full for one in self._attachments):
            self._paused = True
            for source in self._sources:
                self._loop.forget(source)
        elif not self._sources and self._done is not None:
            self._end()

    def _read(self, fd: int) -> int:
        """Reads once and passes it on; the number of bytes, 0 at the end (the source is closed then), -1 for nothing now."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return -1
        except OSError:  # a terminal whose last user is gone says EIO
            chunk = b""
        stream = self._sources[fd]
        if not chunk:
            self._close_source(fd)
            return 0
        if self._log is not None:
            self._log.write(stream, chunk)
        for attachment in list(self._attachments):
            attachment.feed(stream, chunk)
        return len(chunk)

    def _close_source(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._sources[fd]
        os.close(fd)
        if fd == self._console:
            self._console = -1

    # The end

    def finish(self, done: Callable[[], None]) -> None:
        """The process has ended: reads the rest, calls `done` once, then lets the clients go when they have got everything."""
        self._done = done
        self._gulp()
        if not self._sources:
            self._end()
            return
        self._timer = self._loop.after(PATIENCE_S, self._give_up)
        if not self._paused:
            self._resume()

    def _gulp(self) -> None:
        """Reads what is there whether clients keep up or not: a pipe's content at most, once writers are gone."""
        for fd in list(self._sources):
            taken = 0
            while taken < _GULP and (count := self._read(fd)) > 0:
                taken += count

    def _give_up(self) -> None:
        self._gulp()
        for fd in list(self._sources):
            self._close_source(fd)
        self._end()

    def _end(self) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._finished = True
        self._drop_stdin()
        done()
        for attachment in list(self._attachments):
            attachment.finish()

    def drop(self) -> None:
        """The process never came to be: gives everything back; the clients are closed without a word."""
        for fd in (*self._child_ends, *self._sources):
            self._loop.forget(fd)
            os.close(fd)
        self._child_ends, self._sources = (), {}
        self._drop_stdin()
        for attachment in list(self._attachments):
            attachment.drop()
        self._attachments = []
