"""docker-proxy's job: one port, one process, its flags and its way of telling its parent that it listens.

The parent gives a pipe as descriptor 3 and reads `0` and a newline from it, or `1`, a newline and the reason; with
`-use-listen-fd` the listening socket is descriptor 4.
"""

from __future__ import annotations

import _signal  # the C half: `signal` brings enum, which costs a cold start
import _socket
import os

from wherry.network.proxy.loop import READ, Loop
from wherry.network.proxy.tcp import TcpForward
from wherry.network.proxy.udp import UdpForward
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

READY_FD = 3
LISTEN_FD = 4
_BACKLOG = 4096
_IPPROTO_SCTP = 132
FLAGS = ("proto", "host_ip", "host_port", "container_ip", "container_port", "use_listen_fd")


class Options(Record):
    """docker-proxy's flags."""

    proto: str = "tcp"
    host_ip: str = ""
    host_port: int = -1
    container_ip: str = ""
    container_port: int = -1
    use_listen_fd: bool = False


class UsageError(Exception):
    """Flags that make no sense; the message is for people."""


def parse(argv: Sequence[str]) -> Options:
    """Flags as Go's `flag` takes them: one dash or two, the value behind `=` or as the next word. Raises UsageError."""
    values: dict[str, Any] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        name, has_value, value = word.lstrip("-").partition("=")
        field = name.replace("-", "_")
        if not word.startswith("-") or field not in FLAGS:
            raise UsageError(f"flag provided but not defined: {word}")
        if field == "use_listen_fd":
            if has_value and value not in ("true", "false", "1", "0"):
                raise UsageError(f'invalid boolean value "{value}" for -{name}')
            values[field] = not has_value or value in ("true", "1")
            continue
        if not has_value:
            if not words:
                raise UsageError(f"flag needs an argument: -{name}")
            value = words.pop(0)
        values[field] = _port(name, value) if field.endswith("_port") else value
    return Options(**values)


def serve(options: Options) -> int:
    """Serves until SIGTERM or SIGINT. Exit status."""
    loop = Loop()
    try:
        sock = _open(options)
    except (OSError, UsageError) as error:
        _tell_parent(f"1\n{_reason(options, error)}")
        return 1
    kind = UdpForward if options.proto == "udp" else TcpForward
    forward = kind(loop, sock, (options.container_ip, options.container_port))
    wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _signal.set_wakeup_fd(woken)
    for number in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, lambda *_: None)
    loop.watch(wake, READ, lambda _events: loop.stop())
    _tell_parent("0\n")
    try:
        loop.run()
    finally:
        forward.close()
        loop.close()
    return 0


def _open(options: Options) -> _socket.socket:
    if options.proto == "sctp":
        try:
            _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, _IPPROTO_SCTP).close()
        except OSError as error:
            raise UsageError(f"proxying sctp is not possible on this kernel: {error.strerror}") from error
        raise UsageError("proxying sctp is not supported yet")
    if options.proto not in ("tcp", "udp"):
        raise UsageError(f"unsupported protocol {options.proto}")
    if options.use_listen_fd:
        os.set_inheritable(LISTEN_FD, False)
        return _socket.socket(fileno=LISTEN_FD)
    return listen(options.proto, options.host_ip, options.host_port)


def listen(protocol: str, address: str, port: int) -> _socket.socket:
    """A socket bound to a host port; listening if TCP. An IPv6 address takes IPv6 alone. Raises OSError."""
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    kind = _socket.SOCK_DGRAM if protocol == "udp" else _socket.SOCK_STREAM
    sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
    try:
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if protocol != "udp":
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        if protocol != "udp":
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(options: Options, error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    is_ipv6 = ":" in options.host_ip
    shown = f"[{options.host_ip}]" if is_ipv6 else options.host_ip
    reason = (error.strerror or str(error)).lower()
    return f"listen {options.proto}{6 if is_ipv6 else 4} {shown}:{options.host_port}: bind: {reason}"


def _tell_parent(text: str) -> None:
    try:
        os.write(READY_FD, text.encode())
        os.close(READY_FD)
    except OSError:
        return  # started by hand: nobody waits


def _port(name: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise UsageError(f'invalid value "{text}" for flag -{name}: parse error') from None
    if not -1 <= number <= 65535:
        raise UsageError(f'invalid value "{text}" for flag -{name}: value out of range')
    return number
