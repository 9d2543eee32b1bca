"""A process's streams: fifos to containerd's shim, and on our side what a shim of our own has: the log, the clients.

    <folder>/stdin, stdout, stderr      with a terminal there is no stderr

containerd's shim holds both ends of what the process writes, and a writing end of its stdin: a daemon may go and the next one
come without the process noticing, and what it writes meanwhile waits in the fifos (64 KiB; then it waits, too).
All happens in the pump's thread.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from wherry.errors import Conflict, InvalidArgument
from wherry.record import Record
from wherry.shim import protocol
from wherry.shim.logfile import LogFile, ReadOptions
from wherry.shim.logwriter import LogWriter
from wherry.shim.stdcopy import STDERR, STDOUT
from wherry.shim.stdio import Stdio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.containerd.pump import Pump
    from wherry.shim.attachment import Attachment
    from wherry.shim.protocol import AttachRequest, LogOptions, ShimEvent

_READER = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_BOTH = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC


class Fifos(Record):
    """The fifos of one process, by name; empty for a stream that it has not."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False

    @classmethod
    def of(cls, folder: str, *, terminal: bool, open_stdin: bool) -> Fifos:
        """Those in a folder."""
        return cls(stdin=f"{folder}/stdin" if open_stdin else "", stdout=f"{folder}/stdout",
                   stderr="" if terminal else f"{folder}/stderr", terminal=terminal)

    def paths(self) -> list[str]:
        """Those that there are."""
        return [path for path in (self.stdin, self.stdout, self.stderr) if path]

    def fields(self) -> dict[str, str | bool]:
        """As the API takes them."""
        return {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "terminal": self.terminal}


class Streams:
    """The streams of one process. `told` gets the events, in the daemon's loop; `input_closed` is called there too."""

    def __init__(self, pump: Pump, fifos: Fifos, *, close_on_eof: bool, told: Callable[[ShimEvent], None],
                 input_closed: Callable[[], None], log: LogOptions | None = None) -> None:
        """`close_on_eof`: stdin ends with the first client's that has ended."""
        self.fifos = fifos
        self._pump = pump
        self._told = told
        self._log_options = log or protocol.LogOptions(driver="none")
        self._log: LogWriter | None = None
        self._stdio = Stdio(pump.loop, terminal=fifos.terminal, open_stdin=bool(fifos.stdin), close_on_eof=close_on_eof,
                            client_ended=self._client_ended, replay=self._replay, input_closed=lambda: pump.tell(input_closed))
        self._held: list[int] = []

    def make(self) -> None:
        """Makes the fifos, in a folder of their own, and keeps them open: containerd's shim waits for somebody who reads."""
        os.mkdir(os.path.dirname(self.fifos.stdout), 0o700)
        for path in self.fifos.paths():
            os.mkfifo(path, 0o600)
            self._held.append(os.open(path, _BOTH))

    def begin(self, clients: Sequence[tuple[AttachRequest, int]] = ()) -> None:
        """The process, and its shim's ends of the fifos, are there. Raises OSError, InvalidArgument for the log."""
        self._open_log()
        self.attach(clients)
        stdin = _writer(self.fifos.stdin) if self.fifos.stdin else -1
        outputs = {os.open(path, _READER): stream
                   for path, stream in ((self.fifos.stdout, STDOUT), (self.fifos.stderr, STDERR)) if path}
        self._stdio.take(stdin, outputs)
        self._let_go()
        self._stdio.begin(None)

    def attach(self, clients: Sequence[tuple[AttachRequest, int]]) -> None:
        """Adds clients; the caller closes his own ends of their connections. Conflict when the process has ended, OSError."""
        for request, fd in clients:
            if self._stdio.is_finished and not request.logs:
                raise Conflict("the process to attach to has ended")
            self._stdio.attach(request, os.dup(fd))

    def close_stdin(self) -> None:
        """When the process has taken what waits for it."""
        self._stdio.close_stdin()

    def finish(self, done: Callable[[], None]) -> None:
        """The process has ended: `done` is called when its output is read, in this thread."""
        def finished() -> None:
            self._close_log()
            done()

        self._stdio.finish(finished)

    def drop(self) -> None:
        """Lets everything go at once: the process never ran, or goes on without us."""
        self._close_log()
        self._let_go()
        self._stdio.drop()

    def _let_go(self) -> None:
        for fd in self._held:
            os.close(fd)
        self._held = []

    def _open_log(self) -> None:
        options = self._log_options
        if options.driver == "json-file":
            self._log = LogWriter(options, lambda message: self._tell(protocol.LogFailed(message=message)), self._pump.pack)
            self._stdio.set_log(self._log)
        elif options.driver != "none":
            raise InvalidArgument(f"there is no log driver {options.driver!r}")

    def _close_log(self) -> None:
        if self._log is not None:
            self._stdio.set_log(None)
            self._log.close()
            self._log = None

    def _client_ended(self, attachment: Attachment, detached: bool) -> None:
        request = attachment.request
        self._tell(protocol.AttachEnded(attach_id=request.attach_id, exec_id=request.exec_id, detached=detached))

    def _tell(self, event: ShimEvent) -> None:
        self._pump.tell(lambda: self._told(event))

    def _replay(self, request: AttachRequest, terminal: bool) -> Iterator[bytes]:
        if self._log_options.driver != "json-file":
            return iter(())
        wanted = ReadOptions(stdout=request.stdout, stderr=request.stderr, multiplex=request.multiplex and not terminal)
        return LogFile(self._log_options.path).read(wanted)


def _writer(path: str) -> int:
    """Of a fifo that somebody reads; -1 when nobody does any more."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return -1
