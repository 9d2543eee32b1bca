"""wherry and the real dockerd in one network namespace: forwarding off beforehand, bridge netfilter on, whoever comes first."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from network_lab import HOST, NEIGHBOUR, WAIT_S, Lab, Space, local, neighbour_host, talk

from wherry.network.model import NetworkConfig, PortRequest

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from real_dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]


class Greeter:
    """Says hello to whoever connects."""

    def __init__(self, server: socket.socket) -> None:
        self.server = server
        self.server.settimeout(0.1)
        self.ended = False
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while not self.ended:
            with contextlib.suppress(TimeoutError):
                connection, _ = self.server.accept()
                with connection:
                    connection.sendall(b"hello\n")

    def close(self) -> None:
        self.ended = True
        self.thread.join()


def hear(client: socket.socket, address: tuple[str, int]) -> bytes:
    client.connect(address)
    return client.recv(100)


def wait_until_it_listens(docker: Dockerd, container: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while ":80 " not in docker("exec", container, "netstat", "-ltn"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module", params=["wherry first", "docker first"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Dockerd, Space]]:
    from real_dockerd import dockerd

    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    bridge_netfilter = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridge_netfilter.exists():
        bridge_netfilter.write_text("1")
    with contextlib.ExitStack() as stack:
        neighbour = stack.enter_context(neighbour_host())

        def start_wherry() -> Lab:
            lab = Lab(tmp_path_factory.mktemp("beside"), NetworkConfig())
            stack.callback(lab.close)
            return lab

        def start_docker() -> Dockerd:
            return stack.enter_context(dockerd())

        if request.param == "wherry first":
            lab = start_wherry()
            docker = start_docker()
        else:
            docker = start_docker()
            lab = start_wherry()
        yield lab, docker, neighbour
    for tool in ("ip", "ip6"):  # what dockerd leaves behind
        for table in ("filter", "nat", "mangle", "raw"):
            subprocess.run(["nft", "delete", "table", tool, table], capture_output=True)
    for bridge in ("docker0", "wherry0"):
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True)


def test_traffic_of_both(both: tuple[Lab, Dockerd, Space]) -> None:
    lab, docker, neighbour = both
    greeter = Greeter(neighbour.socket(bind=("0.0.0.0", 7000)))
    try:
        docker("run", "-d", "--name", "theirs", "-p", "9100:80", "busybox", "nc", "-ll", "-p", "80", "-e", "echo", "hello")
        wait_until_it_listens(docker, "theirs")
        space = lab.run("ours", ports=(PortRequest(container_port=80, host_port=9200),))
        server = space.socket(bind=("0.0.0.0", 80))
        second = lab.run("ours2")

        assert hear(second.socket(), (NEIGHBOUR, 7000)) == b"hello\n"
        assert docker("run", "--rm", "busybox", "nc", "-w", "5", NEIGHBOUR, "7000") == "hello"

        talk(neighbour.socket(), server, (HOST, 9200))
        assert hear(neighbour.socket(), (HOST, 9100)) == b"hello\n"
        with local() as client:
            talk(client, server, ("127.0.0.1", 9200))
        with local() as client:
            assert hear(client, ("127.0.0.1", 9100)) == b"hello\n"

        talk(second.socket(), server, (lab.address("ours"), 80))
        assert docker("run", "--rm", "busybox", "nc", "-w", "5", docker.address("theirs"), "80") == "hello"

        talk(second.socket(), server, (HOST, 9200))  # each to the other's published ports, by the host's address
        assert hear(second.socket(), (HOST, 9100)) == b"hello\n"
    finally:
        greeter.close()
        docker("rm", "-f", "theirs")


def test_the_exception_is_kept_reported_and_taken_back(both: tuple[Lab, Dockerd, Space]) -> None:
    lab, docker, _ = both
    # dockerd makes its chain drop only where it was the one to switch forwarding on; distributions and users do it too.
    subprocess.run(["iptables", "-P", "FORWARD", "DROP"], check=True)
    lab.run("one")
    listed = subprocess.run(["iptables", "-S", "DOCKER-USER"], capture_output=True, text=True, check=True).stdout
    assert listed.count("wherry0") == 2
    assert any("DOCKER-USER" in warning for warning in lab.controller.warnings())
    subprocess.run(["iptables", "-F", "DOCKER-USER"], check=True)
    lab.run("change")
    assert subprocess.run(["iptables", "-S", "DOCKER-USER"], capture_output=True, text=True, check=True).stdout.count("wherry0") == 2
    assert docker("network", "create", "more")
    docker("network", "rm", "more")  # dockerd goes on reading and writing its chains
    for name in tuple(lab.spaces):
        lab.end(name)
    lab.controller.close(keep_running=False)
    assert "wherry0" not in subprocess.run(["iptables", "-S"], capture_output=True, text=True, check=True).stdout
    lab.open()
