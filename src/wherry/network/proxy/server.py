"""`wherry-proxy --control PATH`: the ports and the DNS of one daemon, told what to do over a Unix socket."""

from __future__ import annotations

import _socket
import os

from wherry.linux import unixsocket
from wherry.linux.process import set_name
from wherry.network.proxy import protocol
from wherry.network.proxy.loop import READ, Loop
from wherry.network.proxy.names import Name, Names, Sight
from wherry.network.proxy.tcp import TcpForward
from wherry.network.proxy.udp import UdpForward

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from wherry.network.proxy.resolver import Resolver


class Server:
    """Holds what it was given until it is told otherwise."""

    def __init__(self, loop: Loop, path: str) -> None:
        """Listens at `path`. Raises OSError."""
        self._loop = loop
        self._path = path
        self._listener = unixsocket.listen(path)
        self._identity = _identity(path)
        self._ports: dict[str, list[TcpForward | UdpForward | _socket.socket]] = {}
        self._resolvers: dict[str, Resolver] = {}
        self._names = Names()
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def close(self) -> None:
        """Closes everything; the socket's file goes if it is still ours."""
        for owner in tuple(self._ports):
            self._close_owner(owner)
        for container in tuple(self._resolvers):
            self._resolvers.pop(container).close()
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        if _identity(self._path) == self._identity:
            os.unlink(self._path)

    def _accept(self, _events: int) -> None:
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 (how the C socket spells accept)
        except OSError:
            return
        connection = _socket.socket(fileno=fd)
        connection.setblocking(True)  # messages arrive whole, and answers are short
        self._loop.watch(fd, READ, lambda _events: self._serve(connection))

    def _serve(self, connection: _socket.socket) -> None:
        try:
            data, fds = unixsocket.receive(connection, protocol.MAX_MESSAGE)
            if not data:
                raise ConnectionResetError
            answer = self._answer(data, fds)
            connection.send(protocol.encode(answer))
        except OSError:
            self._loop.forget(connection.fileno())
            connection.close()

    def _answer(self, data: bytes, fds: list[int]) -> dict[str, Any]:
        sockets = [_socket.socket(fileno=fd) for fd in fds]
        try:
            message = protocol.decode(data)
            action = self._actions().get(message.get("do", ""))
            if action is None:
                raise ValueError(f"unknown message {message.get('do')!r}")
            return {"ok": True, **(action(message, sockets) or {})}
        except (ValueError, TypeError, KeyError, OSError, ImportError) as error:
            for sock in sockets:
                sock.close()
            return {"error": str(error)}

    def _actions(self) -> dict[str, Callable[[dict[str, Any], list[_socket.socket]], dict[str, Any] | None]]:
        return {
            "ports": self._add_ports, "close-ports": self._close_ports, "dns": self._set_dns,
            "close-dns": self._close_dns, "names": self._set_names, "list": self._list, "stop": self._stop,
        }

    def _add_ports(self, message: dict[str, Any], sockets: list[_socket.socket]) -> None:
        entries = [protocol.record(protocol.Port, entry) for entry in message["entries"]]
        if len(entries) != len(sockets):
            raise ValueError(f"{len(entries)} ports came with {len(sockets)} sockets")
        for entry, sock in zip(entries, sockets, strict=True):
            held: TcpForward | UdpForward | _socket.socket = sock
            if entry.serve:
                kind = UdpForward if entry.protocol == "udp" else TcpForward
                held = kind(self._loop, sock, (entry.address, entry.port))
            self._ports.setdefault(entry.owner, []).append(held)

    def _close_ports(self, message: dict[str, Any], _sockets: list[_socket.socket]) -> None:
        for owner in message["owners"]:
            self._close_owner(owner)

    def _close_owner(self, owner: str) -> None:
        for held in self._ports.pop(owner, []):
            held.close()

    def _set_dns(self, message: dict[str, Any], sockets: list[_socket.socket]) -> None:
        import dnslib  # noqa: F401 (late, for its size; here, so that its absence is an answer)

        from wherry.network.proxy.resolver import Resolver

        entry: protocol.Dns = protocol.record(protocol.Dns, message["entry"])
        sight = Sight(networks=entry.networks, links={(network, alias.lower()): name for network, alias, name in entry.links})
        present = self._resolvers.get(entry.container)
        if not sockets:
            if present is None:
                raise KeyError(f"no DNS for container {entry.container}")
            present.sight = sight
            present.servers = present.servers if entry.servers is None else entry.servers
            return
        if len(sockets) != 2:
            raise ValueError(f"DNS came with {len(sockets)} sockets")
        if present:
            present.close()
        self._resolvers[entry.container] = Resolver(
            self._loop, sockets[0], sockets[1], self._names, sight, entry.servers or ())

    def _close_dns(self, message: dict[str, Any], _sockets: list[_socket.socket]) -> None:
        for container in message["containers"]:
            resolver = self._resolvers.pop(container, None)
            if resolver:
                resolver.close()

    def _set_names(self, message: dict[str, Any], _sockets: list[_socket.socket]) -> None:
        for network, endpoint in message.get("remove", ()):
            self._names.remove(network, endpoint)
        for data in message.get("put", ()):
            known: protocol.Known = protocol.record(protocol.Known, data)
            self._names.put(known.network, known.network_name,
                            Name(endpoint=known.endpoint, name=known.name, names=known.names, address=known.address,
                                 ipv6_address=known.ipv6_address))

    def _list(self, _message: dict[str, Any], _sockets: list[_socket.socket]) -> dict[str, Any]:
        return {"owners": list(self._ports), "containers": list(self._resolvers), "names": list(self._names), "pid": os.getpid()}

    def _stop(self, _message: dict[str, Any], _sockets: list[_socket.socket]) -> None:
        self._loop.stop()


def serve(path: str) -> int:
    """Serves until it is told to stop. Exit status."""
    import resource

    set_name("wherry-proxy")
    # A connection takes six descriptors: two sockets and, while it moves something, a pipe each way.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = Loop()
    server = Server(loop, path)
    try:
        loop.run()
    finally:
        server.close()
        loop.close()
    return 0


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino
