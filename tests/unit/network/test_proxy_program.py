"""wherry-proxy without sockets: flags, messages, names."""

from __future__ import annotations

import subprocess
import sys

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.network.proxy import names, protocol, single
from wherry.network.proxy.loop import Loop
from wherry.network.proxy.names import Name, Names, Sight
from wherry.network.proxy.udp import _reply_source


def test_docker_proxys_flags() -> None:
    words = ["-proto", "udp", "-host-ip", "0.0.0.0", "--host-port=53", "-container-ip=172.17.0.2", "-container-port", "5353", "-use-listen-fd"]
    assert single.parse(words) == single.Options(proto="udp", host_ip="0.0.0.0", host_port=53, container_ip="172.17.0.2",
                                                 container_port=5353, use_listen_fd=True)
    assert not single.parse(["-use-listen-fd=false"]).use_listen_fd


@pytest.mark.parametrize(("words", "message"), [
    (["-nope"], "flag provided but not defined: -nope"),
    (["word"], "not defined"),
    (["-host-port"], "flag needs an argument: -host-port"),
    (["-host-port", "many"], 'invalid value "many" for flag -host-port'),
    (["-host-port", "70000"], "out of range"),
    (["-use-listen-fd=maybe"], "invalid boolean value"),
])
def test_flags_that_make_no_sense(words: list[str], message: str) -> None:
    with pytest.raises(single.UsageError, match=message):
        single.parse(words)


def test_messages_come_back() -> None:
    port = protocol.Port(owner="e", protocol="tcp", address="172.17.0.2", port=80)
    known = protocol.Known(network="n", network_name="net", endpoint="e", name="web", names=("web", "w"), address="172.17.0.2")
    message = protocol.decode(protocol.encode({"do": "x", "entries": (port,), "put": (known,)}))
    assert protocol.record(protocol.Port, message["entries"][0]) == port
    assert protocol.record(protocol.Known, message["put"][0]) == known
    with pytest.raises(ValueError, match="JSON object"):
        protocol.decode(b"[]")
    with pytest.raises(TypeError):
        protocol.record(protocol.Port, {"owner": "e"})


@pytest.fixture
def book() -> Names:
    found = Names()
    found.put("n1", "net", Name(endpoint="e1", name="web", names=("web", "www", "c0ffee"), address="172.18.0.2"))
    found.put("n1", "net", Name(endpoint="e2", name="web2", names=("web2", "www"), address="172.18.0.3"))
    found.put("n2", "other", Name(endpoint="e3", name="web", names=("web",), address="172.19.0.2"))
    return found


def ask(book: Names, name: str, kind: str = "A", networks: tuple[str, ...] = ("n1",), rotation: int = 0,
        links: dict[tuple[str, str], str] | None = None) -> list[str] | None:
    sight = Sight(networks=networks, links=links or {})
    reply = names.answer(dnslib.DNSRecord.question(name, kind).pack(), book, sight, rotation)
    return None if reply is None else [str(record.rdata) for record in dnslib.DNSRecord.parse(reply).rr]


def test_names_by_network(book: Names) -> None:
    assert ask(book, "web") == ["172.18.0.2"]
    assert ask(book, "Web.NET.") == ["172.18.0.2"]
    assert ask(book, "web", networks=("n2", "n1")) == ["172.19.0.2"]
    assert ask(book, "web.other") is None
    assert ask(book, "web.other", networks=("n1", "n2")) == ["172.19.0.2"]
    assert ask(book, "nobody") is None
    assert ask(book, "web", networks=()) is None


def test_links_are_names_of_one_asker(book: Names) -> None:
    links = {("n1", "db"): "web2", ("n2", "store"): "Web", ("n1", "later"): "nobody"}
    assert ask(book, "db", links=links) == ask(book, "DB.net", links=links) == ["172.18.0.3"]
    assert ask(book, "db") is None
    assert ask(book, "store", links=links) is None  # a link of another network
    assert ask(book, "store", networks=("n1", "n2"), links=links) == ["172.19.0.2"]
    assert ask(book, "later", links=links) is None
    assert ask(book, "web", links=links) == ["172.18.0.2"]


def test_shared_aliases_take_turns(book: Names) -> None:
    assert ask(book, "www") == ["172.18.0.2", "172.18.0.3"]
    assert ask(book, "www", rotation=1) == ["172.18.0.3", "172.18.0.2"]


def test_other_kinds(book: Names) -> None:
    assert ask(book, "web", "AAAA") == []
    assert ask(book, "web", "MX") == []
    assert ask(book, "nobody", "AAAA") is None
    assert ask(book, "web", "TXT") is None
    assert ask(book, "2.0.18.172.in-addr.arpa", "PTR") == ["web.net."]
    assert ask(book, "9.0.18.172.in-addr.arpa", "PTR") is None


def test_forgetting(book: Names) -> None:
    book.remove("n1", "e1")
    book.remove("n1", "e1")
    assert ask(book, "web") is None
    assert sorted(book) == [("n1", "e2"), ("n2", "e3")]


def test_servfail_repeats_the_question() -> None:
    query = dnslib.DNSRecord.question("example.com")
    reply = dnslib.DNSRecord.parse(names.failure(query.pack()))
    assert (reply.header.id, reply.header.rcode, str(reply.q.qname)) == (query.header.id, 2, "example.com.")


@given(st.binary(max_size=300))
def test_junk_raises_only_value_error(junk: bytes) -> None:
    try:
        names.answer(junk, Names(), Sight(networks=("n",), links={}))
    except ValueError:
        return


def test_a_response_is_no_query() -> None:
    reply = dnslib.DNSRecord.question("a").reply().pack()
    with pytest.raises(ValueError, match="no DNS query"):
        names.answer(reply, Names(), Sight(networks=(), links={}))


def test_long_answers_are_cut_for_udp() -> None:
    query = dnslib.DNSRecord.question("big")
    reply = query.reply()
    for number in range(100):
        reply.add_answer(dnslib.RR("big", rdata=dnslib.A(f"10.0.0.{number}")))
    long = reply.pack()
    cut = dnslib.DNSRecord.parse(names.fits(long, query.pack()))
    assert cut.header.tc
    assert not cut.rr
    query.add_ar(dnslib.EDNS0(udp_len=4096))
    assert names.fits(long, query.pack()) == long
    assert names.fits(long[:100], query.pack()) == long[:100]


def test_answers_leave_from_the_address_that_was_asked() -> None:
    info = bytes(4) + b"\x0a\0\0\x01" + b"\x0a\0\0\xff"
    (level, kind, content), = _reply_source([(0, 8, info)])
    assert (level, kind, content) == (0, 8, bytes(4) + b"\x0a\0\0\x01" + bytes(4))
    assert _reply_source([]) == []


def test_timers_run_in_order_and_can_be_cancelled() -> None:
    loop, seen = Loop(), []
    loop.later(0.002, lambda: seen.append("second"))
    loop.later(0, lambda: seen.append("first"))
    loop.later(0.001, lambda: seen.append("never")).cancel()
    loop.later(0.003, loop.stop)
    loop.run()
    loop.close()
    assert seen == ["first", "second"]


def test_light_imports() -> None:
    """The process is there on every machine: it brings in no more than it needs."""
    code = ("import sys; before = set(sys.modules); import wherry.network.proxy.main, wherry.network.proxy.server, "
            "wherry.network.proxy.single; print(*sorted(set(sys.modules) - before))")
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"typing", "re", "json", "dataclasses", "socket", "subprocess", "logging", "argparse", "asyncio", "dnslib", "enum", "ctypes"}
    assert not heavy & set(loaded)
