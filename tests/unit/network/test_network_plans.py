"""From a request for a network to the network: choices, checks and Docker's words."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from wherry.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unavailable, Unsupported
from wherry.linux.rtnetlink import AF_INET, AF_INET6, Address
from wherry.network import addresses, networks, pools
from wherry.network.gateways import default_routes
from wherry.network.inspect import network_resource
from wherry.network.links import plan_addresses, plan_inside
from wherry.network.model import Endpoint, EndpointRequest, Network, NetworkConfig, NetworkSpec, Pool, endpoint_from_json, to_json

CONFIG = NetworkConfig()
ID = "ab" * 32
NOW = "2024-01-02T03:04:05.000000006Z"
PRESENT = Network(id="cd" * 32, name="present", driver="bridge", created_at=NOW, interface="br-cdcdcdcdcdcd",
                  pools=(Pool(subnet="172.18.0.0/16", gateway="172.18.0.1"),))


def plan(spec: NetworkSpec, **changes: object) -> Network:
    arguments: dict[str, object] = {"networks": (PRESENT,), "host_subnets": (IPv4Network("172.17.0.0/16"),), "config": CONFIG}
    return networks.plan_network(spec, ID, NOW, **{**arguments, **changes})  # type: ignore[arg-type]


def test_a_network_with_nothing_said() -> None:
    network = plan(NetworkSpec(name="new"))
    assert network.pools == (Pool(subnet="172.19.0.0/16", gateway="172.19.0.1"),)  # .17 is a route, .18 a network
    assert network.interface == "br-abababababab"
    assert (network.icc, network.masquerade, network.mtu, network.has_configured_subnet) == (True, True, 1500, False)


def test_gateway_is_the_first_free_address_of_the_range() -> None:
    pool = Pool(subnet="10.0.0.0/16", ip_range="10.0.5.0/24", aux_addresses=(("x", "10.0.5.0"),))
    assert plan(NetworkSpec(name="n", pools=(pool,))).pools[0].gateway == "10.0.5.1"


@pytest.mark.parametrize(("spec", "error", "words"), [
    (NetworkSpec(name=" "), InvalidArgument, "name is empty"),
    (NetworkSpec(name="host"), Forbidden, "operation is not permitted on predefined host network"),
    (NetworkSpec(name="present"), Conflict, "network with name present already exists"),
    (NetworkSpec(name="n", driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
    (NetworkSpec(name="n", driver="macvlan"), Unsupported, "macvlan"),
    (NetworkSpec(name="n", driver="ipvlan"), Unsupported, "ipvlan"),
    (NetworkSpec(name="n", driver="overlay"), Unsupported, "overlay"),
    (NetworkSpec(name="n", driver="weave"), NotFound, 'plugin "weave" not found'),
    (NetworkSpec(name="n", enable_ipv6=True), NotFound, "non-overlapping IPv6 address pool among the defaults"),
    (NetworkSpec(name="n", enable_ipv4=False), InvalidArgument, "IPv4 or IPv6 must be enabled"),
    (NetworkSpec(name="n", config_only=True), Unsupported, "ConfigOnly"),
    (NetworkSpec(name="n", config_from="x"), Unsupported, "ConfigFrom"),
    (NetworkSpec(name="n", ingress=True), Unsupported, "Ingress"),
    (NetworkSpec(name="n", scope="swarm"), Forbidden, "cannot create a swarm scoped network when swarm is not active"),
    (NetworkSpec(name="n", scope="global"), Unsupported, "Scope global"),
    (NetworkSpec(name="n", ipam_driver="dhcp"), Unsupported, "dhcp"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.1/24"),)), InvalidArgument, r"it should be 10\.0\.0\.0/24"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/99"),)), InvalidArgument, "invalid CIDR block notation"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.5"),)), InvalidArgument, "invalid CIDR block notation"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/255.0.0.0"),)), InvalidArgument, "invalid CIDR block notation"),
    (NetworkSpec(name="n", pools=(Pool(subnet="fd00::1/64"),)), InvalidArgument, "it should be fd00::/64"),
    (NetworkSpec(name="n", pools=(Pool(subnet="fd00::/64"), Pool(subnet="fd01::/64"))), Forbidden, "doesn't support multiple subnets"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/24"), Pool(subnet="10.0.1.0/24"))), Forbidden, "doesn't support multiple subnets"),
    (NetworkSpec(name="n", pools=(Pool(subnet="fd00::/64", gateway="fd00:1::1"),)), InvalidArgument, "no matching subnet for gateway"),
    (NetworkSpec(name="n", pools=(Pool(subnet="fd00::/64", ip_range="10.0.0.0/25"),)), InvalidArgument, "no matching subnet for range"),
    (NetworkSpec(name="n", enable_ipv6=True, pools=(Pool(subnet="fd00::/64"),), options=((networks.MTU_OPTION, "1000"),)), InvalidArgument,
     "IPv6 needs 1280 at least"),
    (NetworkSpec(name="n", enable_ipv6=True, pools=(Pool(subnet="fd00::/128"),)), Unavailable, "no available IPv6 addresses"),
    (NetworkSpec(name="n", pools=(Pool(subnet="172.18.5.0/24"),)), Forbidden, "Pool overlaps with other one on this address space"),
    (NetworkSpec(name="n", pools=(Pool(gateway="10.0.0.1"),)), InvalidArgument, "must have a corresponding subnet"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/24", gateway="10.1.0.1"),)), InvalidArgument,
     r"no matching subnet for gateway 10\.1\.0\.1"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/24", ip_range="10.1.0.0/25"),)), InvalidArgument, "no matching subnet for range"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/24", aux_addresses=(("a", "10.1.0.1"),)),)), InvalidArgument,
     "no matching subnet for aux-address"),
    (NetworkSpec(name="n", options=((networks.BRIDGE_OPTION + "name", "a" * 16),)), InvalidArgument, "invalid bridge name"),
    (NetworkSpec(name="n", options=((networks.BRIDGE_OPTION + "name", PRESENT.interface),)), Forbidden, "networks have same bridge name"),
    (NetworkSpec(name="n", options=((networks.BRIDGE_OPTION + "enable_icc", "maybe"),)), InvalidArgument, "ParseBool"),
    (NetworkSpec(name="n", options=((networks.MTU_OPTION, "12"),)), InvalidArgument, "mtu"),
    (NetworkSpec(name="n", options=((networks.BRIDGE_OPTION + "gateway_mode_ipv4", "routed"),)), Unsupported, "gateway_mode_ipv4"),
    (NetworkSpec(name="n", options=((networks.BRIDGE_OPTION + "host_binding_ipv4", "x"),)), InvalidArgument, "host binding"),
])
def test_refusals(spec: NetworkSpec, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        plan(spec)


def test_options_of_others_are_kept_and_not_read() -> None:
    spec = NetworkSpec(name="n", options=(("com.example.x", "y"), (networks.BRIDGE_OPTION + "gateway_mode_ipv4", "nat")))
    assert plan(spec).options == spec.options


def default(config: NetworkConfig = CONFIG, present: str = "", kept: str = "", taken: tuple[str, ...] = ()) -> Network:
    return networks.default_bridge(config, ID, NOW, present=present, kept=kept, host_subnets=[IPv4Network(one) for one in taken])


def test_address_of_the_default_bridge() -> None:
    def gateway(**arguments: object) -> str:
        return default(**arguments).pools[0].gateway  # type: ignore[arg-type]

    assert gateway() == "172.17.0.1"
    assert gateway(taken=("172.17.0.0/16",)) == "172.18.0.1"
    assert gateway(kept="172.20.0.1/16") == "172.20.0.1"
    assert gateway(kept="172.20.0.1/16", taken=("172.20.0.0/14",)) == "172.17.0.1"
    assert gateway(present="10.0.0.1/24", kept="172.20.0.1/16") == "10.0.0.1"
    assert gateway(config=CONFIG.replace(bip="10.9.8.7/24"), present="10.0.0.1/24") == "10.9.8.7"
    assert gateway(config=CONFIG.replace(default_address_pools=(("10.10.0.0/16", 24),))) == "10.10.0.1"


def test_default_bridge_in_full() -> None:
    network = default(CONFIG.replace(bip="10.9.0.1/16", fixed_cidr="10.9.4.0/24", icc=False))
    assert network.pools == (Pool(subnet="10.9.0.0/16", ip_range="10.9.4.0/24", gateway="10.9.0.1"),)
    assert not network.icc
    assert dict(network.options)["com.docker.network.bridge.name"] == "wherry0"
    with pytest.raises(InvalidArgument, match="fixed-cidr"):
        default(CONFIG.replace(bip="10.9.0.1/16", fixed_cidr="10.8.0.0/24"))


def test_finding() -> None:
    twin = PRESENT.replace(id="cdcd" + "ef" * 30, name=PRESENT.id[:6])
    both = (PRESENT, twin)
    assert networks.find(both, PRESENT.id) is PRESENT
    assert networks.find(both, "present") is PRESENT
    assert networks.find(both, "cdcdcd") is twin  # a name goes before the beginning of an id
    assert networks.find(both, "cdcdef") is twin
    with pytest.raises(InvalidArgument, match=r"network cdcd is ambiguous \(2 matches found based on ID prefix\)"):
        networks.find(both, "cdcd")
    for unknown in ("", "nothing"):
        with pytest.raises(NotFound, match=f"network {unknown} not found"):
            networks.find(both, unknown)


@pytest.mark.parametrize("mac", ["02:42", "01:00:5e:00:00:01", "zz:zz:zz:zz:zz:zz"])
def test_mac_addresses_that_are_refused(mac: str) -> None:
    with pytest.raises(InvalidArgument):
        networks.check_mac(mac)


ENDPOINT = Endpoint(id="e", network_id="n", network_name="net", container_id="c", container_name="web", ipv4_address="10.0.0.2",
                    ipv4_prefix_length=16, ipv4_gateway="10.0.0.1", mac_address="02:42:0a:00:00:02", aliases=("a",), dns_names=("web", "a"))


def test_endpoints_survive_json() -> None:
    import json

    assert endpoint_from_json(json.loads(json.dumps(to_json(ENDPOINT)))) == ENDPOINT
    assert endpoint_from_json({**to_json(ENDPOINT), "of_the_future": 1}) == ENDPOINT


def test_inspection() -> None:
    shown = network_resource(plan(NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/16"),))), (ENDPOINT,))
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.0.0.0/16", "Gateway": "10.0.0.1"}]
    assert shown["Containers"]["c"] == {"Name": "web", "EndpointID": "e", "MacAddress": "02:42:0a:00:00:02",
                                        "IPv4Address": "10.0.0.2/16", "IPv6Address": ""}


@pytest.mark.parametrize(("is_first", "is_gateway", "subjects"), [
    (True, True, ["set link lo up", "set link 2", "add address 10.0.0.2/16", "set link 2 up", "add route default via 10.0.0.1"]),
    (False, False, ["set link 2", "add address 10.0.0.2/16", "set link 2 up"]),
])
def test_plan_inside_a_container(is_first: bool, is_gateway: bool, subjects: list[str]) -> None:
    gateways = [ENDPOINT.ipv4_gateway] if is_gateway else []
    assert [request.subject for request in plan_inside(2, ENDPOINT, is_first=is_first, gateways=gateways)] == subjects


def test_plan_inside_a_container_with_ipv6() -> None:
    endpoint = ENDPOINT.replace(ipv6_address="fd00::2", ipv6_prefix_length=64, mac_address="02:42:0a:00:00:02",
                                link_local_ips=("169.254.3.4", "fe80::9"))
    assert [request.subject for request in plan_inside(2, endpoint, is_first=False, gateways=["10.0.0.1", "fd00::1"])] == [
        "set link 2", "add address 10.0.0.2/16", "add address fd00::2/64", "add address fe80::42:aff:fe00:2/64",
        "add address 169.254.3.4/16", "add address fe80::9/64", "set link 2 up",
        "add route default via 10.0.0.1", "add route default via fd00::1"]


def dual(**changes: object) -> Network:
    spec = NetworkSpec(name="n", enable_ipv6=True, pools=(Pool(subnet="FD00:0::/64"),))
    return plan(spec.replace(**changes))


def test_a_network_with_ipv6() -> None:
    network = dual()
    assert network.pools == (Pool(subnet="172.19.0.0/16", gateway="172.19.0.1"), Pool(subnet="fd00::/64", gateway="fd00::1"))
    assert (network.ipv4, network.ipv6) == network.pools
    assert (network.has_configured_subnet, network.has_configured_ipv6_subnet) == (False, True)
    asked = Pool(subnet="2001:389::/64", ip_range="2001:389::0/96", gateway="2001:389::FFFF", aux_addresses=(("a", "2001:389::1"),))
    assert dual(pools=(asked, Pool(subnet="10.7.0.0/16"))).pools == (
        Pool(subnet="10.7.0.0/16", gateway="10.7.0.1"),
        asked.replace(gateway="2001:389::ffff"))
    assert dual(pools=(asked.replace(gateway=""),)).pools[1].gateway == "2001:389::2"


def test_a_pool_of_ipv6_without_ipv6_is_shown_and_not_used() -> None:
    network = dual(enable_ipv6=False)
    assert [pool.subnet for pool in network.pools] == ["172.19.0.0/16", "fd00::/64"]
    assert network.ipv6 is None
    assert set(pools.address_pools(network, lambda: 0.0)) == {4}


def test_a_network_without_ipv4() -> None:
    network = dual(enable_ipv4=False)
    assert (network.ipv4, [pool.subnet for pool in network.pools]) == (None, ["fd00::/64"])
    got = addresses.take(network, pools.address_pools(network, lambda: 0.0), "a", EndpointRequest(container_name="c"))
    assert got == addresses.Addresses(ipv6_address="fd00::2", ipv6_prefix_length=64, ipv6_gateway="fd00::1", mac_address="02:42:00:00:00:02")


def test_ipv6_out_of_the_default_pools() -> None:
    config = CONFIG.replace(default_address_pools=(("10.10.0.0/16", 24), ("fd00:5::/32", 64)))
    network = plan(NetworkSpec(name="n", enable_ipv6=True), config=config, host_subnets=(IPv6Network("fd00:5::/64"),))
    assert [pool.subnet for pool in network.pools] == ["10.10.0.0/24", "fd00:5:0:1::/64"]
    assert not network.has_configured_ipv6_subnet


def test_addresses_of_both_families_or_none() -> None:
    network = dual(pools=(Pool(subnet="10.7.0.0/29"), Pool(subnet="fd00::/64")))
    taken = pools.address_pools(network, lambda: 0.0)
    request = EndpointRequest(container_name="c")
    assert addresses.take(network, taken, "a", request) == addresses.Addresses(
        ipv4_address="10.7.0.2", ipv4_prefix_length=29, ipv4_gateway="10.7.0.1", ipv6_address="fd00::2", ipv6_prefix_length=64,
        ipv6_gateway="fd00::1", mac_address="02:42:0a:07:00:02")
    with pytest.raises(Forbidden, match="Address already in use"):
        addresses.take(network, taken, "b", request.replace(ipv6_address="fd00::2"))
    assert len(taken[4]) == 2  # the gateway's and the first one's: nothing is left of the failure
    got = addresses.take(network.replace(internal=True), taken, "b", request.replace(ipv6_address="fd00::abcd", mac_address="02-AA-00-00-00-01"))
    assert (got.ipv4_gateway, got.ipv6_gateway, got.ipv6_address, got.mac_address) == ("", "", "fd00::abcd", "02:aa:00:00:00:01")


@pytest.mark.parametrize(("subnet", "expected"), [("fd00:d0c::/64", "fd00:d0c::242:ac11:2"), ("fd00:d0c::/80", "fd00:d0c::242:ac11:2"),
                                                  ("fd00:d0c::/96", "fd00:d0c::2")])
def test_addresses_of_the_default_bridge_end_with_the_mac(subnet: str, expected: str) -> None:
    network = default(CONFIG.replace(ipv6=True, fixed_cidr_v6=subnet))
    assert network.pools[1] == Pool(subnet=subnet, gateway="fd00:d0c::1")
    got = addresses.take(network, pools.address_pools(network, lambda: 0.0), "a", EndpointRequest(container_name="c"))
    assert (got.ipv6_address, got.mac_address) == (expected, "02:42:ac:11:00:02")


def test_containers_go_out_by_another_gateway() -> None:
    """`--default-gateway` and `--default-gateway-v6` are auxiliary addresses, which other networks may have under these names as well."""
    network = default(CONFIG.replace(ipv6=True, fixed_cidr_v6="fd00::/64", default_gateway="172.17.9.9", default_gateway_v6="fd00::1"))
    assert [(pool.gateway, dict(pool.aux_addresses)) for pool in network.pools] == [
        ("172.17.0.1", {"DefaultGatewayIPv4": "172.17.9.9"}), ("fd00::2", {"DefaultGatewayIPv6": "fd00::1"})]
    got = addresses.take(network, pools.address_pools(network, lambda: 0.0), "a", EndpointRequest(container_name="c"))
    assert (got.ipv4_gateway, got.ipv6_gateway) == ("172.17.9.9", "fd00::1")
    for wrong in (CONFIG.replace(default_gateway="10.0.0.1"), CONFIG.replace(fixed_cidr_v6="fd00::/64", default_gateway_v6="fd01::1")):
        with pytest.raises(InvalidArgument, match="no matching subnet for default gateway"):
            default(wrong)


def test_ipv6_of_the_default_bridge_has_to_be_said() -> None:
    with pytest.raises(InvalidArgument, match="Specify an IPv6 subnet using --fixed-cidr-v6"):
        default(CONFIG.replace(ipv6=True))
    with pytest.raises(InvalidArgument, match="invalid CIDR address"):
        default(CONFIG.replace(ipv6=True, fixed_cidr_v6="10.0.0.0/8"))
    assert default(CONFIG.replace(fixed_cidr_v6="fd00::/64")).ipv6 is None


def test_default_routes_go_by_one_endpoint_for_each_ip_version() -> None:
    first = ENDPOINT.replace(id="1", network_name="a", ipv4_gateway="10.0.0.1")
    second = ENDPOINT.replace(id="2", network_name="b", ipv4_gateway="10.1.0.1", ipv6_gateway="fd00::1")
    assert default_routes((second, first)) == ((first, "10.0.0.1"), (second, "fd00::1"))
    third = second.replace(gateway_priority=1)
    assert default_routes((first, third)) == ((third, "10.1.0.1"), (third, "fd00::1"))
    assert default_routes((ENDPOINT.replace(ipv4_gateway=""),)) == ()


def test_addresses_of_a_bridge() -> None:
    network = dual(pools=(Pool(subnet="10.7.0.0/16"), Pool(subnet="fd00::/64")))
    present = [Address(index=2, family=AF_INET, address="10.9.0.1", prefix_length=16),
               Address(index=2, family=AF_INET6, address="fd00::1", prefix_length=64),
               Address(index=2, family=AF_INET6, address="fe80::42:aff:fe07:1", prefix_length=64, scope=253)]
    added = ["add address 10.7.0.1/16", "add address fe80::1/64"]
    assert [one.subject for one in plan_addresses(network, 2, present, is_ours=False)] == added
    assert [one.subject for one in plan_addresses(network, 2, present, is_ours=True)] == [*added, "delete address 10.9.0.1/16"]
