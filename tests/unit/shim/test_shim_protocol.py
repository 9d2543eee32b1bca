"""Messages: what goes out comes in again, and what is none is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import errors
from wherry.shim import protocol
from wherry.shim.protocol import (
    AttachRequest,
    ExecRequest,
    ExecState,
    Exited,
    Hello,
    LaunchRequest,
    LogOptions,
    NetnsRequest,
    SocketRequest,
    StartFailed,
)

attaches = st.builds(AttachRequest, attach_id=st.text(), stdin=st.booleans(), logs=st.booleans(), detach_keys=st.binary(max_size=4),
                     early=st.binary(max_size=20))
clients = st.lists(attaches, max_size=3).map(lambda found: tuple((one, 10 + number) for number, one in enumerate(found)))


@given(clients, st.text(), st.booleans(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_a_launch_arrives_as_it_was_sent(attached: tuple[tuple[AttachRequest, int], ...], path: str, terminal: bool, pairs: list[tuple[str, str]]) -> None:
    request = LaunchRequest(id="c", bundle="/b", run_folder=path, terminal=terminal, console_size=(2, 3), runtime="/r", runtime_args=("a",),
                            log=LogOptions(path=path, attributes=tuple(pairs)), attach=attached)
    packet, fds = protocol.launch_message(request)
    body, raw = protocol.unpack(packet)
    assert protocol.read_launch(body, raw, fds) == request


@given(clients)
def test_an_exec_arrives_as_it_was_sent(attached: tuple[tuple[AttachRequest, int], ...]) -> None:
    request = ExecRequest(exec_id="e", process={"args": ["a\0b", "\ud800"], "env": []}, attach=attached)
    packet, fds = protocol.exec_message(request, 7)
    body, raw = protocol.unpack(packet)
    assert body["seq"] == 7
    assert protocol.read_exec(body, raw, fds) == request


def test_as_many_connections_as_were_announced() -> None:
    packet, _ = protocol.launch_message(LaunchRequest(id="c", bundle="/b", run_folder="/r", attach=((AttachRequest(), 3),)))
    body, raw = protocol.unpack(packet)
    with pytest.raises(errors.InvalidArgument, match="1 connections were announced, 0 came"):
        protocol.read_launch(body, raw, ())


def test_a_network_request_arrives() -> None:
    request = NetnsRequest(nft="x", sockets=(SocketRequest(family=2, kind=1, address=("127.0.0.11", 0), backlog=5), SocketRequest(family=16, kind=3)))
    assert protocol.read_netns(protocol.unpack(protocol.pack(protocol.plain(request)))[0]) == request


def test_a_hello_tells_of_ends() -> None:
    ended = Exited(code=137, at_ns=5, exec_id="e", signalled=True, oom=True)
    hello = Hello(id="c", pid=1, shim_pid=2, start_time=3, started=True, exited=ended.replace(exec_id=""),
                  execs=(ExecState(exec_id="e", pid=4, exited=ended), ExecState(exec_id="f", pid=5)))
    body, _ = protocol.unpack(protocol.pack({"re": 0, **protocol.plain(hello)}))
    assert protocol.read_hello(body) == hello


@pytest.mark.parametrize("event", [Exited(code=1, at_ns=2), protocol.AttachEnded(attach_id="a", detached=True), protocol.LogFailed(message="m"),
                                   protocol.OutOfMemory(at_ns=3)])
def test_events_arrive(event: protocol.ShimEvent) -> None:
    assert protocol.read_event(protocol.unpack(protocol.event_message(event))[0]) == event


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [(errors.NotFound("gone"), errors.NotFound, None), (StartFailed("no", exit_code=127), StartFailed, 127), (OSError(28, "full", "/x"), OSError, None),
     (KeyError("seq"), errors.Internal, None)],
)
def test_errors_arrive_as_what_they_are(error: Exception, kind: type[Exception], code: int | None) -> None:
    got = protocol.read_error(protocol.unpack(protocol.pack(protocol.error_body(error)))[0])
    assert type(got) is kind
    assert getattr(got, "exit_code", None) == code
    assert getattr(got, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize("packet", [b"", b"[]", b"{", b"\xff", b"\0{}"])
def test_what_is_no_message_is_refused(packet: bytes) -> None:
    with pytest.raises(errors.InvalidArgument, match="message of the shim's protocol"):
        protocol.unpack(packet)


def test_a_packet_has_a_limit() -> None:
    with pytest.raises(errors.InvalidArgument, match="too long"):
        protocol.pack({}, b"x" * (protocol.MAX_PACKET + 1))
