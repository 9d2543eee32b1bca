"""Netlink's codec: what we write, pyroute2 reads; what lies is refused."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.linux import netlink

payloads = st.binary(max_size=300)


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), payloads), max_size=8))
def test_attributes_come_back_in_order(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(netlink.attribute(kind, payload) for kind, payload in pairs)
    assert len(packed) % 4 == 0
    assert list(netlink.each_attribute(packed)) == pairs


@given(st.binary(max_size=200))
def test_junk_raises_only_value_error(junk: bytes) -> None:
    for parse in (netlink.each_attribute, netlink.decode):
        try:
            list(parse(junk))
        except ValueError:
            continue


def test_lengths_that_lie_are_refused() -> None:
    with pytest.raises(ValueError, match="12 bytes where 8 are left"):
        netlink.attributes(struct.pack("=HH", 12, 1) + b"1234")
    with pytest.raises(ValueError, match="3 bytes"):
        netlink.attributes(struct.pack("=HH", 3, 1))
    with pytest.raises(ValueError, match="netlink message of 99 bytes"):
        list(netlink.decode(struct.pack("=IHHII", 99, 1, 0, 1, 0)))


def test_payload_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        netlink.attribute(1, bytes(0x10000))


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=64)), min_size=1, max_size=5))
def test_messages_come_back(parts: list[tuple[int, bytes]]) -> None:
    datagram = b"".join(
        netlink.encode(netlink.Request(kind=kind, flags=netlink.NLM_F_ACK, body=body, subject=""), number)
        for number, (kind, body) in enumerate(parts))
    found = list(netlink.decode(datagram))
    assert [(message.kind, message.sequence, message.body) for message in found] == [
        (kind, number, body) for number, (kind, body) in enumerate(parts)]
    assert all(message.flags == netlink.NLM_F_ACK | netlink.NLM_F_REQUEST for message in found)


def _error(code: int, flags: int, body: bytes) -> netlink.Message:
    return netlink.Message(kind=netlink.NLMSG_ERROR, flags=flags, sequence=1, port=0, body=struct.pack("=i", -code) + body)


def test_acknowledgement_is_no_failure() -> None:
    assert netlink.failure(_error(0, 0, bytes(16)), "x") is None


def test_failure_has_errno_subject_and_the_kernels_words() -> None:
    words = netlink.attribute(netlink.NLMSGERR_ATTR_MSG, b"Nexthop has invalid gateway\0")
    capped = _error(errno.ENETUNREACH, netlink.NLM_F_ACK_TLVS | netlink.NLM_F_CAPPED, bytes(16) + words)
    error = netlink.failure(capped, "add route")
    assert error
    assert error.errno == errno.ENETUNREACH
    assert error.strerror == "netlink: add route: Network is unreachable (Nexthop has invalid gateway)"
    whole_request = struct.pack("=I", 20) + bytes(16)  # not capped: the request is echoed as a whole
    assert str(netlink.failure(_error(errno.EINVAL, netlink.NLM_F_ACK_TLVS, whole_request + words), "y")).endswith("gateway)")


def test_failure_without_words() -> None:
    assert isinstance(netlink.failure(_error(errno.EEXIST, 0, bytes(16)), "add link"), FileExistsError)
