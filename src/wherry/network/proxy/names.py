"""What the networks' DNS knows: names of endpoints to addresses and back. Queries and answers as bytes; no sockets.

A name is looked up in the networks of the asking container, in their order; first it may be a link, the asker's own name for
another one. `None` as an answer means: not ours, ask on.
"""

from __future__ import annotations

import _socket

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

TTL_S = 600
MAX_UDP = 512


class Name(Record):
    """An endpoint on a network: its main name, all its names, its addresses."""

    endpoint: str
    name: str
    names: tuple[str, ...]
    address: str
    ipv6_address: str = ""


class Sight(Record):
    """What a container sees: networks, in the order in which they are asked, and its links by network and alias."""

    networks: tuple[str, ...]
    links: dict[tuple[str, str], str]


class Names:
    """All names of all networks of one daemon."""

    def __init__(self) -> None:
        """Empty."""
        self._networks: dict[str, dict[str, Name]] = {}
        self._network_names: dict[str, str] = {}

    def put(self, network_id: str, network_name: str, name: Name) -> None:
        """Adds an endpoint, or replaces what was known of it."""
        self._network_names[network_id] = network_name
        self._networks.setdefault(network_id, {})[name.endpoint] = name

    def remove(self, network_id: str, endpoint: str) -> None:
        """Forgets an endpoint. Idempotent."""
        known = self._networks.get(network_id, {})
        known.pop(endpoint, None)
        if not known:
            self._networks.pop(network_id, None)
            self._network_names.pop(network_id, None)

    def find(self, name: str, sight: Sight) -> list[Name]:
        """Who has a name (`web` or `web.network`); several containers may share an alias."""
        asked = name.rstrip(".").lower()
        for network_id in sight.networks:
            suffix = "." + self._network_names.get(network_id, "").lower()
            wanted = sight.links.get((network_id, asked.removesuffix(suffix)), asked).lower()
            found = [
                known for known in self._networks.get(network_id, {}).values()
                if any(wanted in (one.lower(), one.lower() + suffix) for one in known.names)
            ]
            if found:
                return found
        return []

    def name_of(self, address: str, networks: Iterable[str]) -> str:
        """`web.network` for an address, or empty."""
        for network_id in networks:
            for known in self._networks.get(network_id, {}).values():
                if address in (known.address, known.ipv6_address):
                    return f"{known.name}.{self._network_names[network_id]}"
        return ""

    def __iter__(self) -> Any:
        return ((network_id, endpoint) for network_id, known in self._networks.items() for endpoint in known)


def answer(query: bytes, names: Names, sight: Sight, rotation: int = 0) -> bytes | None:
    """The answer to a query that is ours to answer, else None. Raises ValueError for bytes that are no query."""
    import dnslib

    record = parse(query)
    question = record.questions[0]
    kind = dnslib.QTYPE.get(question.qtype)
    name = str(question.qname)
    if kind in ("A", "AAAA", "MX", "SRV"):
        found = names.find(name, sight)
        if not found:
            return None
        reply = _reply(record)
        turn = rotation % len(found)
        for one in found[turn:] + found[:turn]:
            data = (dnslib.A(one.address) if kind == "A" and one.address else
                    dnslib.AAAA(one.ipv6_address) if kind == "AAAA" and one.ipv6_address else None)
            if data:
                reply.add_answer(dnslib.RR(question.qname, question.qtype, ttl=TTL_S, rdata=data))
        return bytes(reply.pack())  # known, but not of that kind: an empty answer, so that nobody else is asked
    if kind == "PTR" and (address := _address_of(name)):
        owner = names.name_of(address, sight.networks)
        if owner:
            reply = _reply(record)
            reply.add_answer(dnslib.RR(question.qname, dnslib.QTYPE.PTR, ttl=TTL_S, rdata=dnslib.PTR(owner + ".")))
            return bytes(reply.pack())
    return None


def _address_of(name: str) -> str:
    """The address that a name of the reverse tree stands for, or empty (RFC 1035, 3.5; RFC 3596, 2.5)."""
    labels = name.lower().rstrip(".").split(".")
    parts = labels[-3::-1]
    if labels[-2:] == ["in-addr", "arpa"]:
        return ".".join(parts)
    if labels[-2:] == ["ip6", "arpa"] and len(parts) == 32 and all(len(one) == 1 and one in "0123456789abcdef" for one in parts):
        return _socket.inet_ntop(_socket.AF_INET6, bytes.fromhex("".join(parts)))
    return ""


def failure(query: bytes) -> bytes:
    """SERVFAIL for a query: nobody could be asked, or nobody answered. Raises ValueError for bytes that are no query."""
    import dnslib

    reply = _reply(parse(query))
    reply.header.rcode = dnslib.RCODE.SERVFAIL
    return bytes(reply.pack())


def parse(query: bytes) -> Any:
    """A query. Raises ValueError for what is none: malformed, a response, without a question."""
    import dnslib

    try:
        record = dnslib.DNSRecord.parse(query)
    except Exception as error:
        raise ValueError(f"malformed DNS message: {error}") from error
    if record.header.qr or len(record.questions) != 1:
        raise ValueError("no DNS query with one question")
    return record


def fits(reply: bytes, query: bytes) -> bytes:
    """A reply as it may go by UDP: cut to its header and question, with the mark «truncated», when it is too long."""
    if len(reply) <= MAX_UDP:
        return reply
    import dnslib

    limit = next((max(MAX_UDP, extra.edns_len) for extra in parse(query).ar if extra.rtype == dnslib.QTYPE.OPT), MAX_UDP)
    if len(reply) <= limit:
        return reply
    cut = dnslib.DNSRecord.parse(reply).truncate()
    return bytes(cut.pack())


def _reply(record: Any) -> Any:
    return record.reply(ra=1, aa=0)
