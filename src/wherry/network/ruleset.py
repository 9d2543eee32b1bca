"""The firewall's ruleset as data and as nft text: what packets may do on our bridges, and where published ports lead.

One table `ip wherry`, and another `ip6 wherry` where IPv6 is to be filtered, replaced as a whole when a network comes or goes;
ports are elements of maps, added and deleted one by one, so that a packet's cost does not grow with their number. The host's
input is not touched.

    prerouting, output   published ports: destination is a local address → container       (loopback's are the proxy's)
    postrouting          what leaves a network's subnet is masqueraded; so is a container's way to a port of its own bridge
    forward              established and published traffic passes; other traffic into a bridge does not, from wherever
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable


class Family(Record):
    """How nft speaks of an IP version."""

    name: str
    address_type: str
    loopback: str


IPV4 = Family(name="ip", address_type="ipv4_addr", loopback="127.0.0.0/8")
IPV6 = Family(name="ip6", address_type="ipv6_addr", loopback="::1")


class BridgeRules(Record):
    """What the firewall has to know of a network and one of its subnets."""

    interface: str
    subnet: str
    masquerade: bool = True
    internal: bool = False
    icc: bool = True


class PortRule(Record):
    """A published port. `host_ip` empty: all of the host's addresses."""

    host_ip: str
    protocol: str
    host_port: int
    address: str
    container_port: int


def owner_chain(owner: str) -> str:
    """The name of the empty chain that marks a table as one daemon's (nft's JSON does not show comments)."""
    from hashlib import sha256

    return "owner-" + sha256(owner.encode()).hexdigest()[:12]


def family_of(address: str) -> Family:
    """The IP version of an address or a subnet."""
    return IPV6 if ":" in address else IPV4


def table_text(
    family: Family, table: str, owner: str, bridges: Iterable[BridgeRules], ports: Iterable[PortRule], *, loopback: bool = False
) -> str:
    """A transaction that replaces the whole table of an IP version; what is of the other one is passed over.

    loopback: ports at 127.0.0.0/8 lead to containers by NAT as well (no userland proxy; the bridges have route_localnet).
    """
    bridges = tuple(rules for rules in bridges if family_of(rules.subnet) is family)
    ports = tuple(port for port in ports if family_of(port.address) is family)
    loopback = loopback and family is IPV4
    ip = family.name
    to_local = "fib daddr type local" if loopback else f"{ip} daddr != {family.loopback} fib daddr type local"
    lines = [
        delete_text(family, table).rstrip("\n"),
        f"table {ip} {table} {{",
        f'  comment "{_quotable(f"wherryd {owner}")}"',
        f"  chain {owner_chain(owner)} {{ }}",
        _set("bridges", (rules.interface for rules in bridges)),
        _set("internal", (rules.interface for rules in bridges if rules.internal)),
        _map("published", family, "inet_proto . inet_service", (_element(port) for port in ports if not port.host_ip)),
        _map("published-at", family, f"{family.address_type} . inet_proto . inet_service",
             (_element(port) for port in ports if port.host_ip)),
        "  chain ports {",
        f"    dnat {ip} to {ip} daddr . meta l4proto . th dport map @published-at",
        f"    dnat {ip} to meta l4proto . th dport map @published",
        "  }",
        "  chain guard {",
        "    type filter hook prerouting priority raw; policy accept;",
        # With route_localnet a container could otherwise speak to services that listen on the host's loopback only.
        f"    iifname @bridges {ip} daddr {family.loopback} drop",
        "  }",
        "  chain prerouting {",
        "    type nat hook prerouting priority dstnat; policy accept;",
        "    fib daddr type local jump ports",
        "  }",
        "  chain output {",
        "    type nat hook output priority -100; policy accept;",
        f"    {to_local} jump ports",
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority srcnat; policy accept;",
        *_masquerades(ip, bridges, loopback),
        "  }",
        "  chain forward {",
        "    type filter hook forward priority filter; policy accept;",
        "    iifname != @bridges oifname != @bridges accept",
        "    ct state established,related accept",
        "    ct status dnat accept",
        *(f'    iifname "{rules.interface}" oifname "{rules.interface}" {"accept" if rules.icc else "drop"}'
          for rules in bridges),
        "    oifname @bridges drop",
        "    iifname @internal drop",
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def delete_text(family: Family, table: str) -> str:
    """A transaction that takes a table away, whether it is there or not."""
    return f"table {family.name} {table}\ndelete table {family.name} {table}\n"


def ports_text(table: str, verb: str, ports: Iterable[PortRule]) -> str:
    """A transaction that adds or deletes (`verb`) published ports in a table that stands."""
    return "".join(
        f"{verb} element {family_of(port.address).name} {table} {'published-at' if port.host_ip else 'published'} "
        f"{{ {_element(port)} }}\n" for port in ports
    )


def dns_text(server: str) -> str:
    """Inside a container's namespace: what is sent to port 53 of `server` goes to the sockets of the proxy.

    `$port0` is the UDP socket's port, `$port1` the TCP socket's.
    """
    return (
        "table ip wherry-dns\ndelete table ip wherry-dns\ntable ip wherry-dns {\n"
        "  chain output {\n    type nat hook output priority -100; policy accept;\n"
        f"    ip daddr {server} udp dport 53 dnat to {server}:$port0\n"
        f"    ip daddr {server} tcp dport 53 dnat to {server}:$port1\n  }}\n}}\n"
    )


def _masquerades(ip: str, bridges: tuple[BridgeRules, ...], loopback: bool) -> list[str]:
    lines = []
    for rules in bridges:
        if rules.internal:
            continue
        # A container that speaks to a published port of its own bridge would be answered past us, by an address it did not ask.
        lines.append(f'    {ip} saddr {rules.subnet} oifname "{rules.interface}" ct status dnat masquerade')
        if rules.masquerade:
            lines.append(f'    {ip} saddr {rules.subnet} oifname != "{rules.interface}" masquerade')
    if loopback:
        lines.append("    ip saddr 127.0.0.0/8 oifname @bridges masquerade")
    return lines


def _element(port: PortRule) -> str:
    at = f"{port.host_ip} . " if port.host_ip else ""
    return f"{at}{port.protocol} . {port.host_port} : {port.address} . {port.container_port}"


def _set(name: str, interfaces: Iterable[str]) -> str:
    elements = ", ".join(f'"{interface}"' for interface in interfaces)
    return f"  set {name} {{ type ifname; " + (f"elements = {{ {elements} }} " if elements else "") + "}"


def _map(name: str, family: Family, key: str, elements: Iterable[str]) -> str:
    inner = ", ".join(elements)
    kind = f"type {key} : {family.address_type} . inet_service;"
    return f"  map {name} {{ {kind} " + (f"elements = {{ {inner} }} " if inner else "") + "}"


def _quotable(comment: str) -> str:
    return comment.replace('"', "").replace("\n", "")[:120]
