"""HTTP by raw sockets: what a client may do to a connection, and what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from wherry.api.docker import connection as connection_module
from wherry.api.docker.http import Answer, Hijack, Request, Response, Stream, Upgraded
from wherry.api.docker.router import Route, Router
from wherry.api.docker.server import Server
from wherry.errors import Conflict, NotFound, NotModified, Unsupported

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


class Api:
    """A few routes that show what a connection can do."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.reached = asyncio.Event()
        self.release = asyncio.Event()
        self.upgraded: list[Upgraded] = []
        self.body_sizes: list[int] = []

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/_ping", self.ping),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/now", self.ping, at_once=Response(200, b"now")),
            Route("HEAD", "/now", self.ping, at_once=Response(200, b"now")),
            Route("POST", "/echo", self.echo),
            Route("POST", "/count", self.count),
            Route("POST", "/count/file", self.count_file),
            Route("POST", "/ignore", self.ignore),
            Route("GET", "/lines", self.lines),
            Route("GET", "/endless", self.endless),
            Route("GET", "/wait", self.wait),
            Route("GET", "/missing", self.missing),
            Route("GET", "/same", self.same),
            Route("GET", "/broken", self.broken),
            Route("GET", "/late", self.late),
            Route("POST", "/attach", self.attach),
        ]

    async def ping(self, request: Request) -> Answer:
        return Response(200, b"OK", "text/plain; charset=utf-8")

    async def echo(self, request: Request) -> Answer:
        return Response(200, await request.body.read(), "application/octet-stream")

    async def count(self, request: Request) -> Answer:
        size = 0
        async for chunk in request.body:
            size += len(chunk)
        return Response.json({"size": size})

    async def count_file(self, request: Request) -> Answer:
        stream = request.body.as_file()

        def read() -> int:
            size = 0
            while chunk := stream.read(100_000):
                size += len(chunk)
            return size

        self.reached.set()
        try:
            return Response.json({"size": await asyncio.to_thread(read)})
        finally:
            self.cancelled.set()

    async def ignore(self, request: Request) -> Answer:
        raise Conflict("not wanted")

    async def lines(self, request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b'{"n":%d}\n' % number
                await asyncio.sleep(0)

        return Stream(chunks())

    async def endless(self, request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    self.body_sizes.append(65536)
                    yield bytes(65536)
            finally:
                self.cancelled.set()

        return Stream(chunks())

    async def wait(self, request: Request) -> Answer:
        self.reached.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return Response(200, b"done")

    async def missing(self, request: Request) -> Answer:
        raise NotFound("No such container: x")

    async def same(self, request: Request) -> Answer:
        raise NotModified("already started")

    async def broken(self, request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            if request.method == "GET":
                raise Unsupported("not yet")
            yield b""

        return Stream(chunks())

    async def late(self, request: Request) -> Answer:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"begun"
            raise Unsupported("not yet")

        return Stream(chunks())

    async def attach(self, request: Request) -> Answer:
        async def take(upgraded: Upgraded) -> None:
            self.upgraded.append(upgraded)
            with socket.socket(fileno=upgraded.fd) as sock:
                sock.setblocking(True)
                data = upgraded.early
                while chunk := await asyncio.to_thread(sock.recv, 4096):
                    data += chunk
                sock.sendall(data.upper())

        return Hijack(take)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode().split("\r\n")[:-2]
        return int(first.split()[1]), {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, b""
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return status, headers, body


def run(tmp_path: Any, script: Callable[[Api, Client], Awaitable[None]]) -> None:
    """Serves an Api on a Unix socket and lets a script talk to it; nothing may be under way at the end."""

    async def main() -> None:
        api = Api()
        server = Server(Router(api.routes()), (("Server", "test"),))
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{tmp_path}/s")
        await server.listen(listener)
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s", limit=1 << 20)
        try:
            async with asyncio.timeout(20):
                await script(api, Client(reader, writer))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            api.release.set()
            await server.close(5)
            assert server.requests_under_way == 0

    asyncio.run(main())


def test_keep_alive_and_pipelining_answer_in_order(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"POST /v1.41/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                    b"GET /lines HTTP/1.1\r\nHost: x\r\n\r\n"
                    b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[2] == b"OK"
        assert (await client.answer())[2] == b"abc"
        assert (await client.answer())[2] == b'{"n":0}\n{"n":1}\n{"n":2}\n'
        status, headers = await client.head()
        assert (status, headers["content-length"], headers["server"]) == (200, "2", "test")

    run(tmp_path, script)


def test_answers_at_once_keep_their_place(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        now, ping = b"GET /v1.41/now HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
        client.send(now + ping + now + b"GET /now HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + ping)
        for expected in (b"now", b"OK", b"now", b"now", b"OK"):
            assert (await client.answer())[2] == expected
        client.send(b"HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.head())[1]["content-length"] == "3"
        client.send(b"GET /v9.9/now HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[0] == 400
        client.send(now[:-2] + b"Connection: close\r\n\r\n")
        assert (await client.answer())[2] == b"now"
        assert await client.reader.read() == b""

    run(tmp_path, script)


def test_a_client_that_asks_without_reading_does_not_grow_the_daemon(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = b"GET /now HTTP/1.1\r\nHost: x\r\n\r\n" * 1000
        client.writer.transport.set_write_buffer_limits(0)
        for _ in range(200):
            client.send(request)
            try:
                async with asyncio.timeout(0.2):
                    await client.writer.drain()
            except TimeoutError:
                break  # it is not read from any more
        else:
            pytest.fail("all of it was read")
        client.writer.transport.abort()

    run(tmp_path, script)


def test_pipelined_requests_of_a_half_closed_client_are_all_answered(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        client.writer.write_eof()
        for _ in range(3):
            assert (await client.answer())[2] == b"OK"
        assert await client.reader.read() == b""

    run(tmp_path, script)


def test_a_half_closed_client_still_gets_an_answer_that_takes_a_while(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        client.writer.write_eof()
        await api.reached.wait()
        await asyncio.sleep(0.05)
        api.release.set()
        assert (await client.answer())[2] == b"done"
        assert await client.reader.read() == b""

    run(tmp_path, script)


def test_a_client_that_goes_away_cancels_its_handler(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await api.reached.wait()
        client.writer.transport.abort()
        await api.cancelled.wait()

    run(tmp_path, script)


def test_chunked_bodies_and_big_ones_arrive_whole(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        for path in (b"/count", b"/count/file"):
            client.send(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(64):
                client.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                await client.writer.drain()
            client.send(b"0\r\n\r\n")
            assert (await client.answer())[2] == b'{"size":4194304}\n'
            client.send(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
            assert (await client.answer())[2] == b'{"size":3000000}\n'

    run(tmp_path, script)


def test_a_body_that_nobody_reads_does_not_grow_the_daemon(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"POST /v1.24/ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        status, headers, body = await client.answer()
        assert (status, headers["connection"], body) == (409, "close", b'{"message":"not wanted"}\n')
        assert await client.reader.read() == b""

    run(tmp_path, script)


def test_a_short_body_that_nobody_reads_keeps_the_connection(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        await asyncio.sleep(0.01)
        client.send(b"abcdeGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.answer())[0] == 409
        assert (await client.answer())[2] == b"OK"

    run(tmp_path, script)


def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_whole_body(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"POST /count/file HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        await api.reached.wait()
        client.writer.close()
        await api.cancelled.wait()

    run(tmp_path, script)


def test_expect_100_continue(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.head())[0] == 100
        client.send(b"abc")
        assert (await client.answer())[2] == b"abc"
        client.send(b"POST /ignore HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert (await client.answer())[0] == 409

    run(tmp_path, script)


@pytest.mark.parametrize(("sent", "status"), [
    (b"nonsense\r\n\r\n", 400),
    (b"GET /_ping HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
    (b"GET /_ping HTTP/1.1\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"\x16\x03\x01\x02\x00\x01\x00", 400),
])
def test_what_is_no_http_is_refused_and_closed(tmp_path: Any, sent: bytes, status: int) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(sent)
        found, headers, body = await client.answer()
        assert found == status
        assert headers["connection"] == "close"
        assert b'"message"' in body
        assert await client.reader.read() == b""

    run(tmp_path, script)


def test_a_giant_head_is_refused_long_before_its_end(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Giant: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                client.send(b"a" * 65536)
                await client.writer.drain()
        assert (await client.answer())[0] == 431

    run(tmp_path, script)


def test_a_head_that_never_ends_is_given_up(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.05)

    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /_pi")
        assert (await client.answer())[0] == 408
        assert await client.reader.read() == b""

    run(tmp_path, script)


def test_a_client_that_does_not_read_stops_the_stream(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        seen = -1
        while seen != len(api.body_sizes) or not seen:
            seen = len(api.body_sizes)
            await asyncio.sleep(0.05)
        assert sum(api.body_sizes) < 4 << 20
        client.writer.transport.abort()
        await api.cancelled.wait()

    run(tmp_path, script)


def test_errors_become_status_and_message(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        for path, status, body in ((b"/missing", 404, b'{"message":"No such container: x"}\n'), (b"/same", 304, b""),
                                   (b"/broken", 501, b'{"message":"not yet"}\n'),
                                   (b"/nowhere", 404, b'{"message":"page not found"}\n')):
            client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await client.answer()
            assert (answer[0], answer[2]) == (status, body)

    run(tmp_path, script)


def test_a_stream_that_fails_later_is_visibly_not_whole(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.head())[0] == 200
        assert b"0\r\n\r\n" not in await client.reader.read()

    run(tmp_path, script)


def test_http_1_0_gets_streams_unchunked_and_a_close(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        client.send(b"GET /lines HTTP/1.0\r\n\r\n")
        _, headers = await client.head()
        assert "transfer-encoding" not in headers
        assert await client.reader.read() == b'{"n":0}\n{"n":1}\n{"n":2}\n'

    run(tmp_path, script)


@pytest.mark.parametrize("upgrade", [True, False])
def test_hijack_hands_over_socket_and_early_bytes(tmp_path: Any, upgrade: bool) -> None:
    async def script(api: Api, client: Client) -> None:
        wish = b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else b""
        client.send(b"POST /attach HTTP/1.1\r\nHost: x\r\n" + wish + b"Content-Length: 2\r\n\r\n{}early ")
        status, headers = await client.head()
        assert status == (101 if upgrade else 200)
        assert headers.get("upgrade") == ("tcp" if upgrade else None)
        assert headers["content-type"] == "application/vnd.docker.raw-stream"
        client.send(b"and late")
        client.writer.write_eof()
        assert await client.reader.read() == b"EARLY AND LATE"
        assert api.upgraded[0].early == b"early "

    run(tmp_path, script)


def test_no_descriptor_is_left_behind(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
            writer.write(b"POST /attach HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nx")
            writer.write_eof()
            assert (await reader.read()).endswith(b"X")
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.05)
        assert len(os.listdir("/proc/self/fd")) == before

    run(tmp_path, script)


@pytest.mark.parametrize("path", [b"/_ping", b"/now"])
def test_a_wish_for_http_2_is_ignored_and_the_connection_goes_on(tmp_path: Any, path: bytes) -> None:
    async def script(api: Api, client: Client) -> None:
        for _ in range(2):
            client.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
            status, headers, _ = await client.answer()
            assert status == 200
            assert "upgrade" not in headers

    run(tmp_path, script)


def test_a_refused_upgrade_leaves_the_connection_usable(tmp_path: Any) -> None:
    async def script(api: Api, client: Client) -> None:
        for _ in range(2):
            client.send(b"POST /ignore HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n")
            assert (await client.answer())[0] == 409

    run(tmp_path, script)
