"""UDP from a host port to a container: one flow per client address, forgotten after 90 idle seconds."""

from __future__ import annotations

import _socket
import struct
import time

from wherry.network.proxy.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.network.proxy.loop import Loop

IDLE_S = 90.0
_SWEEP_S = 15.0
_DATAGRAM = 1 << 16
_ROUNDS = 64
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50


class UdpForward:
    """A bound socket whose datagrams go to one address, and the answers back to whoever asked.

    Answers leave from the address that was asked (IP_PKTINFO, ip(7)): the socket may be bound to all of them.
    """

    def __init__(self, loop: Loop, socket: _socket.socket, target: tuple[str, int]) -> None:
        """Owns `socket` from here on."""
        self._loop = loop
        self._socket = socket
        self._target = target
        self._flows: dict[Any, _Flow] = {}
        socket.setblocking(False)
        if socket.family == _socket.AF_INET6:
            socket.setsockopt(_socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            socket.setsockopt(_socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._sweeper = loop.later(_SWEEP_S, self._sweep)
        loop.watch(socket.fileno(), READ, self._receive)

    def close(self) -> None:
        """Closes the port and all flows."""
        self._sweeper.cancel()
        for flow in self._flows.values():
            flow.close()
        self._flows.clear()
        self._loop.forget(self._socket.fileno())
        self._socket.close()

    def _receive(self, _events: int) -> None:
        for _ in range(_ROUNDS):
            try:
                data, ancillary, _, client = self._socket.recvmsg(_DATAGRAM, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier answer; it was consumed by being read
            flow = self._flows.get(client)
            if flow is None:
                try:
                    flow = _Flow(self._loop, self._socket, client, self._target)
                except OSError:
                    continue  # no descriptor or no route: a datagram may be lost
                self._flows[client] = flow
            flow.reply_from = _reply_source(ancillary)
            flow.send(data)

    def _sweep(self) -> None:
        oldest = time.monotonic() - IDLE_S
        for client, flow in tuple(self._flows.items()):
            if flow.used_at < oldest:
                flow.close()
                del self._flows[client]
        self._sweeper = self._loop.later(_SWEEP_S, self._sweep)


class _Flow:
    """One client's datagrams: a socket connected to the container."""

    def __init__(self, loop: Loop, front: _socket.socket, client: Any, target: tuple[str, int]) -> None:
        self._loop = loop
        self._front = front
        self._client = client
        self.used_at = time.monotonic()
        self.reply_from: list[tuple[int, int, bytes]] = []
        family = _socket.AF_INET6 if ":" in target[0] else _socket.AF_INET
        self._back = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        try:
            self._back.connect(target)
        except OSError:
            self._back.close()
            raise
        loop.watch(self._back.fileno(), READ, self._receive)

    def send(self, data: bytes) -> None:
        self.used_at = time.monotonic()
        try:
            self._back.send(data)
        except OSError:
            return  # nobody listens (yet), or the queue is full: UDP promises nothing

    def close(self) -> None:
        self._loop.forget(self._back.fileno())
        self._back.close()

    def _receive(self, _events: int) -> None:
        for _ in range(_ROUNDS):
            try:
                data = self._back.recv(_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # «connection refused», told once
            self.used_at = time.monotonic()
            try:
                self._front.sendmsg([data], self.reply_from, 0, self._client)
            except OSError:
                continue  # the client cannot be reached now


def _reply_source(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The control message that makes an answer leave from the address that was asked."""
    for level, kind, content in ancillary:
        if (level, kind) == (_socket.IPPROTO_IP, _IP_PKTINFO) and len(content) >= 12:
            return [(level, kind, struct.pack("=i4s4s", 0, content[4:8], bytes(4)))]
        if (level, kind) == (_socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(content) >= 20:
            link_local = content[:2] == b"\xfe\x80"
            return [(level, kind, content[:16] + (content[16:20] if link_local else bytes(4)))]
    return []
