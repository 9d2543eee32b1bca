"""Links, `--link db:store`, on wherryd and on the real dockerd: hosts, variables, names, refusals; and the DNS of one container."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from real_dockerd import dockerd
from wherryd_box import wherryd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.net, pytest.mark.peer,
              pytest.mark.skipif(not shutil.which("dockerd"), reason="dockerd is not installed")]

# What differs by itself. 20.10 tells an own name on a network among the aliases, we as 25 and newer among the DNS names.
DIFFERS = ((r"\b[0-9a-f]{12,64}\b", "<id>"), (r"/[a-z]+_[a-z]+\d?/", "/<name>/"), (r"\b172\.\d+\.\d+\.\d+\b", "<address>"),
           (r"(?m)^([0-9a-f]+::)0?(?=\s)", r"\1"), (r"(?s)Run 'docker run --help'.*|See 'docker run --help'.*", ""), (r"docker: ", ""),
           # The 20.10 client says so or not, by which of its two connections ends first.
           (r'time="[^"]*" level=error msg="error waiting for container: context canceled"', ""))


class Client:
    """The docker command line on one daemon; what it prints, with what differs by itself left out."""

    def __init__(self, socket: str) -> None:
        self._words = [shutil.which("docker", path="/usr/bin") or "docker", "-H", socket]

    def __call__(self, *words: str) -> str:
        done = subprocess.run([*self._words, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        text = done.stdout.decode()
        for pattern, plain in DIFFERS:
            text = re.sub(pattern, plain, text)
        return "\n".join(sorted(text.strip().splitlines()))

    def sleeping(self, name: str, *words: str) -> None:
        assert self("run", "-d", "--name", name, *words, "busybox", "sleep", "1000") == "<id>"

    def format(self, name: str, field: str) -> str:
        return self("inspect", "-f", "{{json " + field + "}}", name)


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[Client, Client]]:
    with dockerd() as real, wherryd() as ours:
        yield Client(real.socket), Client(ours.socket)


@pytest.fixture
def both(clients: tuple[Client, Client]) -> Iterator[tuple[Client, Client]]:
    """Each with a container `db` that exposes ports; what a test makes is removed."""
    for client in clients:
        client.sleeping("db", "-e", "COLOUR=blue", "-e", "PATH=/bin", "-e", "EMPTY=", "--expose", "80-83", "--expose", "81/udp",
                        "--expose", "90/udp", "--expose", "91/udp")
    yield clients
    for client in clients:
        made = client("ps", "-a", "--format", "{{.Names}}").split()
        assert client("rm", "-f", *made)
        client("network", "prune", "-f")


def same(both: tuple[Client, Client], *words: str) -> str:
    """What both daemons answer to a command."""
    real, ours = (client(*words) for client in both)
    assert ours == real
    return ours


def same_field(both: tuple[Client, Client], name: str, field: str) -> str:
    real, ours = (client.format(name, field) for client in both)
    assert ours == real
    return ours


def test_hosts_and_variables(both: tuple[Client, Client]) -> None:
    seen = same(both, "run", "--rm", "--name", "web", "--link", "db:sto-re", "--link", "db", "busybox", "sh", "-c", "env; cat /etc/hosts")
    for line in ("STO_RE_PORT=tcp://<address>:80", "STO_RE_PORT_80_TCP_END=tcp://<address>:83", "STO_RE_PORT_91_UDP_PROTO=udp", "DB_NAME=/web/db",
                 "DB_ENV_COLOUR=blue", "DB_ENV_EMPTY=", "<address>\tsto-re <id> db", "<address>\tdb <id>"):
        assert line in seen.splitlines()
    assert "DB_ENV_PATH" not in seen
    assert same(both, "run", "--rm", "-e", "DB_NAME=mine", "--link", "db", "busybox", "sh", "-c", "echo $DB_NAME") == "mine"
    for client in both:
        client.sleeping("inside", "--network", "container:db")
    assert "X_PORT_80_TCP_PORT=80" in same(both, "run", "--rm", "--link", "inside:x", "busybox", "env")


def test_names(both: tuple[Client, Client]) -> None:
    for client in both:
        client.sleeping("web", "--link", "db:store", "--link", "db:other")
    for client in both:
        assert sorted(re.findall(r"/db:/web/\w+", client.format("web", ".HostConfig.Links"))) == ["/db:/web/other", "/db:/web/store"]
    assert same(both, "inspect", "-f", "{{.Name}}", "web/store") == "/db"
    assert same(both, "exec", "web/other", "hostname") == "<id>"
    assert "DB" not in same(both, "exec", "web", "env")
    assert "STORE_NAME=/web/store" in same(both, "exec", "web", "env").splitlines()
    listed = same(both, "ps", "--no-trunc", "--format", "{{.Names}}")
    assert listed.splitlines() == ["db,web/other,web/store", "web"]
    same(both, "rename", "db", "base")
    same(both, "rename", "web", "front")
    for client in both:
        assert "/base:/front/store" in client.format("front", ".HostConfig.Links")
    same(both, "restart", "-t", "0", "front")
    assert "<address>\tstore <id> base" in same(both, "exec", "front", "cat", "/etc/hosts").splitlines()


def test_the_other_one_changes(both: tuple[Client, Client]) -> None:
    for client in both:
        client.sleeping("web", "--link", "db:store")
    same(both, "stop", "-t", "0", "db")
    same(both, "run", "-d", "busybox", "sleep", "1000")  # takes the address, where addresses are given again at once
    same(both, "start", "db")
    assert "<address>\tstore <id> db" in same(both, "exec", "web", "cat", "/etc/hosts").splitlines()
    for client in both:  # the address itself, which the comparison leaves out
        assert client("exec", "web", "ping", "-c", "1", "-W", "5", "store").count("1 packets received") == 1
    assert same(both, "rm", "--link", "web/store") == "web/store"
    assert "store" not in same(both, "exec", "web", "cat", "/etc/hosts")
    assert same_field(both, "web", ".HostConfig.Links") == "null"
    assert "No such container: web/store" in same(both, "rm", "--link", "web/store")
    assert "cannot remove the default link name" in same(both, "rm", "--link", "web")
    assert len(same(both, "ps", "-q").splitlines()) == 3


def test_refusals(both: tuple[Client, Client]) -> None:
    for client in both:
        assert client("create", "--name", "still", "busybox", "true") == "<id>"
        assert client("network", "create", "apart") == "<id>"
        client.sleeping("elsewhere", "--network", "apart")
        client.sleeping("open", "--network", "host")
    for words, told in (
        (("--link", "nobody:x"), "could not get container for nobody: No such container: nobody"), (("--link", "db:x:y"), "bad format for links: db:x:y"),
        (("--link", "still:x"), "Cannot link to a non running container: /still AS /<name>/x"), (("--link", "open:x"), "host type networking can't be used with links"),
        (("--link", "elsewhere:x"), "Cannot link to /elsewhere, as it does not belong to the default network"),
        (("--network", "host", "--link", "db"), "links are only supported for user-defined networks."),
        (("--network", "container:db", "--link", "db"), "links are only supported for user-defined networks."), (("--network", "none", "--link", "db"), ""),
    ):
        assert told in same(both, "run", "--rm", *words, "busybox", "true")
    for client in both:
        client.sleeping("web", "--link", "db:store")
    same(both, "rm", "-f", "db")
    assert "/db:/web/store" in same_field(both, "web", ".HostConfig.Links")
    assert "Cannot link to a non running container: /db AS /web/store" in same(both, "restart", "-t", "0", "web")


def test_a_name_for_one_on_a_network(both: tuple[Client, Client]) -> None:
    same(both, "network", "create", "apart")
    for client in both:
        client.sleeping("asks", "--network", "apart", "--link", "later:store")
        assert "1 packets received" not in client("exec", "asks", "ping", "-c", "1", "-W", "1", "store")
        client.sleeping("later", "--network", "apart")
        assert "1 packets received" in client("exec", "asks", "ping", "-c", "1", "-W", "5", "store")
        assert "1 packets received" not in client("exec", "later", "ping", "-c", "1", "-W", "1", "store")
        client("network", "create", "second")
        client("network", "connect", "--link", "later:two", "second", "asks")
        client("network", "connect", "second", "later")
        assert "1 packets received" in client("exec", "asks", "ping", "-c", "1", "-W", "5", "two")
        client("network", "disconnect", "second", "asks")
        assert "1 packets received" not in client("exec", "asks", "ping", "-c", "1", "-W", "1", "two")
        client("restart", "-t", "0", "asks")
        assert "1 packets received" in client("exec", "asks", "ping", "-c", "1", "-W", "5", "store")
    same_field(both, "asks", ".NetworkSettings.Networks.apart.Links")
