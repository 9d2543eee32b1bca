"""A process's streams as containerd names them: fifos, files, log programs, a terminal.

    ""                     /dev/null
    /path                  a fifo that containerd's client has at its other end (any other file is appended to)
    file:///path           a file that is appended to
    binary:///path?k=v     a program that gets stdout as descriptor 3, stderr as 4, and closes 5 when it is ready

With `copies` (a runtime that is a program, and says on the container's stderr what it logs as well) the process gets pipes,
which are copied once it exists. Otherwise the process gets the ends of fifos themselves: nothing is copied, and what it writes
does not pass through the shim. The shim keeps the other end of each open, so that a client that comes and goes neither ends the
process by SIGPIPE nor its stdin; `close_stdin` lets it end. A client that has written all and gone while the process was made
cannot ask for that any more: its stdin then ends by itself (`hold_stdin`). Only a terminal is copied. Source: containerd's
`runtime/v2/README.md`, «Logging».
"""

from __future__ import annotations

import os
import select
import stat

from wherry.errors import Internal, InvalidArgument
from wherry.linux import pty
from wherry.shim.loop import IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from wherry.shim.loop import Loop

_CHUNK: Final = 1 << 16
PATIENCE_S: Final = 2.0  # for what others still write to a terminal whose process has ended
READY_S: Final = 30.0  # for a log program


class Relay:
    """Copies from one descriptor to another, both owned by it; stops reading while the other side does not take it."""

    def __init__(self, loop: Loop, source: int, sink: int, ended: Callable[[], None]) -> None:
        self._loop, self._source, self._sink, self._ended = loop, source, sink, ended
        self._pending = b""
        for fd in (source, sink):
            os.set_blocking(fd, False)
        loop.watch(source, IN, self._readable)

    def _readable(self, _events: int) -> None:
        try:
            piece = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the terminal open any more
            piece = b""
        if not piece:
            self.close()
            return
        self._pending = piece
        self._write()

    def _write(self, _events: int = 0) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._sink, self._pending) :]
        except BlockingIOError:
            self._loop.forget(self._source)
            self._loop.watch(self._sink, OUT, self._write)
            return
        except OSError:
            self.close()
            return
        self._loop.forget(self._sink)
        self._loop.watch(self._source, IN, self._readable)

    @property
    def is_open(self) -> bool:
        """Whether there is more to copy."""
        return self._source >= 0

    def close(self) -> None:
        """Ends; harmless when it has ended."""
        if self._source < 0:
            return
        for fd in (self._source, self._sink):
            self._loop.forget(fd)
            os.close(fd)
        self._source = self._sink = -1
        self._ended()


class Streams:
    """The streams of one process. `owner` is the user and group that fifos are given to (None: as they are)."""

    def __init__(self, loop: Loop, *, terminal: bool, stdin: str, stdout: str, stderr: str, owner: tuple[int, int] | None,
                 names: dict[str, str], copies: bool = False) -> None:
        self.terminal, self.stdin, self.stdout, self.stderr = terminal, stdin, stdout, stderr
        self._loop, self._owner, self._names = loop, owner, names
        self._kept: list[int] = []  # other ends, until `close`
        self._stdin_writer = -1
        self._stdin_seen = -1  # a copy of the reading end, until it is known whether the client is still there
        self._given: list[int] = []  # the process's ends, until `begin`
        self._console = -1
        self._copies = copies
        self._pipes: list[tuple[int, int]] = []  # to be copied once the process exists: from, to
        self._inputs: list[Relay] = []
        self._outputs: list[Relay] = []
        self._done: Callable[[], None] | None = None

    def open(self) -> tuple[int, int, int] | None:
        """The process's three descriptors; None for a terminal. Raises OSError, InvalidArgument: nothing is open then."""
        if self.terminal:
            return None
        try:
            if self.stdout.startswith("binary://"):
                writers = self._start_program()
                ends = [self._reader(), *writers]
            else:
                ends = [self._reader(), *(self._pipe_to(one) if self._copies and one else self._writer(one)
                                          for one in (self.stdout, self.stderr))]
        except BaseException:
            self.close()
            raise
        return ends[0], ends[1], ends[2]

    def begin(self, console: int | None) -> None:
        """The process exists; `console` is the master of its terminal, owned here from now on."""
        self._close_given()
        pipes, self._pipes = self._pipes, []
        if console is not None:
            self._console = console
            if self.stdin:
                reading = self._reader(blocking=False)
                self.hold_stdin()
                self._inputs.append(Relay(self._loop, reading, os.dup(console), lambda: None))
            sink = self._start_program()[0] if self.stdout.startswith("binary://") else self._writer(self.stdout)
            pipes.append((os.dup(console), os.dup(sink)))
            self._close_given()
        self._outputs = [Relay(self._loop, source, sink, self._output_ended) for source, sink in pipes]

    def hold_stdin(self) -> None:
        """The client is told that the process is there: it ends stdin by `close_stdin` from now on, unless it has gone."""
        if self._stdin_seen < 0:
            return
        poll = select.poll()
        poll.register(self._stdin_seen, 0)
        if not poll.poll(0):  # POLLHUP: somebody has written, and nobody does now
            self._stdin_writer = os.open(_plain_path(self.stdin), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.close(self._stdin_seen)
        self._stdin_seen = -1

    def resize(self, rows: int, columns: int) -> None:
        """Sets the terminal's size; nothing where there is none."""
        if self._console >= 0:
            pty.resize(self._console, rows, columns)

    def close_stdin(self) -> None:
        """Lets stdin end when its client's end closes."""
        if self._stdin_writer >= 0:
            os.close(self._stdin_writer)
            self._stdin_writer = -1

    def finish(self, done: Callable[[], None]) -> None:
        """The process has ended: calls back when what it wrote was copied, or others keep the other end open too long."""
        self._done = done
        if self._console >= 0:
            os.close(self._console)
            self._console = -1
        for relay in self._inputs:
            relay.close()
        self._loop.after(PATIENCE_S, self._drained)
        self._output_ended()

    def close(self) -> None:
        """Gives everything back."""
        self._close_given()
        self.close_stdin()
        for relay in (*self._inputs, *self._outputs):
            relay.close()
        if self._stdin_seen >= 0:
            os.close(self._stdin_seen)
            self._stdin_seen = -1
        self._kept += [fd for pipe in self._pipes for fd in pipe]
        self._pipes = []
        for fd in self._kept:
            os.close(fd)
        self._kept = []
        if self._console >= 0:
            os.close(self._console)
            self._console = -1

    # Below: one stream

    def _output_ended(self) -> None:
        if not any(relay.is_open for relay in self._outputs):
            self._drained()

    def _drained(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()

    def _give(self, fd: int) -> int:
        self._given.append(fd)
        return fd

    def _close_given(self) -> None:
        for fd in self._given:
            os.close(fd)
        self._given = []

    def _reader(self, blocking: bool = True) -> int:
        """The end of stdin that the process (or the copying) reads."""
        if not self.stdin:
            return self._give(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
        path = _plain_path(self.stdin)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            self._stdin_seen = os.dup(fd)
            self._own(fd)
        os.set_blocking(fd, blocking)
        return self._give(fd) if blocking else fd

    def _writer(self, name: str) -> int:
        """The end of an output that the process (or the copying) writes."""
        if not name:
            return self._give(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC))
        if name.startswith("file://"):
            path = _plain_path(name.removeprefix("file://"))
            return self._give(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))
        path = _plain_path(name)
        if stat.S_ISFIFO(os.stat(path).st_mode):
            self._kept.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            self._own(fd)
        else:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        return self._give(fd)

    def _pipe_to(self, name: str) -> int:
        """A pipe for the process, to be copied to where its output belongs."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._give(writing)
        self._own(writing)
        self._pipes.append((reading, os.dup(self._writer(name))))
        return writing

    def _own(self, fd: int) -> None:
        if self._owner is not None:
            os.fchown(fd, *self._owner)

    def _start_program(self) -> tuple[int, int]:
        """Starts the log program; the writing ends of its two pipes."""
        path, _, query = self.stdout.removeprefix("binary://").partition("?")
        argv = [_plain_path(path)]
        for pair in query.split("&"):
            key, _, value = pair.partition("=")
            argv += [_unquote(one) for one in (key, value) if one]
        (out_read, out_write), (err_read, err_write), (wait_read, wait_write) = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
        theirs = (out_read, err_read, wait_write)
        high = [_above(fd) for fd in theirs]
        try:
            os.posix_spawn(argv[0], argv, {**os.environ, **self._names}, setsigmask=[], setsigdef=[1, 2, 13, 15, 17],
                           file_actions=[(os.POSIX_SPAWN_DUP2, fd, 3 + number) for number, fd in enumerate(high)])
        except OSError as error:
            for fd in (out_write, err_write, wait_read):
                os.close(fd)
            raise InvalidArgument(f"failed to start binary process {argv[0]}: {error.strerror}") from error
        finally:
            for fd in (*theirs, *high):
                os.close(fd)
        ends = self._give(out_write), self._give(err_write)
        ready, _, _ = select.select([wait_read], [], [], READY_S)
        os.close(wait_read)
        if not ready:
            raise Internal(f"the log program {argv[0]} did not become ready within {READY_S:.0f} s")
        return ends


def _above(fd: int) -> int:
    """A copy with a number that no copy to 3, 4 or 5 overwrites."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)


def _plain_path(text: str) -> str:
    if not text.startswith("/"):
        raise InvalidArgument(f"unable to find IO type for {text!r}: neither an absolute path nor file:// nor binary://")
    return text


def _unquote(text: str) -> str:
    """A part of a URI's query: `+` and `%41` decoded."""
    first, *rest = text.replace("+", " ").split("%")
    out = bytearray(first.encode())
    for one in rest:
        try:
            out += bytes.fromhex(one[:2]) + one[2:].encode()
        except ValueError:
            raise InvalidArgument(f"invalid URL escape in {text!r}") from None
    return out.decode(errors="surrogateescape")
