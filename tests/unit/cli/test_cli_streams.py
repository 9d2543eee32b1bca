from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.attach.keys import DetachFilter, parse_keys
from wherry.cli.attach.relay import Relay
from wherry.cli.attach.stdcopy import Demultiplexer
from wherry.cli.command import CommandFailed
from wherry.cli.commands.run import end_wait
from wherry.cli.http import Connection, ProtocolError
from wherry.console.streams import Streams
from wherry.errors import DataLoss, InvalidArgument

FRAMES = st.lists(st.tuples(st.sampled_from((1, 2)), st.binary(min_size=1, max_size=40)), max_size=12)


@given(FRAMES, st.integers(1, 50))
def test_frames_in_any_pieces(frames: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(bytes((kind, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload for kind, payload in frames)
    reader = Demultiplexer()
    got: dict[int, bytes] = {1: b"", 2: b""}
    for at in range(0, len(data), step):
        for kind, payload in reader.feed(data[at:at + step]):
            got[kind] += payload
    for kind in (1, 2):
        assert got[kind] == b"".join(payload for one, payload in frames if one == kind)


def test_what_is_no_frame() -> None:
    with pytest.raises(DataLoss, match="Unrecognized input header: 104"):
        Demultiplexer().feed(b"hello world")


@pytest.mark.parametrize(("text", "keys"), [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,b", b"ab"), ("ctrl-@", b"\0"), ("ctrl-[,x", b"\x1bx")])
def test_keys(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-A", "ab", "ctrl-pp"])
def test_wrong_keys(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_keys(text)


def test_detach_keys_are_noticed_across_reads_and_given_back_otherwise() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"ab\x10") == b"ab"
    assert keys.feed(b"c") == b"\x10c"
    assert keys.feed(b"\x10\x10") == b"\x10"
    assert not keys.detached
    assert keys.feed(b"\x11rest") == b""
    assert keys.detached


class Played:
    """A socket that plays an answer in pieces of one size."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self.data, self.step, self.sent = data, step, b""

    def sendall(self, data: bytes | memoryview, /) -> None:
        self.sent += bytes(data)

    def send(self, data: bytes, flags: int, /) -> int:
        return len(data)

    def recv(self, size: int, /) -> bytes:
        piece, self.data = self.data[:min(size, self.step)], self.data[min(size, self.step):]
        return piece

    def fileno(self) -> int:
        return -1

    def shutdown(self, how: int, /) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_bodies_of_every_kind(step: int) -> None:
    answer = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
              b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX-Y:  z \r\n\r\nabc"
              b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.0 200 OK\r\n\r\nuntil the end")
    connection = Connection(Played(answer, step), "host")
    assert connection.request("GET", "/a", {}).read() == b"hello world"
    second = connection.request("POST", "/b", {"X": "y"}, b"body")
    assert (second.status, second.headers["x-y"], second.read()) == (404, "z", b"abc")
    assert connection.request("DELETE", "/c", {}).read() == b""
    assert connection.request("GET", "/d", {}, iter([b"one", b"", b"two"])).read() == b"until the end"
    assert connection.closed
    assert isinstance(connection.socket, Played)
    assert b"POST /b HTTP/1.1\r\nHost: host\r\nX: y\r\nContent-Length: 4\r\n\r\nbody" in connection.socket.sent
    assert connection.socket.sent.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_broken_answers(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        Connection(Played(answer), "host").request("GET", "/", {}).read()


@pytest.mark.parametrize("body", [b"5\r\n{\"Sta", b"0\r\n\r\n"])
def test_a_daemon_that_goes_while_one_waits_for_an_exit(body: bytes) -> None:
    connection = Connection(Played(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body), "host")
    with pytest.raises(CommandFailed, match="error waiting for container: unexpected EOF") as failed:
        end_wait(connection.request("POST", "/wait", {}))
    assert failed.value.code == 125


def test_json_values_of_a_stream() -> None:
    connection = Connection(Played(b'HTTP/1.1 200 OK\r\n\r\n{"a":1}\r\n\n{"b":\n', 3), "host")
    values = connection.request("GET", "/", {}).values()
    assert next(values) == {"a": 1}
    with pytest.raises(ValueError, match="JSON"):
        next(values)


def test_a_big_echo_through_the_relay_neither_blocks_nor_loses() -> None:
    import threading
    ours, theirs = socket.socketpair()
    data = os.urandom(4_000_000)
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    received = bytearray()

    def echo() -> None:
        while piece := theirs.recv(1 << 16):
            theirs.sendall(piece)
        theirs.close()

    def feed() -> None:
        with open(write_in, "wb") as file:
            file.write(data)

    def drain() -> None:
        while piece := os.read(read_out, 1 << 16):
            received.extend(piece)

    threads = [threading.Thread(target=one) for one in (echo, feed, drain)]
    for one in threads:
        one.start()
    assert Relay(Streams(read_in, write_out, write_out), ours, b"", framed=False, stdin=read_in).run()
    os.close(write_out)
    for one in threads:
        one.join(30)
    assert received == data
    ours.close()
    os.close(read_in)
    os.close(read_out)
