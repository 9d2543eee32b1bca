"""Addresses: which subnet a network gets, and which address a container. Pure but for the clock that is passed in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from wherry.errors import Forbidden, InvalidArgument, Unavailable

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

REST_S = 5.0
"""How long a freed address is not given to another container: the old one's link may still be dying."""


def first_free_subnet(pools: Iterable[tuple[str, int]], taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first pool that overlaps nothing that is taken. Raises Unavailable."""
    taken = tuple(taken)
    for base_text, prefix_length in pools:
        try:
            base = IPv4Network(base_text)
            if not base.prefixlen <= prefix_length <= 32:
                raise ValueError("a pool is not larger than its base")
        except ValueError as error:
            raise InvalidArgument(f"invalid default address pool {base_text} size {prefix_length}: {error}") from error
        for candidate in base.subnets(new_prefix=prefix_length):
            if not any(candidate.overlaps(other) for other in taken):
                return candidate
    raise Unavailable("all predefined address pools have been fully subnetted")


def parse_subnet(text: str) -> IPv4Network:
    """A subnet in CIDR notation; host bits are an error, as in Docker. Raises InvalidArgument, Unsupported via the caller."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"invalid subnet {text}: {error}") from error


def mac_of(address: str) -> str:
    """The MAC that goes with an IPv4 address: `02:42:` and its bytes."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


class AddressPool:
    """The addresses of one subnet. Not thread-safe: the network's lock guards it."""

    def __init__(
        self, subnet: IPv4Network, ip_range: IPv4Network | None, clock: Callable[[], float], label: str = ""
    ) -> None:
        """`ip_range`: where free choices are made; asked-for addresses may lie anywhere in the subnet. `label` is for errors."""
        if ip_range is not None and not ip_range.subnet_of(subnet):
            raise InvalidArgument(f"invalid ip-range {ip_range}: it does not lie in the subnet {subnet}")
        self.subnet = subnet
        self._range = ip_range or subnet
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
        raise Unavailable(f"no available IPv4 addresses on this network's address pools: {self._label}")

    def take_exactly(self, address: str, owner: str) -> str:
        """The address asked for. Raises InvalidArgument (not in the subnet), Forbidden (taken, as dockerd says it)."""
        try:
            wanted = IPv4Address(address)
        except ValueError as error:
            raise InvalidArgument(f"invalid IPv4 address: {address}") from error
        if wanted not in self.subnet:
            raise InvalidArgument(f"Invalid address {address}: It does not belong to any of this network's subnets")
        if int(wanted) in self._taken or (self.subnet.prefixlen < 31 and wanted in
                                          (self.subnet.network_address, self.subnet.broadcast_address)):
            raise Forbidden("Address already in use")
        return self._give(int(wanted), owner)

    def give_back(self, address: str) -> None:
        """An address is free again, after a rest. Idempotent."""
        number = int(IPv4Address(address))
        owner = self._taken.pop(number, None)
        if owner is not None:
            self._resting[number] = (self._clock(), owner)

    def put_back(self, address: str, owner: str) -> None:
        """An address is in use from before; one of another subnet (the network was moved since) is passed over."""
        if IPv4Address(address) in self.subnet:
            self._give(int(IPv4Address(address)), owner)

    def __len__(self) -> int:
        return len(self._taken)

    def _bounds(self) -> tuple[int, int]:
        first, last = int(self._range.network_address), int(self._range.broadcast_address)
        if self.subnet.prefixlen < 31:  # the subnet's own first and last are no hosts; those of a range inside it are
            first = max(first, int(self.subnet.network_address) + 1)
            last = min(last, int(self.subnet.broadcast_address) - 1)
        return first, last

    def _give(self, address: int, owner: str) -> str:
        self._taken[address] = owner
        self._resting.pop(address, None)
        return str(IPv4Address(address))


def check_overlap(subnet: IPv4Network, networks: Iterable[IPv4Network]) -> None:
    """Raises Forbidden, in Docker's words, when a subnet overlaps one of another network."""
    if any(subnet.overlaps(other) for other in networks):
        raise Forbidden("invalid pool request: Pool overlaps with other one on this address space")
