"""`pprof`: profiles that containerd's debug server makes of its own program."""

from __future__ import annotations

from wherry.ctr.command import Command, CommandFailed, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.ctr.command import Invocation


def _fetch(call: Invocation, path: str) -> None:
    """Copies the answer of a GET on the debug socket to stdout."""
    import http.client
    import socket

    from wherry.console.streams import write_all

    address = call.group.text("debug-socket").removeprefix("unix://")
    connection = http.client.HTTPConnection("localhost")
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(address)
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise CommandFailed(f'Get "http://./debug/pprof/{path}": dial unix {address}: connect: {reason}') from None
        connection.request("GET", f"/debug/pprof/{path}")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise CommandFailed(f"http status not OK: {answer.status} {answer.reason}")
        while data := answer.read(1 << 16):
            write_all(call.streams.stdout, data)
    finally:
        connection.close()


def _profile(path: str) -> Callable[[Invocation], None]:
    return lambda call: _fetch(call, path)


def _timed(path: str) -> Callable[[Invocation], None]:
    return lambda call: _fetch(call, f"{path}?seconds={int(call.options.seconds('seconds'))}")


def _seconds(default: float, what: str) -> Flag:
    return Flag(names=("seconds", "s"), kind="duration", default=default, help=what)


_USAGE = "[arguments...]"
BLOCK = Command(usage=_USAGE, action=_profile("block"))
GOROUTINES = Command(usage=_USAGE, action=_profile("goroutine?debug=2"))
HEAP = Command(usage=_USAGE, action=_profile("heap"))
THREADCREATE = Command(usage=_USAGE, action=_profile("threadcreate"))
PROFILE = Command(usage=_USAGE, action=_timed("profile"), flags=(_seconds(30.0, "how long to look"),))
TRACE = Command(usage=_USAGE, action=_timed("trace"), flags=(_seconds(5.0, "how long to trace"),))
