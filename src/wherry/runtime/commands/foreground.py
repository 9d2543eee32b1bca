"""Staying with a program in the foreground: its terminal is ours, its signals come from us, its exit status is returned."""

from __future__ import annotations

import errno
import os
import select

from wherry.errors import Unavailable
from wherry.linux import process, pty

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from wherry.runtime.notify import Proxy
else:
    import _signal

# Not passed on: those that cannot be caught, those of the program itself, and SIGURG, of which Go's runtimes send many.
_KEPT = (9, 17, 19, 23, 28)


def open_tty() -> int:
    """The terminal of this session. Unavailable as runc says it."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"open /dev/tty: {(error.strerror or '').lower()}") from error


def stay_with(pidfd: int, master: int | None, begin: Callable[[], None] | None = None, proxy: Proxy | None = None) -> int:
    """Waits for a child's end and returns its exit status (128 + n for a signal).

    With `master` the bytes of this session's terminal are carried both ways, in raw mode, which is undone on every way out.
    Signals are passed on. `begin` is called when all that is in place. A service manager hears through `proxy` that this process,
    which stands for the program, is ready.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    numbers = [number for number in range(1, 32) if number not in _KEPT]
    before = {number: _signal.signal(number, _nothing) for number in (*numbers, 28, 17)}
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    tty = _Terminal(master) if master is not None else None
    try:
        if begin is not None:
            begin()
        return _carry(pidfd, reader, tty, proxy)
    finally:
        if tty is not None:
            tty.restore()
        _signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            _signal.signal(number, handler if handler is not None else 0)
        os.close(reader)
        os.close(writer)


def _nothing(_number: int, _frame: object) -> None:
    """Signals are read from the wake-up descriptor."""


class _Terminal:
    """The session's terminal in raw mode, and the container's master."""

    def __init__(self, master: int) -> None:
        import termios

        self._termios = termios
        self.master = master
        self.fd = open_tty()
        self._saved = termios.tcgetattr(self.fd)
        raw = termios.tcgetattr(self.fd)
        raw[0] &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                    | termios.ICRNL | termios.IXON)
        raw[1] &= ~termios.OPOST
        raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(self.fd, termios.TCSANOW, raw)
        self.resize()

    def resize(self) -> None:
        pty.resize(self.master, *pty.size(self.fd))

    def restore(self) -> None:
        self._termios.tcsetattr(self.fd, self._termios.TCSANOW, self._saved)
        os.close(self.fd)


def _carry(pidfd: int, signals: int, tty: _Terminal | None, proxy: Proxy | None) -> int:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(signals, select.POLLIN)
    if proxy is not None:
        poll.register(proxy, select.POLLIN)
    if tty is not None:
        poll.register(tty.fd, select.POLLIN)
        poll.register(tty.master, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if signals in ready:
            for number in os.read(signals, 256):
                _pass_on(pidfd, number, tty)
        if proxy is not None and proxy.fileno() in ready:
            proxy.heard(os.getpid())
        if tty is not None:
            if tty.fd in ready:
                _write_all(tty.master, os.read(tty.fd, 65536))
            if tty.master in ready and not _copy(tty.master, tty.fd):
                poll.unregister(tty.master)
        if pidfd in ready:
            if tty is not None:
                os.set_blocking(tty.master, False)
                while _copy(tty.master, tty.fd):
                    pass
            code = process.reap(pidfd)
            assert code is not None
            return code


def _pass_on(pidfd: int, number: int, tty: _Terminal | None) -> None:
    if number == 28:
        if tty is not None:
            tty.resize()
    elif number != 17:
        try:
            process.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass


def _copy(source: int, target: int) -> bool:
    """Copies what is there. False at the end: EIO when nobody has the terminal open any more, EAGAIN when it is drained."""
    try:
        data = os.read(source, 65536)
    except OSError as error:
        if error.errno not in (errno.EIO, errno.EAGAIN):
            raise
        return False
    _write_all(target, data)
    return bool(data)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
