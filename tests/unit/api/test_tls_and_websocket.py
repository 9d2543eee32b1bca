"""Connections that stay behind a translator: TLS with half-close, and WebSocket."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.events import Request as UpgradeRequest

from wherry.api.docker.http import Answer, Hijack, Request, Response, Upgraded
from wherry.api.docker.router import Route, Router
from wherry.api.docker.server import Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return folder


async def shout(request: Request) -> Answer:
    """Sends what comes in back in capitals, once the input has ended; a big greeting first."""
    async def take(upgraded: Upgraded) -> None:
        sock = socket.socket(fileno=upgraded.fd)
        sock.setblocking(True)

        def work() -> None:
            with sock:
                sock.sendall(bytes(200_000))
                data = upgraded.early
                while chunk := sock.recv(65536):
                    data += chunk
                    if data.endswith(b"."):  # a WebSocket has no half-close
                        break
                sock.sendall(data.upper())

        await asyncio.to_thread(work)

    return Hijack(take, websocket=request.path.endswith("/ws"))


async def ping(request: Request) -> Answer:
    return Response(200, b"OK")


ROUTES = [Route("GET", "/_ping", ping), Route("POST", "/attach", shout), Route("GET", "/attach/ws", shout)]


def serve(script: Any, certificates: Path | None = None) -> None:
    async def main() -> None:
        server = Server(Router(ROUTES), ())
        context = None
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates / "cert.pem")
        listener = socket.create_server(("127.0.0.1", 0))
        await server.listen(listener, context)
        async with asyncio.timeout(20):
            await asyncio.to_thread(script, listener.getsockname())
        await server.close(5)

    asyncio.run(main())


def client(address: Any, certificates: Path, *, known: bool = True) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificates / "cert.pem"))
    if known:
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
    return context.wrap_socket(socket.create_connection(address), server_hostname="localhost", suppress_ragged_eofs=False)


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        assert chunk, f"closed after {data!r}"
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def test_requests_over_tls(certificates: Path) -> None:
    def script(address: Any) -> None:
        with client(address, certificates) as sock:
            for _ in range(2):
                sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
                head, rest = read_head(sock)
                assert head.startswith(b"HTTP/1.1 200")
                assert rest == b"OK"

    serve(script, certificates)


def test_a_client_without_a_certificate_gets_nothing(certificates: Path) -> None:
    def script(address: Any) -> None:
        def ask() -> bytes:
            with client(address, certificates, known=False) as sock:
                sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
                return sock.recv(100)

        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask()

    serve(script, certificates)


def test_plain_text_to_a_tls_socket_is_no_request(certificates: Path) -> None:
    def script(address: Any) -> None:
        with socket.create_connection(address) as sock:
            sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in sock.recv(4096)

    serve(script, certificates)


def test_a_hijacked_tls_connection_can_be_half_closed(certificates: Path) -> None:
    """The end of the input is a close_notify; the output still comes, however much there is."""
    def script(address: Any) -> None:
        context = ssl.create_default_context(cafile=str(certificates / "cert.pem"))
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(address) as raw:
            def pump(step: Any) -> Any:
                while True:
                    try:
                        result = step()
                    except ssl.SSLWantReadError:
                        raw.sendall(outgoing.read())
                        if not (data := raw.recv(65536)):
                            return b""
                        incoming.write(data)
                    else:
                        raw.sendall(outgoing.read())
                        return result

            pump(tls.do_handshake)
            pump(lambda: tls.write(b"POST /attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly "))
            pump(lambda: tls.write(b"late"))
            with pytest.raises(ssl.SSLWantReadError):
                tls.unwrap()  # our close_notify is sent; the server's is not here yet
            raw.sendall(outgoing.read())
            data = b""
            while not data.endswith(b"EARLY LATE"):
                if not (chunk := pump(lambda: tls.read(65536))):
                    break
                data += chunk
            head, _, rest = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 UPGRADED")
            assert rest == bytes(200_000) + b"EARLY LATE"

    serve(script, certificates)


def test_websocket_frames_in_both_directions() -> None:
    def script(address: Any) -> None:
        wire = WSConnection(ConnectionType.CLIENT)
        with socket.create_connection(address) as sock:
            sock.sendall(wire.send(UpgradeRequest(host="x", target="/v1.41/attach/ws")))
            received, accepted, ponged, closed = b"", False, False, False
            while not closed:
                data = sock.recv(65536)
                wire.receive_data(data or None)
                for event in wire.events():
                    if isinstance(event, AcceptConnection):
                        accepted = True
                        sock.sendall(wire.send(Ping(payload=b"there?")))
                        sock.sendall(wire.send(TextMessage(data="text ")) + wire.send(BytesMessage(data=b"bytes.")))
                    elif isinstance(event, BytesMessage):
                        received += event.data
                    elif isinstance(event, Pong):
                        ponged = True
                    elif isinstance(event, CloseConnection):
                        closed = True
            assert accepted
            assert ponged
            assert received == bytes(200_000) + b"TEXT BYTES."

    serve(script)


def test_what_is_no_websocket_handshake_is_refused() -> None:
    def script(address: Any) -> None:
        with socket.create_connection(address) as sock:
            sock.sendall(b"GET /attach/ws HTTP/1.1\r\nHost: x\r\n\r\n")
            head, rest = read_head(sock)
            assert head.startswith(b"HTTP/1.1 400")
            assert b"bad WebSocket handshake" in rest

    serve(script)
