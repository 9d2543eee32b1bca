"""Addresses: which subnet a network gets, and which address a container. Pure but for the clock that is passed in."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from wherry.errors import Forbidden, InvalidArgument, NotFound, Unavailable
from wherry.linux.rtnetlink import mac_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DOCKER_POOLS: tuple[tuple[str, int], ...] = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
"""(base, prefix length of each pool): dockerd's own when `--default-address-pool` is not given."""

Subnet = IPv4Network | IPv6Network

REST_S = 5.0
"""How long a freed address is not given to another container: the old one's link may still be dying."""


def first_free_subnet(pools: Iterable[tuple[str, int]], taken: Iterable[Subnet], version: int = 4) -> Subnet:
    """The first pool of an IP version that overlaps nothing that is taken. Raises Unavailable, NotFound without any for IPv6."""
    taken = tuple(taken)
    for base_text, prefix_length in pools:
        try:
            base = ip_network(base_text)
            if not base.prefixlen <= prefix_length <= base.max_prefixlen:
                raise ValueError("a pool is not larger than its base")
        except ValueError as error:
            raise InvalidArgument(f"invalid default address pool {base_text} size {prefix_length}: {error}") from error
        for candidate in base.subnets(new_prefix=prefix_length) if base.version == version else ():
            if not any(candidate.overlaps(other) for other in taken):
                return candidate
    if version == 6:
        raise NotFound("could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the "
                       "network")
    raise Unavailable("all predefined address pools have been fully subnetted")


def is_inside(inner: Subnet, outer: Subnet) -> bool:
    """Whether a subnet lies in another, or is it."""
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def mac_of(address: str) -> str:
    """The MAC that goes with an address: `02:42:` and its last four bytes, of IPv4 all."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in ip_address(address).packed[-4:])


def link_local_of(mac: str) -> str:
    """The link-local IPv6 address that goes with a MAC (RFC 4291, appendix A)."""
    one, two, three, *rest = mac_bytes(mac)
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes((one ^ 2, two, three, 0xFF, 0xFE, *rest))))


def from_mac(subnet: Subnet, mac: str) -> str:
    """The address of a subnet that ends with a MAC: the addresses of the default bridge, where the subnet has room for it."""
    return str(subnet.network_address + int.from_bytes(mac_bytes(mac), "big"))


class AddressPool:
    """The addresses of one subnet. Not thread-safe: the network's lock guards it."""

    def __init__(
        self, subnet: Subnet, ip_range: Subnet | None, clock: Callable[[], float], label: str = ""
    ) -> None:
        """`ip_range`: where free choices are made; asked-for addresses may lie anywhere in the subnet. `label` is for errors."""
        if ip_range is not None and not is_inside(ip_range, subnet):
            raise InvalidArgument(f"invalid ip-range {ip_range}: it does not lie in the subnet {subnet}")
        self.subnet = subnet
        self._range = ip_range or subnet
        self._hosts = _host_bounds(subnet)
        self._clock = clock
        self._label = label
        self._taken: dict[int, str] = {}
        self._resting: dict[int, tuple[float, str]] = {}

    def take(self, owner: str) -> str:
        """A free address: the lowest that has rested, or the one that `owner` had last. Raises Unavailable."""
        now = self._clock()
        for address, (_, last_owner) in self._resting.items():
            if last_owner == owner and address not in self._taken:
                return self._give(address, owner)
        self._resting = {address: rest for address, rest in self._resting.items() if now - rest[0] < REST_S}
        first, last = self._bounds()
        for address in range(first, last + 1):
            if address not in self._taken and address not in self._resting:
                return self._give(address, owner)
        for address in sorted(self._resting, key=lambda number: self._resting[number][0]):
            if address not in self._taken and first <= address <= last:
                return self._give(address, owner)
        raise Unavailable(f"no available IPv{self.subnet.version} addresses on this network's address pools: {self._label}")

    def take_exactly(self, address: str, owner: str) -> str:
        """The address asked for. Raises InvalidArgument (not in the subnet), Forbidden (taken, as dockerd says it)."""
        try:
            wanted = ip_address(address)
        except ValueError as error:
            raise InvalidArgument(f"invalid IPv{self.subnet.version} address: {address}") from error
        if wanted not in self.subnet:
            raise InvalidArgument(f"Invalid address {address}: It does not belong to any of this network's subnets")
        if int(wanted) in self._taken or not self._hosts[0] <= int(wanted) <= self._hosts[1]:
            raise Forbidden("Address already in use")
        return self._give(int(wanted), owner)

    def give_back(self, address: str) -> None:
        """An address is free again, after a rest. Idempotent."""
        number = int(ip_address(address))
        owner = self._taken.pop(number, None)
        if owner is not None:
            self._resting[number] = (self._clock(), owner)

    def put_back(self, address: str, owner: str) -> None:
        """An address is in use from before; one of another subnet (the network was moved since) is passed over."""
        known = ip_address(address)
        if known in self.subnet:
            self._give(int(known), owner)

    def __len__(self) -> int:
        return len(self._taken)

    def _bounds(self) -> tuple[int, int]:
        first, last = self._hosts
        return max(first, int(self._range.network_address)), min(last, int(self._range.broadcast_address))

    def _give(self, address: int, owner: str) -> str:
        self._taken[address] = owner
        self._resting.pop(address, None)
        return str(self.subnet.network_address + (address - int(self.subnet.network_address)))


def check_overlap(subnet: Subnet, networks: Iterable[Subnet]) -> None:
    """Raises Forbidden, in Docker's words, when a subnet overlaps one of another network."""
    if any(subnet.overlaps(other) for other in networks):
        raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")


def _host_bounds(subnet: Subnet) -> tuple[int, int]:
    """The first and last address that a host may have: not the subnet's own, and not that of an IPv4 broadcast."""
    first, last = int(subnet.network_address), int(subnet.broadcast_address)
    if subnet.version == 6:
        return first + 1, last
    return (first + 1, last - 1) if subnet.prefixlen < 31 else (first, last)
