"""wherry-proxy as one port's process, and its forwards on loopback: real sockets, no root."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wherry.network.proxy import tcp, udp
from wherry.network.proxy.loop import Loop
from wherry.network.proxy.single import listen
from wherry.network.proxy.tcp import TcpForward
from wherry.network.proxy.udp import UdpForward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(__file__).resolve().parents[3] / "bin/wherry-proxy"
WAIT_S = 10.0
PLACE = """
import fcntl, os, sys
told, listener = (fcntl.fcntl(int(word), fcntl.F_DUPFD_CLOEXEC, 10) for word in sys.argv[1:3])
for fd in map(int, sys.argv[1:3]):
    os.set_inheritable(fd, False)
os.dup2(told, 3)
os.dup2(listener, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def bound(kind: int) -> tuple[socket.socket, int]:
    sock = socket.socket(socket.AF_INET, kind)
    sock.settimeout(WAIT_S)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock, sock.getsockname()[1]


def start(*flags: str, listener: socket.socket | None = None) -> tuple[subprocess.Popen[bytes], bytes]:
    """The process, and what it told on descriptor 3."""
    reading, writing = os.pipe()
    given = listener.fileno() if listener else writing
    process = subprocess.Popen([sys.executable, "-IS", "-c", PLACE, str(writing), str(given), str(PROGRAM), *flags],
                               pass_fds=(writing, given))
    os.close(writing)
    told = b""
    while more := os.read(reading, 1000):
        told += more
        if told == b"0\n":
            break
    os.close(reading)
    return process, told


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(WAIT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_tcp_port(number: int) -> None:
    server, container_port = bound(socket.SOCK_STREAM)
    free, host_port = bound(socket.SOCK_STREAM)
    free.close()
    process, told = start("-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", str(host_port), "-container-ip", "127.0.0.1",
                          "-container-port", str(container_port))
    try:
        assert told == b"0\n"
        with socket.create_connection(("127.0.0.1", host_port), WAIT_S) as client:
            connection, _ = server.accept()
            client.sendall(b"ping")
            client.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read() == b"ping"
            connection.sendall(b"pong")
            connection.close()
            assert client.makefile("rb").read() == b"pong"
    finally:
        assert end(process, number) == 0
        server.close()


def test_a_listening_socket_that_is_given() -> None:
    server, container_port = bound(socket.SOCK_STREAM)
    listener, host_port = bound(socket.SOCK_STREAM)
    process, told = start("-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", str(host_port), "-container-ip", "127.0.0.1",
                          "-container-port", str(container_port), "-use-listen-fd", listener=listener)
    try:
        assert told == b"0\n"
        listener.close()
        with socket.create_connection(("127.0.0.1", host_port), WAIT_S):
            server.accept()[0].close()
    finally:
        end(process)
        server.close()


def test_a_port_that_is_taken() -> None:
    taken, host_port = bound(socket.SOCK_STREAM)
    process, told = start("-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", str(host_port), "-container-ip", "127.0.0.1",
                          "-container-port", "1")
    assert told == f"1\nlisten tcp4 127.0.0.1:{host_port}: bind: address already in use".encode()
    assert process.wait(WAIT_S) == 1
    taken.close()


def test_wrong_flags() -> None:
    done = subprocess.run([str(PROGRAM), "-nope"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("flag provided but not defined: -nope\nwherry-proxy:")
    assert "-use-listen-fd" in subprocess.run([str(PROGRAM), "--help"], capture_output=True, text=True).stdout


@pytest.fixture
def loop() -> Iterator[Loop]:
    found = Loop()
    wake, woken = os.pipe()
    found.watch(wake, 1, lambda _events: found.stop())
    thread = threading.Thread(target=found.run)
    found.begin = thread.start  # type: ignore[attr-defined]
    yield found
    os.write(woken, b"x")
    thread.join(WAIT_S)
    os.close(wake)
    os.close(woken)
    found.close()


def run(loop: Loop) -> None:
    begin: Callable[[], None] = loop.begin  # type: ignore[attr-defined]
    begin()


@pytest.mark.parametrize("rounds", [1, 16])
def test_both_directions_at_once_are_whole(loop: Loop, monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    """Also where a side ends in the last round of its turn."""
    monkeypatch.setattr(tcp, "_ROUNDS", rounds)
    server, container_port = bound(socket.SOCK_STREAM)
    front = listen("tcp", "127.0.0.1", 0)
    host_port = front.getsockname()[1]
    forward = TcpForward(loop, front, ("127.0.0.1", container_port))
    run(loop)
    payload = os.urandom(4 << 20)
    with socket.create_connection(("127.0.0.1", host_port), WAIT_S) as client:
        connection, _ = server.accept()
        connection.settimeout(WAIT_S)
        received: dict[str, bytes] = {}

        def receive(name: str, sock: socket.socket) -> None:
            with sock.makefile("rb") as stream:
                received[name] = stream.read()

        def send(sock: socket.socket, data: bytes) -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        threads = [threading.Thread(target=receive, args=("server", connection)), threading.Thread(target=receive, args=("client", client)),
                   threading.Thread(target=send, args=(client, payload)), threading.Thread(target=send, args=(connection, payload[::-1]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        connection.close()
    assert received == {"server": payload, "client": payload[::-1]}
    server.close()
    loop.later(0, forward.close)


def test_udp_flows_end_when_idle(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_SWEEP_S", 0.01)
    monkeypatch.setattr(udp, "IDLE_S", 0.0)
    server, container_port = bound(socket.SOCK_DGRAM)
    front = listen("udp", "127.0.0.1", 0)
    forward = UdpForward(loop, front, ("127.0.0.1", container_port))
    host_port = front.getsockname()[1]
    run(loop)
    client, _ = bound(socket.SOCK_DGRAM)
    seen = set()
    for _ in range(50):
        client.sendto(b"ping", ("127.0.0.1", host_port))
        seen.add(server.recvfrom(100)[1])
        if len(seen) > 1:
            break  # a new flow with a new port: the old one was swept away
        threading.Event().wait(0.02)
    assert len(seen) > 1
    client.close()
    server.close()
    loop.later(0, forward.close)
