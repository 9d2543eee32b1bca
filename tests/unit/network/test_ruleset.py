"""The ruleset as text, the foreign chains as data: decided without a kernel."""

from __future__ import annotations

import pytest

from wherry.network import foreign, published, ruleset
from wherry.network.foreign import Place
from wherry.network.model import Endpoint, PublishedPort
from wherry.network.ruleset import BridgeRules, PortRule

WEB = PortRule(host_ip="", protocol="tcp", host_port=8080, address="172.17.0.2", container_port=80)
AT = PortRule(host_ip="10.0.0.1", protocol="udp", host_port=53, address="172.17.0.3", container_port=5353)


def lines(*bridges: BridgeRules, loopback: bool = False) -> list[str]:
    return [line.strip() for line in ruleset.table_text(ruleset.IPV4, "wherry", "/data", bridges, (WEB, AT), loopback=loopback).splitlines()]


def test_the_table_is_replaced_as_a_whole() -> None:
    text = lines()
    assert text[:3] == ["table ip wherry", "delete table ip wherry", "table ip wherry {"]
    assert 'comment "wherryd /data"' in text
    assert f"chain {ruleset.owner_chain('/data')} {{ }}" in text
    assert ruleset.owner_chain("/data") != ruleset.owner_chain("/other")


def test_ports_are_elements_of_maps() -> None:
    text = "\n".join(lines())
    assert "elements = { tcp . 8080 : 172.17.0.2 . 80 }" in text
    assert "elements = { 10.0.0.1 . udp . 53 : 172.17.0.3 . 5353 }" in text
    assert ruleset.ports_text("wherry", "add", (WEB, AT)).splitlines() == [
        "add element ip wherry published { tcp . 8080 : 172.17.0.2 . 80 }",
        "add element ip wherry published-at { 10.0.0.1 . udp . 53 : 172.17.0.3 . 5353 }"]


def test_masquerading() -> None:
    rules = BridgeRules(interface="wherry0", subnet="172.17.0.0/16")
    out, hairpin = ('ip saddr 172.17.0.0/16 oifname != "wherry0" masquerade',
                    'ip saddr 172.17.0.0/16 oifname "wherry0" ct status dnat masquerade')
    assert {out, hairpin} <= set(lines(rules))
    without = lines(rules.replace(masquerade=False))
    assert hairpin in without
    assert out not in without
    assert not any("saddr 172.17" in line for line in lines(rules.replace(internal=True)))


def test_the_other_ip_version_has_a_table_of_its_own() -> None:
    bridges = (BridgeRules(interface="a0", subnet="10.0.0.0/16"), BridgeRules(interface="a0", subnet="fd00::/64"))
    six = PortRule(host_ip="", protocol="tcp", host_port=8080, address="fd00::2", container_port=80)
    at = six.replace(host_ip="fd01::1", protocol="udp")
    text = ruleset.table_text(ruleset.IPV6, "wherry", "/data", bridges, (WEB, AT, six, at), loopback=True)
    for line in ("table ip6 wherry {", "type inet_proto . inet_service : ipv6_addr . inet_service; elements = { tcp . 8080 : fd00::2 . 80 }",
                 "type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; elements = { fd01::1 . udp . 8080 : fd00::2 . 80 }",
                 "dnat ip6 to meta l4proto . th dport map @published\n", 'ip6 saddr fd00::/64 oifname != "a0" masquerade',
                 "ip6 daddr != ::1 fib daddr type local jump ports"):
        assert line in text
    assert not any(word in text for word in ("10.0.0.", "172.17.", "127.0.0.", " ip "))
    assert "fd00" not in ruleset.table_text(ruleset.IPV4, "wherry", "/data", bridges, (WEB, six))
    assert ruleset.ports_text("wherry", "add", (six, at)).splitlines() == [
        "add element ip6 wherry published { tcp . 8080 : fd00::2 . 80 }",
        "add element ip6 wherry published-at { fd01::1 . udp . 8080 : fd00::2 . 80 }"]


def test_dropping_chains_of_ipv6_stand_in_the_way_only_where_it_is_filtered() -> None:
    there = chain("filter", "FORWARD", family="ip6", hook="forward", policy="drop")
    assert foreign.find([there], "wherry", ("ip",)).places == ()
    assert foreign.find([there], "wherry", ("ip", "ip6")).places == (Place(family="ip6", table="filter", chain="FORWARD"),)


@pytest.mark.parametrize(("host_ip", "loopback", "expected"), [
    ("0.0.0.0", False, PortRule(host_ip="", protocol="tcp", host_port=1, address="10.0.0.2", container_port=80)),
    ("::", False, PortRule(host_ip="", protocol="tcp", host_port=1, address="fd00::2", container_port=80)),
    ("fd01::1", False, PortRule(host_ip="fd01::1", protocol="tcp", host_port=1, address="fd00::2", container_port=80)),
    ("::1", True, None), ("127.0.0.1", False, None),
    ("127.0.0.1", True, PortRule(host_ip="127.0.0.1", protocol="tcp", host_port=1, address="10.0.0.2", container_port=80)),
])
def test_where_a_port_leads(host_ip: str, loopback: bool, expected: PortRule | None) -> None:
    endpoint = Endpoint(id="e", network_id="n", network_name="n", container_id="c", container_name="c", ipv4_address="10.0.0.2",
                        ipv6_address="fd00::2")
    port = PublishedPort(container_port=80, protocol="tcp", host_ip=host_ip, host_port=1)
    assert published.nat_rule(endpoint, port, loopback=loopback) == expected
    assert published.proxy_entry(endpoint, port, serve=True).address == ("fd00::2" if ":" in host_ip else "10.0.0.2")


@pytest.mark.parametrize(("ipv4", "ipv6", "host_ip", "to"), [("10.0.0.2", "", "::", "10.0.0.2"), ("", "fd00::2", "0.0.0.0", "fd00::2")])
def test_from_one_ip_version_to_the_other_the_proxy_leads(ipv4: str, ipv6: str, host_ip: str, to: str) -> None:
    endpoint = Endpoint(id="e", network_id="n", network_name="n", container_id="c", container_name="c", ipv4_address=ipv4, ipv6_address=ipv6)
    port = PublishedPort(container_port=80, protocol="tcp", host_ip=host_ip, host_port=1)
    assert published.nat_rule(endpoint, port, loopback=True) is None
    assert published.proxy_entry(endpoint, port, serve=True).address == to


def test_forwarding() -> None:
    open_bridge = BridgeRules(interface="a0", subnet="10.0.0.0/16")
    closed = BridgeRules(interface="b0", subnet="10.1.0.0/16", icc=False, internal=True)
    text = lines(open_bridge, closed)
    chain = text[text.index("chain forward {"):]
    order = [chain.index(line) for line in (
        "ct state established,related accept", "ct status dnat accept", 'iifname "a0" oifname "a0" accept',
        'iifname "b0" oifname "b0" drop', "oifname @bridges drop", "iifname @internal drop")]
    assert order == sorted(order)
    assert 'set internal { type ifname; elements = { "b0" } }' in text
    assert not any("hook input" in line for line in text)


def test_loopback_is_the_proxys_unless_there_is_none() -> None:
    assert "ip daddr != 127.0.0.0/8 fib daddr type local jump ports" in lines()
    with_nat = lines(loopback=True)
    assert with_nat.count("fib daddr type local jump ports") == 2
    assert "ip saddr 127.0.0.0/8 oifname @bridges masquerade" in with_nat


def test_owner_cannot_break_out_of_its_comment() -> None:
    assert '\n' not in ruleset._quotable('a"\n}')
    assert '"' not in ruleset._quotable('a"b')


def chain(table: str, name: str, **fields: str) -> dict[str, object]:
    return {"chain": {"family": "ip", "table": table, "name": name} | fields}


FORWARD = chain("filter", "FORWARD", hook="forward", policy="drop")


@pytest.mark.parametrize(("chains", "places", "managers"), [
    ([], (), ()),
    ([chain("filter", "FORWARD", hook="forward", policy="accept")], (), ()),
    ([FORWARD], (Place(family="ip", table="filter", chain="FORWARD"),), ()),
    ([FORWARD, chain("filter", "DOCKER-USER")], (Place(family="ip", table="filter", chain="DOCKER-USER"),), ()),
    ([FORWARD, chain("filter", "ufw-user-forward")], (), ("ufw",)),
    ([FORWARD, chain("filter", "ufw-user-forward"), chain("filter", "DOCKER-USER")],
     (Place(family="ip", table="filter", chain="DOCKER-USER"),), ("ufw",)),
    ([chain("firewalld", "filter_FORWARD", hook="forward", policy="accept")], (), ("firewalld",)),
    ([chain("wherry", "forward", hook="forward", policy="drop")], (), ()),
])
def test_dropping_chains_of_others(
    chains: list[dict[str, object]], places: tuple[Place, ...], managers: tuple[str, ...]
) -> None:
    found = foreign.find(chains, "wherry", ("ip",))
    assert (found.places, found.managers) == (places, managers)


def test_rules_for_a_foreign_chain_and_back() -> None:
    place = Place(family="ip", table="filter", chain="DOCKER-USER")
    assert foreign.insert_text(place, ("wherry0",)).splitlines() == [
        'insert rule ip filter DOCKER-USER iifname "wherry0" counter accept',
        'insert rule ip filter DOCKER-USER oifname "wherry0" counter accept']

    def listed(handle: int, key: str, interface: str, verdict: str = "accept") -> dict[str, object]:
        match = {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": interface}}
        return {"rule": {"handle": handle, "expr": [match, {"counter": {}}, {verdict: None}]}}

    chain_rules = [{"metainfo": {}}, listed(4, "iifname", "wherry0"), listed(5, "oifname", "wherry0"),
                   listed(6, "iifname", "docker0"), listed(7, "iifname", "wherry0", "drop")]
    assert foreign.ours(chain_rules, ("wherry0",)) == {("iifname", "wherry0"): 4, ("oifname", "wherry0"): 5}
    assert foreign.delete_text(place, (4, 5)).splitlines() == [
        "delete rule ip filter DOCKER-USER handle 4", "delete rule ip filter DOCKER-USER handle 5"]


def test_advice_names_the_fix() -> None:
    for manager in ("ufw", "firewalld"):
        assert "wherry0" in foreign.advice(manager, "wherry0")
