"""From a request for a network to the network: choices, checks and Docker's words."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from wherry.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unsupported
from wherry.network import networks
from wherry.network.inspect import network_resource
from wherry.network.links import plan_inside
from wherry.network.model import Endpoint, Network, NetworkConfig, NetworkSpec, Pool, endpoint_from_json, to_json

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
    (NetworkSpec(name="n", enable_ipv6=True), Unsupported, "EnableIPv6"),
    (NetworkSpec(name="n", enable_ipv4=False), Unsupported, "EnableIPv4"),
    (NetworkSpec(name="n", config_only=True), Unsupported, "ConfigOnly"),
    (NetworkSpec(name="n", config_from="x"), Unsupported, "ConfigFrom"),
    (NetworkSpec(name="n", ingress=True), Unsupported, "Ingress"),
    (NetworkSpec(name="n", scope="swarm"), Forbidden, "cannot create a swarm scoped network when swarm is not active"),
    (NetworkSpec(name="n", scope="global"), Unsupported, "Scope global"),
    (NetworkSpec(name="n", ipam_driver="dhcp"), Unsupported, "dhcp"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.1/24"),)), InvalidArgument, r"it should be 10\.0\.0\.0/24"),
    (NetworkSpec(name="n", pools=(Pool(subnet="10.0.0.0/99"),)), InvalidArgument, "invalid CIDR block notation"),
    (NetworkSpec(name="n", pools=(Pool(subnet="fd00::/64"),)), Unsupported, "IPv6 subnet"),
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
    assert [request.subject for request in plan_inside(2, ENDPOINT, is_first=is_first, is_gateway=is_gateway)] == subjects
