"""Requests of rtnetlink as pyroute2 understands them, and answers of its kind as we understand them."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from wherry.linux import netlink, rtnetlink


def oracle(kind: type, request: netlink.Request) -> Any:
    message = kind(netlink.encode(request, 1))
    message.decode()
    return message


def test_bridge() -> None:
    message = oracle(ifinfmsg, rtnetlink.bridge_add("wherry0", "02:42:ac:11:00:01", mtu=1400))
    assert message["header"]["type"] == rtnetlink.RTM_NEWLINK
    assert message["header"]["flags"] & netlink.NLM_F_EXCL
    assert message.get_attr("IFLA_IFNAME") == "wherry0"
    assert message.get_attr("IFLA_ADDRESS") == "02:42:ac:11:00:01"
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"


def test_veth_with_its_peer_in_another_namespace() -> None:
    request = rtnetlink.veth_add("veth1", master=7, mtu=1500, peer_name="eth0", peer_mac="02:42:ac:11:00:02", peer_netns_fd=42)
    message = oracle(ifinfmsg, request)
    assert (message["flags"], message["change"]) == (rtnetlink.IFF_UP, rtnetlink.IFF_UP)
    assert message.get_attr("IFLA_MASTER") == 7
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "02:42:ac:11:00:02"
    assert peer.get_attr("IFLA_NET_NS_FD") == 42


def test_link_changes() -> None:
    message = oracle(ifinfmsg, rtnetlink.link_set(5, up=False, alias="wherryd /x", mtu=9000, name="new"))
    assert (message["index"], message["flags"], message["change"]) == (5, 0, rtnetlink.IFF_UP)
    assert message.get_attr("IFLA_IFALIAS") == "wherryd /x"
    assert message.get_attr("IFLA_IFNAME") == "new"
    untouched = oracle(ifinfmsg, rtnetlink.link_set("eth0", link_local=False))
    assert (untouched["index"], untouched["flags"], untouched["change"]) == (0, 0, 0)
    assert untouched.get_attr("IFLA_AF_SPEC").get_attr("AF_INET6").get_attr("IFLA_INET6_ADDR_GEN_MODE") == 1


def test_bridge_port() -> None:
    message = oracle(ifinfmsg, rtnetlink.bridge_port_set("veth1", hairpin=True, isolated=True))
    port = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_SLAVE_DATA")
    assert (port.get_attr("IFLA_BRPORT_MODE"), port.get_attr("IFLA_BRPORT_ISOLATED")) == (1, 1)


def test_addresses() -> None:
    message = oracle(ifaddrmsg, rtnetlink.address_add(3, "172.17.0.2", 16))
    assert (message["family"], message["prefixlen"], message["index"]) == (2, 16, 3)
    assert message.get_attr("IFA_LOCAL") == "172.17.0.2"
    assert message.get_attr("IFA_BROADCAST") == "172.17.255.255"
    point = oracle(ifaddrmsg, rtnetlink.address_add(3, "10.0.0.1", 31))
    assert point.get_attr("IFA_BROADCAST") is None
    six = oracle(ifaddrmsg, rtnetlink.address_add(3, "fd00::2", 64))
    assert (six["family"], six["flags"], six.get_attr("IFA_ADDRESS")) == (10, rtnetlink.IFA_F_NODAD, "fd00::2")


def test_routes() -> None:
    default = oracle(rtmsg, rtnetlink.route_add("172.17.0.1", 2))
    assert (default["dst_len"], default.get_attr("RTA_GATEWAY"), default.get_attr("RTA_OIF")) == (0, "172.17.0.1", 2)
    assert default["header"]["flags"] & netlink.NLM_F_EXCL
    replaced = oracle(rtmsg, rtnetlink.route_add("172.17.0.1", 2, "10.0.0.0", 8, replace=True))
    assert replaced["header"]["flags"] & netlink.NLM_F_REPLACE
    assert (replaced.get_attr("RTA_DST"), replaced["dst_len"]) == ("10.0.0.0", 8)


def test_a_neighbour_is_forgotten() -> None:
    message = oracle(ndmsg, rtnetlink.neighbour_delete(4, "172.17.0.2"))
    assert (message["header"]["type"], message["ifindex"], message.get_attr("NDA_DST")) == (rtnetlink.RTM_DELNEIGH, 4, "172.17.0.2")


@pytest.mark.parametrize("mac", ["", "02:42", "zz:42:ac:11:00:02", "02:42:ac:11:00:02:03"])
def test_mac_addresses_that_are_none(mac: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (either of two)
        rtnetlink.mac_bytes(mac)


def test_lists_of_this_host_agree_with_pyroute2() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as theirs, netlink.Socket.open() as ours:
        expected = {(link["index"], link.get_attr("IFLA_IFNAME"), link.get_attr("IFLA_MTU")) for link in theirs.get_links()}
        assert {(link.index, link.name, link.mtu) for link in rtnetlink.links(ours)} == expected
        addresses = {(one["index"], one.get_attr("IFA_LOCAL") or one.get_attr("IFA_ADDRESS"), one["prefixlen"])
                     for one in theirs.get_addr()}
        assert {(one.index, one.address, one.prefix_length) for one in rtnetlink.addresses(ours)} == addresses
        assert rtnetlink.link(ours, "lo") is not None
        assert rtnetlink.link(ours, "no-such-link") is None
