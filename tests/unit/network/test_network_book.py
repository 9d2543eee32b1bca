"""The networks on disk: written, read again, dockerd's records kept, refused by name or when damaged; drafts of a killed daemon go."""

from __future__ import annotations

import gzip
import json
from operator import add
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import bolt
from wherry.errors import DataLoss, Unsupported
from wherry.network import libnetwork
from wherry.network.book import NAME, Book
from wherry.network.ipam import DOCKER_POOLS
from wherry.network.model import Network, NetworkConfig, NetworkSpec, Pool
from wherry.network.networks import default_bridge, plan_network

RECORDED = gzip.decompress((Path(__file__).parents[1] / "local-kv.db.gz").read_bytes())
ID = "ab" * 32
TIME = "2026-01-02T03:04:05.678901234Z"
PREFIX = b"docker/network/v1.0/"


def test_a_draft_goes_and_the_file_stays(tmp_path: Path) -> None:
    book = Book(str(tmp_path / "files"))
    assert book.read() == ()
    book.write(())
    (tmp_path / "files" / f"{NAME}.4711.tmp").write_text("half")
    assert book.read() == ()
    assert [one.name for one in (tmp_path / "files").iterdir()] == [NAME]


@pytest.mark.parametrize("content", [b"nonsense", RECORDED[:20000], RECORDED.replace(b'{"addrSpace":"LocalDefault"', b'["addrSpace":"LocalDefault"')])
def test_what_cannot_be_read_is_told_and_left(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(DataLoss, match=NAME):
        Book(str(tmp_path)).read()
    assert (tmp_path / NAME).read_bytes() == content


def test_what_dockerd_wrote_is_kept_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(RECORDED)
    book = Book(str(tmp_path))
    found = book.read()
    assert {one.name for one in found[:3]} == {"bridge", "host", "none"}
    by_name = {one.name: one for one in found}
    assert by_name["mynet"] == Network(
        id="8ddac70c3d48b5f3a2ccc1d120252ce9d11f62ef5a996a745868fe1e64b339fa", name="mynet", driver="bridge",
        created_at="2026-11-25T01:10:04.18849747Z", ipam_options=(), pools=(Pool(subnet="10.99.0.0/24", gateway="10.99.0.1"),),
        interface="br-8ddac70c3d48", has_configured_subnet=True)
    assert (by_name["bridge"].interface, by_name["bridge"].pools[0].subnet) == ("docker0", "172.17.0.0/16")
    book.write(tuple(one for one in found if one.name != "other"))
    before, after = (bolt.values(data, b"libnetwork") for data in (RECORDED, (tmp_path / NAME).read_bytes()))
    gone = {key for key in before if by_name["other"].id.encode() in key}
    bridge = by_name["bridge"].id.encode()
    assert len(gone) == 3
    # The driver's record of `bridge` goes too, or dockerd would make that bridge again, whatever it is called then.
    assert set(before) - set(after) == gone | {PREFIX + b"bridge/" + bridge + b"/", PREFIX + b"endpoint_count/"}
    for key in set(after) - {PREFIX + b"network/" + bridge + b"/"}:
        assert after[key] == before[key] or b"endpoint_count" in key
    assert Book(str(tmp_path)).read() == tuple(one for one in found if one.name != "other")


def changed(name: str, **fields: Any) -> dict[bytes, bytes]:
    """The recorded file's records, with other fields of one network."""
    records = bolt.values(RECORDED, b"libnetwork")
    for key, value in records.items():
        if key.startswith(PREFIX + b"network/") and (found := json.loads(value[8:]))["name"] == name:
            records[key] = value[:8] + json.dumps(found | fields).encode()
    return records


@pytest.mark.parametrize(("fields", "said"), [
    ({"networkType": "macvlan"}, r"mynet \(the network driver 'macvlan' is not supported yet\)"),
    ({"configOnly": True}, "ConfigOnly"), ({"configFrom": "x"}, "ConfigFrom"), ({"ipamType": "foreign"}, "IPAM driver foreign"),
    ({"scope": "global"}, "Scope global"),
    ({"generic": {"com.docker.network.generic": {"com.docker.network.bridge.inhibit_ipv4": "true"}}}, "inhibit_ipv4=true"),
])
def test_networks_that_are_not_done_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Unsupported, match=said):
        libnetwork.read(changed("mynet", **fields))


def test_a_network_that_was_being_removed_is_none() -> None:
    assert {one.name for one in libnetwork.read(changed("mynet", inDelete=True))} == {"bridge", "host", "none", "other"}


@pytest.mark.parametrize("fields", [{"ipamV4Info": "{"}, {"ipamV4Info": "[{}]"}, {"id": None}, {"ipamV4Info": "[]"}])
def test_damaged_fields_are_told(fields: dict[str, Any]) -> None:
    with pytest.raises(DataLoss, match="8ddac70c3d48"):
        libnetwork.read(changed("mynet", **fields))


POOLS = st.sampled_from([(), (Pool(subnet="10.1.0.0/16"),), (Pool(subnet="10.1.0.0/16", gateway="10.1.9.9"),),
                         (Pool(subnet="10.1.0.0/16", ip_range="10.1.5.0/24", aux_addresses=(("a", "10.1.5.7"), ("b", "10.1.5.8"))),)])
IPV6_POOLS = st.sampled_from([(), (Pool(subnet="fd00:1::/64"),),
                              (Pool(subnet="fd00:1::/80", gateway="fd00:1::9", ip_range="fd00:1::/96", aux_addresses=(("a", "fd00:1::5"),)),)])
OPTIONS = st.lists(st.sampled_from([
    ("com.docker.network.bridge.name", "mine"), ("com.docker.network.bridge.enable_icc", "false"), ("com.docker.network.driver.mtu", "1400"),
    ("com.docker.network.bridge.enable_ip_masquerade", "false"), ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
    ("com.docker.network.container_iface_prefix", "net"), ("other", "ü")]), unique=True)
CONFIGS = st.builds(NetworkConfig, mtu=st.sampled_from([1500, 1300]), ip_masq=st.booleans(), ipv6=st.booleans(),
                    fixed_cidr_v6=st.sampled_from(["fd00:d::/64", "fd00:d::/96"]),
                    default_address_pools=st.just((*DOCKER_POOLS, ("fd00:9::/32", 64))))
SPECS = st.builds(NetworkSpec, name=st.just("n"), internal=st.booleans(), attachable=st.booleans(), enable_ipv6=st.booleans(),
                  enable_ipv4=st.booleans(),
                  pools=st.builds(add, POOLS, IPV6_POOLS), options=OPTIONS.map(tuple),
                  labels=st.sampled_from([(), (("a", "b"), ("c", ""))]), ipam_options=st.sampled_from([None, ()]))


@settings(deadline=None)
@given(SPECS.filter(lambda spec: spec.enable_ipv4 or spec.enable_ipv6), CONFIGS)
def test_a_network_is_read_as_it_was_written(spec: NetworkSpec, config: NetworkConfig) -> None:
    defaults = (default_bridge(config, "cd" * 32, TIME, present="", kept="", host_subnets=()),
                Network(id="ef" * 32, name="host", driver="host", created_at=TIME, is_default=True),
                Network(id="01" * 32, name="none", driver="null", created_at=TIME, is_default=True))
    networks = (*defaults, plan_network(spec, ID, TIME, defaults, (), config))
    records = libnetwork.write(networks, {b"something/else": b"kept"})
    assert records[b"something/else"] == b"kept"
    assert set(libnetwork.read(records)) == set(networks)
    assert libnetwork.write(networks, records) == records
