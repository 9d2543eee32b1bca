"""Forward chains of other programs that drop our packets, and the two rules per bridge that let them pass.

A verdict `accept` in our table does not end a packet's way: each base chain at the hook is asked, and one that drops has
the last word. dockerd's FORWARD drops by policy, so does ufw's. This is the one place where wherry writes into a table that
is not its own: accepting rules in DOCKER-USER, which is there for such rules, or at the top of the chain that drops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherry.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable


class Place(Record):
    """The chain into which accepting rules go."""

    family: str
    table: str
    chain: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.chain}"


class Foreign(Record):
    """What of others stands in our way: places to write to, and managers whose chains are theirs to change."""

    places: tuple[Place, ...] = ()
    managers: tuple[str, ...] = ()
    """ufw, firewalld: they rewrite their chains, so their owner is told what to do instead."""


def find(chains: Iterable[dict[str, Any]], own_table: str, families: tuple[str, ...]) -> Foreign:
    """What `nft -j list chains` says about chains that drop what is forwarded of these families (ip, ip6). Pure."""
    listed = [entry["chain"] for entry in chains if "chain" in entry]
    names = {(chain["family"], chain["table"], chain["name"]) for chain in listed}
    managers = []
    if any(name.startswith("ufw-") for _, _, name in names):
        managers.append("ufw")
    if any(table == "firewalld" for _, table, _ in names):
        managers.append("firewalld")
    places = []
    for chain in listed:
        dropping = chain.get("hook") == "forward" and chain.get("policy") == "drop"
        if not dropping or chain["family"] not in (*families, "inet") or chain["table"] == own_table:
            continue
        has_user_chain = (chain["family"], chain["table"], "DOCKER-USER") in names
        if managers and not has_user_chain:
            continue
        places.append(Place(family=chain["family"], table=chain["table"],
                            chain="DOCKER-USER" if has_user_chain else chain["name"]))
    return Foreign(places=tuple(places), managers=tuple(managers))


def legacy_tables() -> tuple[str, ...]:
    """The tables of the kernel's older iptables in this namespace, which nftables does not see."""
    try:
        with open("/proc/net/ip_tables_names") as names:
            return tuple(names.read().split())
    except OSError:  # the kernel has none, or does not say
        return ()


def insert_text(place: Place, interfaces: Iterable[str]) -> str:
    """A transaction with two rules per bridge, written as iptables-nft writes them, so that iptables can still list the table."""
    return "".join(
        f'insert rule {place} {key} "{interface}" counter accept\n'
        for interface in interfaces for key in ("iifname", "oifname")
    )


def ours(chain: Iterable[dict[str, Any]], interfaces: Iterable[str]) -> dict[tuple[str, str], int]:
    """The rules of ours in a listed chain: (iifname or oifname, bridge) → handle."""
    wanted = set(interfaces)
    found = {}
    for entry in chain:
        expressions = entry.get("rule", {}).get("expr", [])
        matches = [expression["match"] for expression in expressions if "match" in expression]
        if len(matches) == 1 and any("accept" in expression for expression in expressions):
            key = matches[0]["left"].get("meta", {}).get("key") if isinstance(matches[0]["left"], dict) else None
            if key in ("iifname", "oifname") and matches[0]["op"] == "==" and matches[0]["right"] in wanted:
                found[key, matches[0]["right"]] = entry["rule"]["handle"]
    return found


def delete_text(place: Place, handles: Iterable[int]) -> str:
    """A transaction that takes rules out again."""
    return "".join(f"delete rule {place} handle {handle}\n" for handle in handles)


def advice(manager: str, interface: str) -> str:
    """What the owner of a managed firewall has to do for a bridge."""
    fix = {
        "ufw": f"ufw route allow in on {interface} && ufw route allow out on {interface}",
        "firewalld": f"firewall-cmd --permanent --zone=trusted --add-interface={interface} && firewall-cmd --reload",
    }[manager]
    return f"{manager} is active and may drop what containers on {interface} send: {fix}"
