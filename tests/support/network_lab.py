"""Namespaces as containers, threads that enter them, and a daemon's networks to put them on: for tests with real packets."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import threading
from ctypes import CDLL
from typing import TYPE_CHECKING, Any

from wherry.linux import nftables
from wherry.network.controller import Controller
from wherry.network.model import EndpointRequest, Restored, Sandbox
from wherry.network.proxy.client import ProxyClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wherry.network.model import Endpoint, NetworkConfig, PortRequest, PublishedPort, SocketRequest

CLONE_NEWNET = 0x40000000
NEIGHBOUR = "10.99.0.2"
HOST = "10.99.0.1"
NEIGHBOUR_IPV6 = "fd00:99::2"
HOST_IPV6 = "fd00:99::1"
WAIT_S = 5.0


class Space:
    """A network namespace without a process: threads go in, open sockets and end."""

    def __init__(self, pid: int = 0) -> None:
        """A new namespace, or that of a process."""
        self.fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC) if pid else self._in_thread(self._make)
        self.sockets: list[socket.socket] = []

    @staticmethod
    def _in_thread(work: Callable[[], Any]) -> Any:
        results: list[Any] = []
        errors: list[BaseException] = []

        def body() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 (it is raised where it was asked for)
                errors.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    @staticmethod
    def _make() -> int:
        assert CDLL(None).unshare(CLONE_NEWNET) == 0
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def run(self, work: Callable[[], Any]) -> Any:
        def inside() -> Any:
            assert CDLL(None).setns(self.fd, CLONE_NEWNET) == 0
            return work()

        return self._in_thread(inside)

    def inside(self, requests: tuple[SocketRequest, ...], nft: str) -> list[int]:
        """What the engine's zygote does."""
        def work() -> list[int]:
            fds, text = [], nft
            for number, request in enumerate(requests):
                sock = socket.socket(request.family, request.kind, request.protocol)
                if request.address:
                    sock.bind(request.address)
                    text = text.replace(f"$port{number}", str(sock.getsockname()[1]))
                if request.backlog:
                    sock.listen(request.backlog)
                fds.append(sock.detach())
            if text:
                nftables.apply(text)
            return fds

        found: list[int] = self.run(work)
        return found

    def socket(self, kind: int = socket.SOCK_STREAM, bind: tuple[str, int] | None = None, family: int = socket.AF_INET) -> socket.socket:
        def work() -> socket.socket:
            sock = socket.socket(family, kind)
            sock.settimeout(WAIT_S)
            if bind:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(bind)
                if kind == socket.SOCK_STREAM:
                    sock.listen(16)
            return sock

        made: socket.socket = self.run(work)
        self.sockets.append(made)
        return made

    def command(self, *argv: str) -> str:
        return subprocess.run(["nsenter", f"--net=/proc/self/fd/{self.fd}", *argv], check=True, capture_output=True,
                              text=True, pass_fds=(self.fd,)).stdout

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        os.close(self.fd)


class Lab:
    """A daemon's networks, its proxy, and containers by name."""

    def __init__(self, folder: Path, config: NetworkConfig) -> None:
        self.folder = folder
        self.config = config
        self.spaces: dict[str, Space] = {}
        self.held: dict[str, dict[str, Endpoint]] = {}
        self.ports: dict[str, tuple[PublishedPort, ...]] = {}
        self.open()

    def open(self, restored: tuple[Restored, ...] = ()) -> None:
        self.proxy = ProxyClient(str(self.folder / "run"))
        self.controller = Controller(str(self.folder / "files"), self.config, self.proxy)
        self.controller.open_sandbox = self._open_sandbox
        self.controller.start(restored)

    @contextlib.contextmanager
    def _open_sandbox(self, container_id: str) -> Iterator[Sandbox | None]:
        name = next((name for name, held in self.held.items() if any(e.container_id == container_id for e in held.values())), "")
        yield self.sandbox(name, container_id) if name in self.spaces else None

    def sandbox(self, name: str, container_id: str, dns: tuple[str, ...] = ()) -> Sandbox:
        space = self.spaces[name]
        return Sandbox(container_id=container_id, pid=os.getpid(), netns_fd=space.fd, inside=space.inside, dns_servers=dns)

    def run(self, name: str, *networks: str, ports: tuple[PortRequest, ...] = (), dns: tuple[str, ...] = (), **request: Any) -> Space:
        """A container on networks, its ports published on the first."""
        self.spaces[name] = Space()
        container_id = secrets.token_hex(32)
        self.held[name] = {}
        for network in networks or ("bridge",):
            self.join(name, network, container_id, dns, **request)
        first = next(iter(self.held[name].values()))
        self.ports[name] = self.controller.publish(first, ports)
        return self.spaces[name]

    def join(self, name: str, network: str, container_id: str = "", dns: tuple[str, ...] = (), **request: Any) -> Endpoint:
        container_id = container_id or next(iter(self.held[name].values())).container_id
        wanted = self.controller.network(network)
        endpoint = self.controller.allocate(wanted.id, container_id, EndpointRequest(container_name=name, **request))
        self.held[name][network] = self.controller.attach(endpoint, self.sandbox(name, container_id, dns))
        return self.held[name][network]

    def leave(self, name: str, network: str) -> None:
        endpoint = self.held[name].pop(network)
        self.controller.detach(endpoint)
        self.controller.release(endpoint)

    def end(self, name: str) -> None:
        self.spaces.pop(name).close()
        for endpoint in self.held.pop(name).values():
            self.controller.unpublish(endpoint)
            self.controller.detach(endpoint, ended=True)
            self.controller.release(endpoint)
        self.ports.pop(name)

    def address(self, name: str, network: str = "bridge") -> str:
        return self.held[name][network].ipv4_address

    def restored(self) -> tuple[Restored, ...]:
        return tuple(Restored(endpoint=endpoint, ports=self.ports[name] if number == 0 else ())
                     for name, held in self.held.items() for number, endpoint in enumerate(held.values()))

    def close(self) -> None:
        for name in tuple(self.spaces):
            self.end(name)
        self.controller.close(keep_running=False)


@contextlib.contextmanager
def neighbour_host() -> Iterator[Space]:
    """Another host, on a wire to this one, with a route to nowhere else."""
    space = Space()
    subprocess.run(["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "uplink-peer"], check=True)
    subprocess.run(["ip", "link", "set", "uplink-peer", "netns", f"/proc/self/fd/{space.fd}"], check=True, pass_fds=(space.fd,))
    subprocess.run(["ip", "addr", "add", f"{HOST}/24", "dev", "uplink"], check=True)
    subprocess.run(["ip", "addr", "add", f"{HOST_IPV6}/64", "dev", "uplink", "nodad"], check=True)
    subprocess.run(["ip", "link", "set", "uplink", "up"], check=True)
    space.command("ip", "addr", "add", f"{NEIGHBOUR}/24", "dev", "uplink-peer")
    space.command("ip", "addr", "add", f"{NEIGHBOUR_IPV6}/64", "dev", "uplink-peer", "nodad")
    space.command("ip", "link", "set", "uplink-peer", "up")
    space.command("ip", "link", "set", "lo", "up")
    yield space
    subprocess.run(["ip", "link", "delete", "uplink"], check=True)
    space.close()


def talk(client: socket.socket, server: socket.socket, address: tuple[str, int]) -> tuple[str, int]:
    """Connects, exchanges a word each way; who the server saw."""
    client.connect(address)
    connection, peer = server.accept()
    with connection:
        connection.settimeout(WAIT_S)
        client.sendall(b"ping")
        assert connection.recv(4) == b"ping"
        connection.sendall(b"pong")
        assert client.recv(4) == b"pong"
    host, port = peer[:2]
    return host, port


def talk_udp(client: socket.socket, server: socket.socket, address: tuple[str, int]) -> tuple[str, int]:
    client.sendto(b"ping", address)
    data, peer = server.recvfrom(100)
    assert data == b"ping"
    server.sendto(b"pong", peer)
    data, came_from = client.recvfrom(100)
    assert (data, came_from[:2]) == (b"pong", address)
    host, port = peer[:2]
    return host, port


def refused(client: socket.socket, address: tuple[str, int]) -> bool:
    client.settimeout(0.3)
    try:
        client.connect(address)
    except OSError:
        return True
    return False


def refused_by_reset(client: socket.socket) -> bool:
    try:
        client.recv(1)
    except ConnectionResetError:
        return True
    return False


def local(kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, kind)
    sock.settimeout(WAIT_S)
    return sock
