"""Host ports: which are ours, which is free, and the sockets that hold them.

A published port is bound on the host even where packets get to the container by NAT: so nobody else can take it, a foreign
listener is noticed, and the proxy has a socket to serve what NAT does not catch.
"""

from __future__ import annotations

import contextlib
import errno
from threading import Lock
from typing import TYPE_CHECKING

from wherry.errors import Internal, InvalidArgument, Unsupported
from wherry.network.model import PublishedPort
from wherry.network.proxy.single import listen
from wherry.record import Record

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from wherry.network.model import PortRequest

ANY_IPV4 = "0.0.0.0"
ANY_IPV6 = "::"
PROTOCOLS = ("tcp", "udp", "sctp")


class PortUnavailable(Internal):
    """A host port is taken, or cannot be bound. Docker answers this with its status for internal errors."""


class Claim(Record):
    """A port that is ours now, and the socket that holds it (None for SCTP, which is served by NAT alone)."""

    port: PublishedPort
    socket: _socket.socket | None = None


class Ports:
    """The host's ports as far as they are ours. Thread-safe."""

    def __init__(self, ephemeral: Callable[[], tuple[int, int]], *, serves_ipv6: bool) -> None:
        """`ephemeral`: the first and last port to choose from. `serves_ipv6`: whether «all addresses» includes IPv6."""
        self._ephemeral = ephemeral
        self._serves_ipv6 = serves_ipv6
        self._lock = Lock()
        self._owners: dict[tuple[str, int], dict[PublishedPort, str]] = {}
        self._last = 0

    def claim(self, owner: str, request: PortRequest, default_host_ip: str) -> tuple[Claim, ...]:
        """Ports for a request, all or none; the sockets are the caller's.

        Raises PortUnavailable, InvalidArgument, Unsupported.
        """
        host_ips = self._host_ips(request, default_host_ip)
        with self._lock:
            if request.host_port and request.host_port_end <= request.host_port:
                return self._take(owner, request, host_ips, request.host_port)
            first, last = (request.host_port, request.host_port_end) if request.host_port else self._ephemeral()
            ports = list(range(first, last + 1))
            if not request.host_port and first <= self._last < last:  # the next one, as dockerd: a port rests after its use
                turn = self._last + 1 - first
                ports = ports[turn:] + ports[:turn]
            for port in ports:
                try:
                    claims = self._take(owner, request, host_ips, port)
                except PortUnavailable as error:
                    cause = error.__cause__
                    if isinstance(cause, OSError) and cause.errno != errno.EADDRINUSE:
                        raise
                    continue
                if not request.host_port:
                    self._last = port
                return claims
            raise PortUnavailable("all ports are allocated")

    def mark(self, owner: str, port: PublishedPort) -> None:
        """A port is in use by a container that runs on from before; its socket is the proxy's."""
        with self._lock:
            self._put(owner, port)

    def of(self, owner: str) -> tuple[PublishedPort, ...]:
        """The ports of an owner."""
        with self._lock:
            return tuple(port for ports in self._owners.values() for port, who in ports.items() if who == owner)

    def release(self, owner: str) -> None:
        """Forgets the ports of an owner."""
        with self._lock:
            kept = ((key, {port: who for port, who in ports.items() if who != owner}) for key, ports in self._owners.items())
            self._owners = {key: ports for key, ports in kept if ports}

    def _host_ips(self, request: PortRequest, default_host_ip: str) -> tuple[str, ...]:
        if request.protocol not in PROTOCOLS:
            raise InvalidArgument(f"invalid proto: {request.protocol}")
        host_ip = request.host_ip or default_host_ip
        if ":" in host_ip and not self._serves_ipv6:
            raise Unsupported(f"publishing on {host_ip} is not possible: IPv6 ports are served by the userland proxy, which is "
                              "off, or the host has no IPv6")
        if ":" in host_ip and request.protocol == "sctp":
            raise Unsupported("publishing sctp ports on IPv6 addresses is not supported yet")
        if host_ip:
            return (host_ip,)
        return (ANY_IPV4, ANY_IPV6) if self._serves_ipv6 and request.protocol != "sctp" else (ANY_IPV4,)

    def _take(self, owner: str, request: PortRequest, host_ips: tuple[str, ...], port: int) -> tuple[Claim, ...]:
        with contextlib.ExitStack() as undo:
            claims = []
            for host_ip in host_ips:
                published = PublishedPort(container_port=request.container_port, protocol=request.protocol,
                                          host_ip=host_ip, host_port=port)
                if any(_collide(published.host_ip, other.host_ip) for other in self._owners.get((request.protocol, port), ())):
                    raise PortUnavailable(f"Bind for {host_ip}:{port} failed: port is already allocated")
                sock = _bind(published) if request.protocol != "sctp" else None
                if sock:
                    undo.callback(sock.close)
                claims.append(Claim(port=published, socket=sock))
            undo.pop_all()
        for claim in claims:
            self._put(owner, claim.port)
        return tuple(claims)

    def _put(self, owner: str, port: PublishedPort) -> None:
        self._owners.setdefault((port.protocol, port.host_port), {})[port] = owner


def _bind(port: PublishedPort) -> _socket.socket:
    try:
        return listen(port.protocol, port.host_ip, port.host_port)
    except OSError as error:
        is_ipv6 = ":" in port.host_ip
        shown = f"[{port.host_ip}]" if is_ipv6 else port.host_ip
        raise PortUnavailable(
            f"Error starting userland proxy: listen {port.protocol}{6 if is_ipv6 else 4} {shown}:{port.host_port}: "
            f"bind: {(error.strerror or str(error)).lower()}") from error


def _collide(one: str, other: str) -> bool:
    """Whether two host addresses cannot have the same port: they are the same, or one means all of the other's family."""
    return (":" in one) == (":" in other) and (one == other or not {one, other}.isdisjoint((ANY_IPV4, ANY_IPV6)))
