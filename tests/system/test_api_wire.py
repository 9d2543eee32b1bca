"""The API of a real wherryd over raw sockets: hijacked streams, giant heads, TLS, WebSocket, what a client may do wrong."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from wherryd_box import Wherryd, folders
from wsproto import ConnectionType, WSConnection
from wsproto.events import BytesMessage, CloseConnection
from wsproto.events import Request as UpgradeRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority that has signed itself, which is enough for both sides."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    return folder


@pytest.fixture(scope="module")
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def daemon(certificates: Path, port: int) -> Iterator[Wherryd]:
    with folders() as one:
        tls = [f"--tls{name}={certificates}/{file}.pem" for name, file in (("cert", "cert"), ("key", "key"), ("cacert", "ca"))]
        one.start("--tlsverify", *tls, hosts=(one.socket, f"tcp://127.0.0.1:{port}"))
        one.load()
        yield one


def connect(daemon: Wherryd) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(daemon.path)
    return sock


def read_head(sock: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        assert chunk, data
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode(), rest


def read_all(sock: socket.socket, rest: bytes = b"") -> bytes:
    parts = [rest]
    while chunk := sock.recv(1 << 16):
        parts.append(chunk)
    return b"".join(parts)


def create(daemon: Wherryd, *command: str, **config: Any) -> str:
    status, made = daemon.request("POST", "/containers/create", {
        "Image": "busybox", "Cmd": list(command), "HostConfig": {"NetworkMode": "none"}, **config})
    assert status == 201, made
    return str(made["Id"])


STDIN = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
ALL = "stream=1&stdin=1&stdout=1&stderr=1"


def attach_request(container: str, *, version: str = "v1.41", upgrade: bool = True, query: str = ALL) -> bytes:
    wish = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
    return f"POST /{version}/containers/{container}/attach?{query} HTTP/1.1\r\nHost: x\r\n{wish}Content-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(("version", "media"), [("v1.41", "raw-stream"), ("v1.42", "multiplexed-stream")])
@pytest.mark.parametrize("upgrade", [True, False])
def test_attach_with_early_bytes_and_half_close(daemon: Wherryd, version: str, media: str, upgrade: bool) -> None:
    """What is sent right behind the request reaches the container, and the end of the input is one too."""
    container = create(daemon, "cat", **STDIN)
    with connect(daemon) as sock:
        sock.sendall(attach_request(container, version=version, upgrade=upgrade) + b"early ")
        head, rest = read_head(sock)
        assert head.startswith("HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK")
        assert f"Content-Type: application/vnd.docker.{media}" in head
        assert daemon.request("POST", f"/containers/{container}/start")[0] == 204
        sock.sendall(b"late")
        sock.shutdown(socket.SHUT_WR)
        frames = read_all(sock, rest)
    text = b""
    while frames:
        assert frames[0] == 1
        size = int.from_bytes(frames[4:8], "big")
        text, frames = text + frames[8:8 + size], frames[8 + size:]
    assert text == b"early late"
    assert daemon.request("POST", f"/containers/{container}/wait")[1]["StatusCode"] == 0


def test_a_terminal_s_stream_has_no_frames(daemon: Wherryd) -> None:
    container = create(daemon, "echo", "hello", Tty=True)
    with connect(daemon) as sock:
        sock.sendall(attach_request(container, version="v1.50", query="stream=1&stdout=1"))
        head, rest = read_head(sock)
        assert "application/vnd.docker.raw-stream" in head
        daemon.request("POST", f"/containers/{container}/start")
        assert read_all(sock, rest) == b"hello\r\n"


def test_an_exec_s_body_and_its_input_in_one_segment(daemon: Wherryd) -> None:
    container = create(daemon, "sleep", "60")
    daemon.request("POST", f"/containers/{container}/start")
    _, made = daemon.request("POST", f"/containers/{container}/exec", {
        "Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})
    body = b'{"Detach":false,"Tty":false}'
    with connect(daemon) as sock:
        sock.sendall(f"POST /v1.41/exec/{made['Id']}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body + b"x" * 100_000)
        sock.shutdown(socket.SHUT_WR)
        head, rest = read_head(sock)
        assert head.startswith("HTTP/1.1 101 UPGRADED")
        received = read_all(sock, rest)
    assert received.count(b"x") == 100_000
    daemon.request("DELETE", f"/containers/{container}?force=1")


def test_a_refused_attach_is_plain_words_on_a_connection_that_ends(daemon: Wherryd) -> None:
    """As dockerd answers, whose clients look for a stream there (beside it: tests/peers/test_docker_cli_cases.py)."""
    with connect(daemon) as sock:
        sock.sendall(attach_request("nosuchthing"))
        head, rest = read_head(sock)
        assert head.startswith("HTTP/1.1 404")
        assert "application/vnd.docker.raw-stream" in head
        while data := sock.recv(65536):
            rest += data
        assert rest == b"No such container: nosuchthing\r\n"


def test_attach_over_websocket(daemon: Wherryd) -> None:
    container = create(daemon, "head", "-n1", **STDIN)
    wire = WSConnection(ConnectionType.CLIENT)
    with connect(daemon) as sock:
        sock.sendall(wire.send(UpgradeRequest(host="x", target=f"/v1.41/containers/{container}/attach/ws?{ALL}")))
        time.sleep(0.1)
        daemon.request("POST", f"/containers/{container}/start")
        received, sent, closed = b"", False, False
        while not closed and (data := sock.recv(65536)):
            wire.receive_data(data)
            for event in wire.events():
                if isinstance(event, BytesMessage):
                    received += bytes(event.data)
                elif isinstance(event, CloseConnection):
                    closed = True
            if not sent:
                sock.sendall(wire.send(BytesMessage(data=b"a line\n")))
                sent = True
    assert received == b"a line\n"
    assert closed


def test_run_over_tls_with_input(daemon: Wherryd, certificates: Path, port: int) -> None:
    """`docker run -i` ends its input with a close_notify and still reads the output."""
    environment = {**os.environ, "DOCKER_HOST": f"tcp://127.0.0.1:{port}", "DOCKER_TLS_VERIFY": "1",
                   "DOCKER_CERT_PATH": str(certificates)}
    words = ["docker", "run", "--rm", "-i", "--network", "none", "busybox", "md5sum"]
    data = os.urandom(1 << 20)
    done = subprocess.run(words, input=data, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = subprocess.run(["md5sum"], input=data, capture_output=True, check=True).stdout
    assert done.stdout == expected


def test_without_a_known_certificate_there_is_no_api(certificates: Path, port: int, daemon: Wherryd) -> None:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))

    def ask() -> bytes:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost") as sock:
            sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            return sock.recv(100)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()
    assert daemon.answers()


def memory(daemon: Wherryd) -> int:
    """The daemon's own memory in bytes."""
    with open(f"/proc/{daemon.process.pid}/smaps_rollup") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss_Anon:"))


def test_a_head_of_a_gigabyte_does_not_grow_the_daemon(daemon: Wherryd) -> None:
    before = memory(daemon)
    with connect(daemon) as sock:
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Giant: ")
        chunk = b"a" * (1 << 20)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(1024):
                sock.sendall(chunk)
        with contextlib.suppress(ConnectionError):
            assert sock.recv(100).startswith(b"HTTP/1.1 431")
    assert memory(daemon) - before < 16 << 20
    assert daemon.answers()


def test_a_body_that_nobody_wants_does_not_grow_the_daemon(daemon: Wherryd) -> None:
    before = memory(daemon)
    with connect(daemon) as sock:
        sock.sendall(b"POST /v1.41/containers/nosuch/start HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(200):
                sock.sendall(bytes(1 << 20))
    assert memory(daemon) - before < 16 << 20


def test_json_that_is_too_long_is_refused(daemon: Wherryd) -> None:
    status, answer = daemon.request("POST", "/v1.41/containers/create", b'{"Image":"' + b"x" * (17 << 20) + b'"}',
                                    {"Content-Type": "application/json"})
    assert (status, answer) == (400, {"message": "request body is longer than 16777216 bytes"})


def test_many_silent_connections_do_not_stop_the_others(daemon: Wherryd) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            sock = stack.enter_context(connect(daemon))
            sock.sendall(b"GET /_ping HTTP/1.1\r\nX-Slow: ")
        assert daemon.get("/_ping") == (200, b"OK")


def test_a_client_that_leaves_in_the_middle_of_a_load_leaves_nothing(daemon: Wherryd) -> None:
    from busybox_image import archive

    data = archive("leaver:latest", Labels={"left": "early"})
    with connect(daemon) as sock:
        sock.sendall(f"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                     + data[:len(data) // 2])
    time.sleep(0.2)
    assert daemon.get("/images/leaver/json")[0] == 404
    daemon.load(data)
    assert daemon.get("/images/leaver/json")[0] == 200
    assert daemon.request("DELETE", "/images/leaver")[0] == 200


def test_requests_at_once(daemon: Wherryd) -> None:
    def one(number: int) -> tuple[int, object]:
        path = ("/_ping", "/v1.30/info", "/images/json", "/containers/json?all=1", "/networks", "/volumes", "/version")[number % 7]
        return daemon.get(path)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert [answer for status, answer in pool.map(one, range(200)) if status != 200] == []


def test_events_stream_until_the_client_leaves(daemon: Wherryd) -> None:
    filters = "%7B%22type%22%3A%5B%22volume%22%5D%7D"
    with connect(daemon) as sock:
        sock.sendall(f"GET /v1.41/events?filters={filters} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, rest = read_head(sock)
        assert "Transfer-Encoding: chunked" in head
        daemon.request("POST", "/volumes/create", {"Name": "eventful"})
        while b"\n" not in rest.partition(b"\r\n")[2]:
            rest += sock.recv(65536)
        event = json.loads(rest.partition(b"\r\n")[2].split(b"\r\n")[0])
        assert (event["Type"], event["Action"], event["Actor"]["ID"]) == ("volume", "create", "eventful")
    daemon.request("DELETE", "/volumes/eventful")


@pytest.mark.parametrize("text", ["%%%", "bnVsbA==", "e30", base64.urlsafe_b64encode(b'{"username":1}').decode()])
def test_credentials_that_cannot_be_read_are_nobody_s(daemon: Wherryd, text: str) -> None:
    status, answer = daemon.request("POST", "/v1.41/images/create?fromImage=127.0.0.1:9/x&tag=y", b"", {"X-Registry-Auth": text})
    assert status == 500
    assert "connection refused" in answer["message"]
