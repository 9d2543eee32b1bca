"""The real dockerd with `--userland-proxy-path` set to wherry-proxy: it cannot tell the difference."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_lab import Space, local, talk_udp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]

PROXY = Path(__file__).resolve().parents[2] / "bin/wherry-proxy"
WAIT_S = 10.0


@pytest.fixture(scope="module")
def docker() -> Iterator[Dockerd]:
    from real_dockerd import dockerd

    with dockerd("--userland-proxy-path", str(PROXY)) as daemon:
        yield daemon


def proxies() -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if b"-proto" in words and any(word.endswith(b"/wherry-proxy") for word in words):
            found.append(b" ".join(words).decode())
    return found


def read_all(address: tuple[str, int], family: int = socket.AF_INET, send: bytes = b"") -> bytes:
    """What a server says to the end. The program in the container may not listen yet: then it is asked again."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return _read_all(address, family, send)
        except (ConnectionResetError, BrokenPipeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _read_all(address: tuple[str, int], family: int, send: bytes) -> bytes:
    with socket.socket(family) as client:
        client.settimeout(WAIT_S)
        client.connect(address)
        client.sendall(send)
        client.shutdown(socket.SHUT_WR)
        data = b""
        while more := client.recv(1 << 16):
            data += more
    return data


def test_tcp_through_the_loopback(docker: Dockerd) -> None:
    docker("run", "-d", "--name", "echo", "-p", "9090:80", "busybox", "nc", "-ll", "-p", "80", "-e", "cat")
    running = proxies()
    assert any("-proto tcp -host-ip 0.0.0.0 -host-port 9090" in line for line in running)
    payload = bytes(range(256)) * 4096
    assert read_all(("127.0.0.1", 9090), send=payload) == payload
    if any("-host-ip ::" in line for line in running):
        assert read_all(("::1", 9090), socket.AF_INET6, payload) == payload
    docker("rm", "-f", "echo")
    assert proxies() == []


def test_udp_through_the_loopback(docker: Dockerd) -> None:
    docker("run", "-d", "--name", "udp", "-p", "9091:53/udp", "busybox", "sleep", "1000")
    space = Space(int(docker("inspect", "-f", "{{.State.Pid}}", "udp")))
    server = space.socket(socket.SOCK_DGRAM, ("0.0.0.0", 53))
    clients = [local(socket.SOCK_DGRAM) for _ in range(3)]
    seen = {talk_udp(client, server, ("127.0.0.1", 9091)) for client in clients}
    assert len(seen) == 3  # a flow of its own for each
    assert {talk_udp(client, server, ("127.0.0.1", 9091)) for client in clients} == seen
    for client in clients:
        client.close()
    space.close()
    docker("rm", "-f", "udp")


def test_port_that_is_taken(docker: Dockerd) -> None:
    with socket.socket() as foreign:
        foreign.bind(("0.0.0.0", 9092))
        foreign.listen()
        message = docker("run", "--rm", "-p", "9092:80", "busybox", "true", fails=True)
    assert "address already in use" in message
    assert "9092" in message
    assert proxies() == []


def test_a_port_goes_on_while_the_container_restarts(docker: Dockerd) -> None:
    docker("run", "-d", "--name", "again", "-p", "9093:80", "busybox", "nc", "-ll", "-p", "80", "-e", "echo", "hello")
    assert read_all(("127.0.0.1", 9093)) == b"hello\n"
    docker("restart", "-t", "0", "again")
    assert read_all(("127.0.0.1", 9093)) == b"hello\n"
    docker("rm", "-f", "again")


@pytest.mark.parametrize("flags", [["-proto", "tcp", "-host-ip", "127.0.0.1", "-host-port", "9094"],
                                   ["-proto", "sctp", "-host-ip", "127.0.0.1", "-host-port", "9094"]])
def test_readiness_is_told_as_docker_proxy_tells_it(flags: list[str]) -> None:
    """Both programs, side by side: the same first byte on descriptor 3, success and failure alike."""
    told = {}
    for program in (shutil.which("docker-proxy") or "", str(PROXY)):
        if not program:
            continue
        with socket.socket() as foreign:
            foreign.bind(("127.0.0.1", 9094))
            foreign.listen()
            command = 'exec "$0" "$@" 3>&1 >/dev/null'
            done = subprocess.run(["sh", "-c", command, program, *flags, "-container-ip", "127.0.0.1", "-container-port", "1"],
                                  capture_output=True, timeout=WAIT_S)
        told[program] = done.stdout[:2]
        if "tcp" in flags:
            assert b"listen tcp4 127.0.0.1:9094: bind: address already in use" in done.stdout or b"listen tcp " in done.stdout
    assert set(told.values()) == {b"1\n"}
