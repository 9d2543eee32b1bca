"""The wire formats of containerd's door: protocol buffers, ttrpc frames, options, the command line."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.errors import InvalidArgument, NotFound, Unsupported
from wherry.shim.containerd import bootstrap, messages, settings, streams, ttrpc
from wherry.shim.containerd.protobuf import BOOL, BYTES, INT, MAP, STRING, UINT, Field, Message, decode, encode
from wherry.shim.loop import Loop

INNER = Message("Inner", Field(1, "text", STRING))
ALL = Message("All", Field(1, "uint", UINT), Field(2, "int", INT), Field(3, "bool", BOOL), Field(4, "text", STRING), Field(5, "raw", BYTES),
              Field(6, "map", MAP), Field(7, "inner", INNER), Field(8, "many", INNER, repeated=True), Field(9, "numbers", UINT, repeated=True),
              Field(200, "words", STRING, repeated=True))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.fixed_dictionaries({
    "uint": st.integers(0, 2**64 - 1), "int": st.integers(-(2**63), 2**63 - 1), "bool": st.booleans(), "text": TEXT,
    "raw": st.binary(max_size=20), "map": st.dictionaries(TEXT, TEXT, max_size=3), "inner": st.none() | st.fixed_dictionaries({"text": TEXT}),
    "many": st.lists(st.fixed_dictionaries({"text": TEXT}), max_size=3), "numbers": st.lists(st.integers(0, 2**64 - 1), max_size=4),
    "words": st.lists(TEXT, max_size=3)})


@given(VALUES)
def test_what_is_encoded_is_decoded(values) -> None:
    assert decode(ALL, encode(ALL, values)) == values


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data) -> None:
    try:
        decode(ALL, data)
    except InvalidArgument:
        pass


def test_the_bytes_are_those_of_the_specification() -> None:
    """The examples of protobuf.dev, «Encoding», and of protoc."""
    assert encode(Message("Test1", Field(1, "a", INT)), {"a": 150}) == b"\x08\x96\x01"
    assert encode(Message("Test2", Field(2, "b", STRING)), {"b": "testing"}) == b"\x12\x07testing"
    assert encode(Message("Test3", Field(3, "c", Message("", Field(1, "a", INT)))), {"c": {"a": 150}}) == b"\x1a\x03\x08\x96\x01"
    assert encode(Message("Test5", Field(6, "f", UINT, repeated=True)), {"f": [3, 270, 86942]}) == b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"
    assert encode(Message("", Field(1, "a", INT)), {"a": -1}) == b"\x08" + b"\xff" * 9 + b"\x01"
    assert encode(messages.StartRequest, {"id": "c", "exec_id": ""}) == b"\x0a\x01c"


def test_unknown_fields_are_passed_over_and_unknown_names_are_not() -> None:
    more = Message("", *ALL.fields, Field(50, "new", STRING), Field(51, "number", UINT))
    known = decode(ALL, encode(more, {"text": "x", "new": "y", "number": 3}) + b"\x99\x06" + bytes(8) + b"\x9d\x06" + bytes(4))
    assert known["text"] == "x"
    with pytest.raises(KeyError):
        encode(ALL, {"nothing": 1})


class Echo:
    """A server in a loop, and a client's end."""

    def __init__(self, handlers) -> None:
        self.loop = Loop()
        self.said: list[str] = []
        self.path = f"\0wherry-test-{os.getpid()}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.server = ttrpc.Server(self.loop, self.listener, handlers, self.said.append)
        self.client = socket.socket(socket.AF_UNIX)
        self.client.connect(self.path)
        self.client.setblocking(False)

    def ask(self, data: bytes) -> list[tuple[int, dict]]:
        """Sends bytes; the answers that come: stream and response."""
        self.client.sendall(data)
        got, answers = b"", []
        for _ in range(10):
            self.loop.after(0.01, lambda: None)
            self.loop.run_once()
            try:
                got += self.client.recv(1 << 20)
            except BlockingIOError:
                continue
        while got:
            length, stream = int.from_bytes(got[:4], "big"), int.from_bytes(got[4:8], "big")
            assert got[8] == ttrpc.RESPONSE
            answers.append((stream, decode(messages.Response, got[10:10 + length])))
            got = got[10 + length:]
        return answers

    def close(self) -> None:
        self.client.close()
        self.loop.after(0.01, lambda: None)
        self.loop.run_once()  # the server's end closes
        self.listener.close()
        self.loop.close()


@pytest.fixture
def echo():
    def refuse(_call):
        raise NotFound("no such thing")

    def fail(_call):
        raise ZeroDivisionError("a defect")

    waiting = []
    one = Echo({("s", "Echo"): lambda call: call.payload, ("s", "Refuse"): refuse, ("s", "Fail"): fail,
                ("s", "Later"): waiting.append})
    one.waiting = waiting
    yield one
    one.close()


def request(stream: int, method: str, payload: bytes = b"", service: str = "s") -> bytes:
    return ttrpc.frame(ttrpc.REQUEST, stream, encode(messages.Request, {"service": service, "method": method, "payload": payload}))


def test_calls_are_answered_on_their_streams(echo) -> None:
    answers = echo.ask(request(1, "Echo", b"one") + request(3, "Later") + request(5, "Echo", b"two"))
    assert [(stream, answer["payload"]) for stream, answer in answers] == [(1, b"one"), (5, b"two")]
    echo.waiting[0].reply(b"at last")
    assert [(stream, answer["payload"]) for stream, answer in echo.ask(b"")] == [(3, b"at last")]


def test_errors_have_their_codes(echo) -> None:
    asked = [request(1, "Refuse"), request(3, "Nothing"), request(5, "X", service="other"), request(7, "Fail"),
             ttrpc.frame(ttrpc.REQUEST, 9, b"\xff\xff"), request(2, "Echo"), ttrpc.frame(3, 11, b"")]
    answers = {stream: answer["status"] for stream, answer in echo.ask(b"".join(asked))}
    assert {stream: status["code"] for stream, status in answers.items()} == {
        1: ttrpc.NOT_FOUND, 3: ttrpc.UNIMPLEMENTED, 5: ttrpc.UNIMPLEMENTED, 7: ttrpc.UNKNOWN, 9: ttrpc.INVALID_ARGUMENT,
        2: ttrpc.INVALID_ARGUMENT, 11: ttrpc.INVALID_ARGUMENT}
    assert answers[1]["message"] == "no such thing"
    assert "a defect" in echo.said[0]


def test_a_frame_in_pieces_and_one_that_is_too_large(echo) -> None:
    whole = request(1, "Echo", b"x" * 300000)
    for at in range(0, len(whole), 70000):
        answers = echo.ask(whole[at:at + 70000])
    assert len(answers[0][1]["payload"]) == 300000
    echo.client.sendall((ttrpc.MAX_BYTES + 1).to_bytes(4, "big") + bytes(6))
    echo.loop.run_once()
    assert echo.client.recv(10) == b""


@pytest.mark.parametrize(("words", "values", "switches", "action"), [
    (["-namespace", "n", "-id", "x", "start"], {"namespace": "n", "id": "x"}, set(), "start"),
    (["--namespace=n", "-debug", "-id=x", "delete"], {"namespace": "n", "id": "x"}, {"debug"}, "delete"),
    (["-debug=false", "start"], {}, set(), "start"), (["-info"], {}, {"info"}, "")])
def test_flags(words, values, switches, action) -> None:
    flags = bootstrap.Flags(words)
    assert ({name: value for name, value in flags.values.items() if name != "publish-binary"}, flags.switches, flags.action) == (
        values, switches, action)


@pytest.mark.parametrize("words", [["-nothing", "start"], ["-id"], ["start"], ["-namespace", "n", "-id", "x", "other"]])
def test_bad_flags_are_refused(words, capsys) -> None:
    assert bootstrap.main(words) == 2
    assert "Usage" in capsys.readouterr().err


def test_options() -> None:
    given = {"type_url": messages.Options.name, "value": encode(messages.Options, {"binary_name": "crun", "root": "/r", "io_uid": 5})}
    options = settings.read_options(given)
    request = {"id": "c", "bundle": "/b", "terminal": True}
    launch = settings.launch_request(request, options, "ns")
    assert (launch.runtime, launch.runtime_root, launch.terminal) == ("crun", "/r/ns", True)
    assert settings.launch_request(request, settings.read_options(None), "ns").runtime_root == "/run/containerd/wherry/ns"
    with pytest.raises(InvalidArgument):
        settings.read_options({"type_url": "some.Other", "value": b""})
    with pytest.raises(Unsupported):
        settings.read_options({**given, "value": encode(messages.Options, {"criu_work_path": "/x"})})


def test_log_uris(tmp_path) -> None:
    def one(stdout: str) -> streams.Streams:
        return streams.Streams(Loop(), terminal=False, stdin="", stdout=stdout, stderr="", owner=None, names={})

    for bad in ("relative", "http://x", "binary://relative", "file://relative"):
        with pytest.raises(InvalidArgument):
            one(bad).open()
    kept = one(f"file://{tmp_path}/log")
    ends = kept.open()
    os.write(ends[1], b"text")
    kept.close()
    assert (tmp_path / "log").read_text() == "text"


def test_a_fifo_outlives_its_reader(tmp_path) -> None:
    path = str(tmp_path / "out")
    os.mkfifo(path)
    one = streams.Streams(Loop(), terminal=False, stdin="", stdout=path, stderr="", owner=None, names={})
    ends = one.open()
    reader = os.open(path, os.O_RDONLY)
    os.write(ends[1], b"first ")
    assert os.read(reader, 100) == b"first "
    os.close(reader)
    os.write(ends[1], b"second")  # no SIGPIPE, and it waits for the next reader
    reader = os.open(path, os.O_RDONLY)
    assert os.read(reader, 100) == b"second"
    os.close(reader)
    one.close()


def test_metrics_have_their_numbers() -> None:
    from wherry.linux.cgroup.stats import CpuStats, MemoryData, MemoryStats, PidsStats, Stats
    from wherry.shim.containerd import metrics

    stats = Stats(cpu=CpuStats(total_ns=5000, user_ns=3000, kernel_ns=2000, per_cpu_ns=(1, 2)), pids=PidsStats(current=3, limit=7),
                  memory=MemoryStats(usage=MemoryData(usage=11, limit=22), stat=(("cache", 1), ("total_unevictable", 9), ("anon", 4)),
                                     events=(("max", 3), ("oom_kill", 2))))
    one = metrics.pack(stats, is_v2=False)
    assert one["type_url"] == "io.containerd.cgroups.v1.Metrics"
    cpu = Message("", Field(1, "total", UINT), Field(2, "kernel", UINT), Field(3, "user", UINT), Field(4, "per_cpu", UINT, repeated=True))
    memory = Message("", Field(1, "cache", UINT), Field(32, "total_unevictable", UINT), Field(33, "usage", Message(
        "", Field(1, "limit", UINT), Field(2, "usage", UINT))))
    read = decode(Message("", Field(2, "pids", Message("", Field(1, "current", UINT), Field(2, "limit", UINT))),
                          Field(3, "cpu", Message("", Field(1, "usage", cpu))), Field(4, "memory", memory)), one["value"])
    assert read == {"pids": {"current": 3, "limit": 7}, "cpu": {"usage": {"total": 5000, "kernel": 2000, "user": 3000, "per_cpu": [1, 2]}},
                    "memory": {"cache": 1, "total_unevictable": 9, "usage": {"limit": 22, "usage": 11}}}
    two = metrics.pack(stats, is_v2=True)
    read = decode(Message("", Field(2, "cpu", Message("", Field(1, "usage_usec", UINT))),
                          Field(4, "memory", Message("", Field(1, "anon", UINT), Field(32, "usage", UINT), Field(33, "limit", UINT))),
                          Field(8, "events", Message("", Field(3, "max", UINT), Field(5, "oom_kill", UINT)))), two["value"])
    assert (two["type_url"], read) == ("io.containerd.cgroups.v2.Metrics", {
        "cpu": {"usage_usec": 5}, "memory": {"anon": 4, "usage": 11, "limit": 22}, "events": {"max": 3, "oom_kill": 2}})
