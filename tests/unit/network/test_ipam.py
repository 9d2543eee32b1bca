"""Addresses: chosen low, rested, never given twice."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wherry.errors import Forbidden, InvalidArgument, Unavailable
from wherry.network.ipam import (
    DOCKER_POOLS,
    REST_S,
    AddressPool,
    check_overlap,
    first_free_subnet,
    from_mac,
    link_local_of,
    mac_of,
)


def pool(subnet: str, ip_range: str = "") -> tuple[AddressPool, list[float]]:
    now = [0.0]
    return AddressPool(ip_network(subnet), ip_network(ip_range) if ip_range else None, lambda: now[0], "net (id)"), now


def test_lowest_first() -> None:
    addresses, _ = pool("172.17.0.0/16")
    assert [addresses.take("a"), addresses.take("b")] == ["172.17.0.1", "172.17.0.2"]


def test_a_freed_address_rests() -> None:
    addresses, now = pool("172.17.0.0/16")
    first = addresses.take("a")
    addresses.give_back(first)
    assert addresses.take("b") == "172.17.0.2"
    now[0] += REST_S
    assert addresses.take("c") == first


def test_its_last_owner_gets_it_back_at_once() -> None:
    addresses, _ = pool("172.17.0.0/16")
    first = addresses.take("a")
    addresses.give_back(first)
    assert addresses.take("a") == first


def test_a_small_pool_gives_the_one_that_rested_longest() -> None:
    addresses, now = pool("10.0.0.0/30")
    one, two = addresses.take("a"), addresses.take("b")
    addresses.give_back(two)
    now[0] += 1
    addresses.give_back(one)
    assert addresses.take("c") == two


def test_exhausted() -> None:
    addresses, _ = pool("10.0.0.0/30")
    addresses.take("a"), addresses.take("b")
    with pytest.raises(Unavailable, match=r"no available IPv4 addresses on this network's address pools: net \(id\)"):
        addresses.take("c")


def test_ipv6_addresses() -> None:
    addresses, _ = pool("fd00::/64")
    assert [addresses.take("a"), addresses.take("b")] == ["fd00::1", "fd00::2"]  # ::0 is the subnet's own (RFC 4291, 2.6.1)
    assert addresses.take_exactly("FD00:0::FFFF", "c") == "fd00::ffff"
    for wrong, error in (("fd00::ffff", Forbidden), ("fd00::", Forbidden), ("fd01::1", InvalidArgument), ("10.0.0.1", InvalidArgument)):
        with pytest.raises(error):
            addresses.take_exactly(wrong, "d")
    ranged, _ = pool("fd00::/64", "fd00::5:0/112")
    assert ranged.take("a") == "fd00::5:0"
    last, _ = pool("fd00::/127")
    assert last.take("a") == "fd00::1"
    with pytest.raises(Unavailable, match="no available IPv6 addresses"):
        last.take("b")


@settings(deadline=None)
@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_what_a_pool_gives_lies_in_it(address: IPv6Address, prefix_length: int) -> None:
    subnet = IPv6Network((address, prefix_length), strict=False)
    addresses = AddressPool(subnet, None, lambda: 0.0)
    if prefix_length < 128:
        assert IPv6Address(addresses.take("a")) in subnet


def test_addresses_from_a_mac() -> None:
    assert link_local_of("02:42:ac:13:00:02") == "fe80::42:acff:fe13:2"
    assert from_mac(IPv6Network("fd00:d0c::/64"), "02:42:ac:11:00:02") == "fd00:d0c::242:ac11:2"
    assert mac_of("fd00::1:2") == "02:42:00:01:00:02"


def test_addresses_from_before() -> None:
    addresses, _ = pool("10.0.0.0/30")
    addresses.put_back("10.0.0.1", "a")
    addresses.put_back("192.0.2.1", "b")  # the network had another subnet then
    assert addresses.take("c") == "10.0.0.2"
    assert len(addresses) == 2


def test_a_range_may_use_its_own_first_and_last() -> None:
    addresses, _ = pool("10.0.0.0/24", "10.0.0.128/31")
    assert [addresses.take("a"), addresses.take("b")] == ["10.0.0.128", "10.0.0.129"]
    assert addresses.take_exactly("10.0.0.7", "c") == "10.0.0.7"


@pytest.mark.parametrize(("address", "error"), [("10.0.1.1", InvalidArgument), ("fd00::1", InvalidArgument), ("x", InvalidArgument),
                                                ("10.0.0.0", Forbidden), ("10.0.0.255", Forbidden)])
def test_addresses_that_cannot_be_had(address: str, error: type[Exception]) -> None:
    addresses, _ = pool("10.0.0.0/24")
    with pytest.raises(error):
        addresses.take_exactly(address, "a")


@given(st.lists(st.sampled_from([f"172.{number}.0.0/16" for number in range(17, 32)]), unique=True, max_size=15))
def test_chosen_subnets_are_free(taken: list[str]) -> None:
    networks = [IPv4Network(one) for one in taken]
    chosen = first_free_subnet(DOCKER_POOLS, networks)
    assert not any(chosen.overlaps(one) for one in networks)


def test_no_subnet_left() -> None:
    with pytest.raises(Unavailable, match="all predefined address pools have been fully subnetted"):
        first_free_subnet((("10.0.0.0/24", 25),), [IPv4Network("10.0.0.0/8")])
    with pytest.raises(InvalidArgument, match="invalid default address pool"):
        first_free_subnet((("10.0.0.0/24", 16),), [])


def test_overlap() -> None:
    with pytest.raises(Forbidden):
        check_overlap(IPv4Network("10.1.0.0/16"), [IPv4Network("10.0.0.0/8")])
    check_overlap(IPv4Network("10.1.0.0/16"), [IPv4Network("10.2.0.0/16")])


@given(st.ip_addresses(v=4))
def test_mac(address: IPv4Address) -> None:
    mac = mac_of(str(address))
    assert mac.startswith("02:42:")
    assert bytes.fromhex(mac.replace(":", ""))[2:] == address.packed


class Pools(RuleBasedStateMachine):
    """Whatever is taken and given back, in whatever order: no address has two owners."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses, self.now = pool("10.0.0.0/29")
        self.model: dict[str, str] = {}

    @rule(owner=st.sampled_from("abcdefghij"))
    def take(self, owner: str) -> None:
        try:
            address = self.addresses.take(owner)
        except Unavailable:
            assert len(self.model) == 6
            return
        assert address not in self.model
        self.model[address] = owner

    @rule(number=st.integers(0, 9), owner=st.sampled_from("abcdefghij"))
    def take_exactly(self, number: int, owner: str) -> None:
        address = f"10.0.0.{number}"
        try:
            self.addresses.take_exactly(address, owner)
        except (Forbidden, InvalidArgument):
            assert address in self.model or number in (0, 7, 8, 9)
            return
        assert address not in self.model
        self.model[address] = owner

    @rule(number=st.integers(1, 6))
    def give_back(self, number: int) -> None:
        self.addresses.give_back(f"10.0.0.{number}")
        self.model.pop(f"10.0.0.{number}", None)

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds: float) -> None:
        self.now[0] += seconds

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.addresses) == len(self.model)


TestPools = Pools.TestCase
