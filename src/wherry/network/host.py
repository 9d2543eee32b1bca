"""The host's own switches for packets: forwarding, bridge filtering, loopback routing. Files below /proc/sys/net."""

from __future__ import annotations

import os

from wherry.errors import Unsupported

_SYS = "/proc/sys/net"


def turn_on_forwarding() -> bool:
    """Lets the host forward IPv4. Whether it was off before. Raises OSError."""
    return _set("ipv4/ip_forward", "1")


def turn_on_ipv6_forwarding() -> bool:
    """Lets the host forward IPv6. Whether it was off before. Raises OSError."""
    _set("ipv6/conf/default/forwarding", "1")
    return _set("ipv6/conf/all/forwarding", "1")


def turn_on_ipv6(interface: str) -> None:
    """Lets an interface have IPv6 addresses, and none that a router names. Raises OSError; Unsupported without IPv6."""
    if not os.path.exists("/proc/net/if_inet6"):
        raise Unsupported("IPv6 networks are not possible: this kernel has no IPv6")
    _set(f"ipv6/conf/{interface}/disable_ipv6", "0")
    _set(f"ipv6/conf/{interface}/accept_ra", "0")


def has_ipv6() -> bool:
    """Whether sockets of IPv6 can be bound on this host."""
    return os.path.exists("/proc/net/if_inet6") and _get("ipv6/conf/all/disable_ipv6") == "0"


def filters_bridges() -> bool:
    """Whether frames between ports of a bridge go through the firewall (br_netfilter)."""
    return _get("bridge/bridge-nf-call-iptables") == "1"


def route_loopback(interface: str) -> None:
    """Lets packets with loopback addresses leave by an interface, so that 127.0.0.1 can be translated. Raises OSError."""
    _set(f"ipv4/conf/{interface}/route_localnet", "1")


def ephemeral_ports() -> tuple[int, int]:
    """The first and last port that the kernel gives out by itself."""
    text = _get("ipv4/ip_local_port_range").split()
    return (int(text[0]), int(text[1])) if len(text) == 2 else (49153, 65535)


def _get(name: str) -> str:
    try:
        with open(f"{_SYS}/{name}") as knob:
            return knob.read().strip()
    except FileNotFoundError:
        return ""


def _set(name: str, value: str) -> bool:
    if _get(name) == value:
        return False
    with open(f"{_SYS}/{name}", "w") as knob:
        knob.write(value)
    return True
