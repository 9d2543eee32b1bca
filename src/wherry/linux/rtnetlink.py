"""Links, addresses and routes by NETLINK_ROUTE (rtnetlink(7)): requests as values, answers as values.

Functions that begin with a noun make a `Request` and touch nothing, so that a plan can be a tuple of them; a `Socket` runs
them. Functions that take a socket first ask or wait.

    struct ifinfomsg { u8 family, pad; u16 type; s32 index; u32 flags, change; }
    struct ifaddrmsg { u8 family, prefixlen, flags, scope; u32 index; }
    struct rtmsg     { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags; }
    struct ndmsg     { u8 family, pad; u16 pad; s32 index; u16 state; u8 flags, type; }
"""

from __future__ import annotations

import _socket
import errno
import select
import struct
import time

from wherry.linux.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Request,
    Socket,
    attribute,
    attributes,
    nested,
    text,
    u8,
    u32,
)
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final, Self

    from wherry.linux.netlink import Message

AF_UNSPEC: Final = 0
AF_INET: Final = 2
AF_INET6: Final = 10

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_GETROUTE: Final = 26
RTM_DELNEIGH: Final = 29

RTNLGRP_LINK: Final = 1

IFF_UP: Final = 0x1
IF_OPER_UP: Final = 6

IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_LINK: Final = 5
IFLA_MASTER: Final = 10
IFLA_OPERSTATE: Final = 16
IFLA_LINKINFO: Final = 18
IFLA_IFALIAS: Final = 20
IFLA_AF_SPEC: Final = 26
IFLA_NET_NS_FD: Final = 28
IFLA_EXT_MASK: Final = 29
RTEXT_FILTER_SKIP_STATS: Final = 8
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
IFLA_INFO_SLAVE_KIND: Final = 4
IFLA_INFO_SLAVE_DATA: Final = 5
IFLA_BRPORT_MODE: Final = 4
IFLA_BRPORT_ISOLATED: Final = 33
IFLA_INET6_ADDR_GEN_MODE: Final = 8
IN6_ADDR_GEN_MODE_NONE: Final = 1
VETH_INFO_PEER: Final = 1

IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_BROADCAST: Final = 4
IFA_F_NODAD: Final = 0x02

RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_TABLE: Final = 15
RT_TABLE_MAIN: Final = 254
RTPROT_BOOT: Final = 3
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RTN_UNICAST: Final = 1

NDA_DST: Final = 1

_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR: Final = struct.Struct("=BxHiHBB")


class Link(Record):
    """A network interface. `kind` is the driver's name (bridge, veth, empty for a device); `address` the MAC in text."""

    index: int
    name: str
    kind: str = ""
    flags: int = 0
    mtu: int = 0
    address: str = ""
    master: int = 0
    peer: int = 0
    """The index of a veth's other end, in whatever namespace that is."""
    operstate: int = 0
    alias: str = ""

    @property
    def is_up(self) -> bool:
        """Set up by the administrator; whether packets flow is the operational state's business."""
        return bool(self.flags & IFF_UP)


class Address(Record):
    """An address of an interface."""

    index: int
    family: int
    address: str
    prefix_length: int
    scope: int = 0


class Route(Record):
    """A route. `destination` is "" for the default route."""

    family: int
    destination: str
    prefix_length: int
    gateway: str = ""
    index: int = 0
    table: int = RT_TABLE_MAIN
    kind: int = RTN_UNICAST


# --- links ---


def bridge_add(name: str, mac: str, mtu: int = 0) -> Request:
    """A bridge, still down. Fails with EEXIST when the name is taken."""
    body = _link() + text(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, mac_bytes(mac))
    body += u32(IFLA_MTU, mtu) if mtu else b""
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))
    return Request(kind=RTM_NEWLINK, flags=NLM_F_CREATE | NLM_F_EXCL, body=body, subject=f"add bridge {name}")


def veth_add(
    name: str, *, master: int, mtu: int, peer_name: str, peer_mac: str, peer_netns_fd: int
) -> Request:
    """A veth whose peer is born inside another namespace, and whose own end is a port of a bridge and up.

    Moving the peer there afterwards would cost the kernel ten milliseconds and more. The peer's index is the kernel's
    choice: it minds a wanted one only where an index is wanted for the host's end as well (veth_newlink).
    """
    peer = _link() + text(IFLA_IFNAME, peer_name) + attribute(IFLA_ADDRESS, mac_bytes(peer_mac)) + u32(IFLA_MTU, mtu)
    peer += u32(IFLA_NET_NS_FD, peer_netns_fd)
    body = _link(flags=IFF_UP, change=IFF_UP) + text(IFLA_IFNAME, name) + u32(IFLA_MTU, mtu)
    body += u32(IFLA_MASTER, master) if master else b""
    info = nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth"), info)
    return Request(
        kind=RTM_NEWLINK, flags=NLM_F_CREATE | NLM_F_EXCL, body=body, subject=f"add veth {name} with peer {peer_name}"
    )


def link_set(
    link: int | str,
    *,
    up: bool | None = None,
    alias: str | None = None,
    mac: str = "",
    mtu: int = 0,
    master: int | None = None,
    name: str = "",
    link_local: bool = True,
    namespace_fd: int = -1,
) -> Request:
    """Changes an existing link, named by index or name. `link_local` False: no IPv6 address by itself when it goes up.

    `namespace_fd` ≥ 0: it goes to that network namespace.
    """
    flags = 0 if up is None else (IFF_UP if up else 0)
    body = _link(index=link if isinstance(link, int) else 0, flags=flags, change=0 if up is None else IFF_UP)
    if isinstance(link, str):
        body += text(IFLA_IFNAME, link)
    elif name:
        body += text(IFLA_IFNAME, name)
    body += attribute(IFLA_IFALIAS, alias.encode()) if alias is not None else b""
    body += attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
    body += u32(IFLA_MTU, mtu) if mtu else b""
    body += u32(IFLA_MASTER, master) if master is not None else b""
    body += u32(IFLA_NET_NS_FD, namespace_fd) if namespace_fd >= 0 else b""
    if not link_local:
        body += nested(IFLA_AF_SPEC, nested(AF_INET6, u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)))
    what = "" if up is None else (" up" if up else " down")
    return Request(kind=RTM_NEWLINK, flags=0, body=body, subject=f"set link {link}{what}")


def bridge_port_set(link: str, *, hairpin: bool = False, isolated: bool = False) -> Request:
    """How a bridge treats one of its ports. `isolated` ports reach the bridge itself but not each other."""
    port = u8(IFLA_BRPORT_MODE, hairpin) + u8(IFLA_BRPORT_ISOLATED, isolated)
    body = _link() + text(IFLA_IFNAME, link)
    body += nested(IFLA_LINKINFO, text(IFLA_INFO_SLAVE_KIND, "bridge"), nested(IFLA_INFO_SLAVE_DATA, port))
    return Request(kind=RTM_NEWLINK, flags=0, body=body, subject=f"set bridge port {link}")


def link_delete(link: int | str) -> Request:
    """Removes a link; of a veth both ends. Takes the kernel ten milliseconds and more for a veth."""
    body = _link(index=link if isinstance(link, int) else 0)
    body += text(IFLA_IFNAME, link) if isinstance(link, str) else b""
    return Request(kind=RTM_DELLINK, flags=0, body=body, subject=f"delete link {link}")


def links(socket: Socket) -> list[Link]:
    """All links of the socket's namespace."""
    body = _link() + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    request = Request(kind=RTM_GETLINK, flags=0, body=body, subject="list links")
    return [_parse_link(message) for message in socket.dump(request)]


def link(socket: Socket, name: str) -> Link | None:
    """The link of that name, or None."""
    # Without the counters the answer is a third of the size.
    body = _link() + text(IFLA_IFNAME, name) + u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
    request = Request(kind=RTM_GETLINK, flags=0, body=body, subject=f"find link {name}")
    try:
        return _parse_link(socket.get(request))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


class LinkWatch:
    """Waits until links carry packets. Open it before the links are made or changed, so that no notice is missed."""

    def __init__(self) -> None:
        """Joins the namespace's notices about links."""
        self._socket = Socket.open(groups=(RTNLGRP_LINK,))
        self._ask = Socket.open()

    def close(self) -> None:
        """Leaves."""
        self._socket.close()
        self._ask.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def wait_operational(self, names: Iterable[str], timeout_s: float) -> bool:
        """Whether all links reached the operational state UP in time.

        A connection made earlier loses its first packet now and then, and waits a second for the next.
        """
        waiting = set(names)
        deadline = time.monotonic() + timeout_s
        self._drop_operational(waiting)
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while waiting:
            left_ms = int((deadline - time.monotonic()) * 1000)
            if left_ms <= 0 or not poll.poll(left_ms):
                return False
            try:
                notices = self._socket.receive()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                notices = []  # notices were lost: ask anew
                self._drop_operational(waiting)
            for notice in notices:
                if notice.kind == RTM_NEWLINK:
                    seen = _parse_link(notice)
                    if seen.operstate == IF_OPER_UP:
                        waiting.discard(seen.name)
        return True

    def _drop_operational(self, waiting: set[str]) -> None:
        for name in tuple(waiting):
            found = link(self._ask, name)
            if found and found.operstate == IF_OPER_UP:
                waiting.discard(name)


# --- addresses, routes, neighbours ---


def address_add(index: int, address: str, prefix_length: int, *, replace: bool = False) -> Request:
    """An address for an interface; IPv6 without duplicate address detection (the addresses are ours to give)."""
    family, packed = _packed(address)
    if family == AF_INET:
        body = _ADDRESS.pack(family, prefix_length, 0, RT_SCOPE_UNIVERSE, index)
        body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
        if prefix_length < 31:
            host_bits = (1 << (32 - prefix_length)) - 1
            body += attribute(IFA_BROADCAST, (int.from_bytes(packed, "big") | host_bits).to_bytes(4, "big"))
    else:
        body = _ADDRESS.pack(family, prefix_length, IFA_F_NODAD, RT_SCOPE_UNIVERSE, index)
        body += attribute(IFA_ADDRESS, packed)
    flags = NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL)
    return Request(kind=RTM_NEWADDR, flags=flags, body=body, subject=f"add address {address}/{prefix_length}")


def address_delete(index: int, address: str, prefix_length: int) -> Request:
    """Takes an address from an interface."""
    family, packed = _packed(address)
    body = _ADDRESS.pack(family, prefix_length, 0, 0, index)
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    return Request(kind=RTM_DELADDR, flags=0, body=body, subject=f"delete address {address}/{prefix_length}")


def addresses(socket: Socket) -> list[Address]:
    """All addresses of the socket's namespace."""
    request = Request(kind=RTM_GETADDR, flags=0, body=_ADDRESS.pack(0, 0, 0, 0, 0), subject="list addresses")
    found = []
    for message in socket.dump(request):
        family, prefix_length, _, scope, index = _ADDRESS.unpack_from(message.body)
        fields = attributes(message.body[_ADDRESS.size :])
        packed = fields.get(IFA_LOCAL) or fields.get(IFA_ADDRESS)
        if family in (AF_INET, AF_INET6) and packed:
            found.append(Address(index=index, family=family, address=_socket.inet_ntop(family, packed),
                                 prefix_length=prefix_length, scope=scope))
    return found


def route_add(gateway: str, index: int, destination: str = "", prefix_length: int = 0, *, replace: bool = False) -> Request:
    """A route by a gateway; without a destination the default route. Fails with EEXIST unless `replace`."""
    family = _packed(gateway or destination)[0]
    scope = RT_SCOPE_UNIVERSE if gateway else RT_SCOPE_LINK
    body = _ROUTE.pack(family, prefix_length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    body += attribute(RTA_DST, _packed(destination)[1]) if destination else b""
    body += attribute(RTA_GATEWAY, _packed(gateway)[1]) if gateway else b""
    body += u32(RTA_OIF, index) if index else b""
    target = f"{destination}/{prefix_length}" if destination else "default"
    return Request(kind=RTM_NEWROUTE, flags=NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL), body=body,
                   subject=f"add route {target} via {gateway or index}")


def routes(socket: Socket) -> list[Route]:
    """All routes of all tables of the socket's namespace, IPv4 and IPv6."""
    request = Request(kind=RTM_GETROUTE, flags=0, body=_ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0), subject="list routes")
    found = []
    for message in socket.dump(request):
        family, prefix_length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message.body)
        if family not in (AF_INET, AF_INET6):
            continue
        fields = attributes(message.body[_ROUTE.size :])
        destination, gateway = fields.get(RTA_DST), fields.get(RTA_GATEWAY)
        found.append(Route(
            family=family,
            destination=_socket.inet_ntop(family, destination) if destination else "",
            prefix_length=prefix_length,
            gateway=_socket.inet_ntop(family, gateway) if gateway else "",
            index=_number(fields.get(RTA_OIF)),
            table=_number(fields.get(RTA_TABLE)) or table,
            kind=kind,
        ))
    return found


def neighbour_delete(index: int, address: str) -> Request:
    """Forgets who has an address. Fails with ENOENT when nobody was known."""
    family, packed = _packed(address)
    body = _NEIGHBOUR.pack(family, 0, index, 0, 0, 0) + attribute(NDA_DST, packed)
    return Request(kind=RTM_DELNEIGH, flags=0, body=body, subject=f"delete neighbour {address}")


def mac_bytes(mac: str) -> bytes:
    """A MAC address as six bytes. Raises ValueError."""
    packed = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    if len(packed) != 6:
        raise ValueError(f"invalid MAC address: {mac}")
    return packed


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return _LINK.pack(AF_UNSPEC, 0, index, flags, change)


def _packed(address: str) -> tuple[int, bytes]:
    family = AF_INET6 if ":" in address else AF_INET
    return family, _socket.inet_pton(family, address)


def _number(packed: bytes | None) -> int:
    return int(struct.unpack("=I", packed)[0]) if packed and len(packed) == 4 else 0


def _string(packed: bytes | None) -> str:
    return packed.rstrip(b"\0").decode(errors="replace") if packed else ""


def _parse_link(message: Message) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(message.body)
    fields = attributes(message.body[_LINK.size :])
    info = attributes(fields.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=_string(fields.get(IFLA_IFNAME)),
        kind=_string(info.get(IFLA_INFO_KIND)),
        flags=flags,
        mtu=_number(fields.get(IFLA_MTU)),
        address=":".join(f"{byte:02x}" for byte in fields.get(IFLA_ADDRESS, b"")),
        master=_number(fields.get(IFLA_MASTER)),
        peer=_number(fields.get(IFLA_LINK)),
        operstate=fields.get(IFLA_OPERSTATE, b"\0")[0],
        alias=_string(fields.get(IFLA_IFALIAS)),
    )
