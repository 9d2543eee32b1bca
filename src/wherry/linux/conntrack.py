"""The kernel's table of connections, by NETLINK_NETFILTER: find entries and forget them.

A UDP flow that began before a port was published, or goes on after it was taken back, keeps the way it once had, because
translation is decided by a flow's first packet. So the entries must go when the rules change.
"""

from __future__ import annotations

import _socket
import errno
import struct

from wherry.linux.netlink import NLA_F_NESTED, Request, Socket, attribute, attributes
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_NFNL_SUBSYS_CTNETLINK: Final = 1
_IPCTNL_MSG_CT_GET: Final = 1
_IPCTNL_MSG_CT_DELETE: Final = 2
_CTA_TUPLE_ORIG: Final = 1
_CTA_TUPLE_REPLY: Final = 2
_CTA_TUPLE_IP: Final = 1
_CTA_TUPLE_PROTO: Final = 2
_CTA_IP_SOURCES: Final = (1, 3)  # of IPv4, of IPv6
_CTA_IP_DESTINATIONS: Final = (2, 4)
_CTA_PROTO_NUM: Final = 1
_CTA_PROTO_SRC_PORT: Final = 2
_CTA_PROTO_DST_PORT: Final = 3
_FAMILIES: Final = (_socket.AF_INET, _socket.AF_INET6)


class Flow(Record):
    """One entry: how the first packet came, and where answers come from (that is, where it was sent)."""

    protocol: int
    source: str
    destination: str
    source_port: int
    destination_port: int
    reply_source: str
    reply_source_port: int


def delete_flows(socket: Socket, wanted: Callable[[Flow], bool]) -> int:
    """Forgets the flows that are wanted gone; how many. `socket` is of NETLINK_NETFILTER."""
    return sum(_delete_flows(socket, wanted, bytes((family, 0, 0, 0))) for family in _FAMILIES)


def _delete_flows(socket: Socket, wanted: Callable[[Flow], bool], nfgenmsg: bytes) -> int:
    """Of one IP version; `nfgenmsg` is its number, version 0, resource 0."""
    request = Request(kind=_NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_GET, flags=0, body=nfgenmsg, subject="list connections")
    count = 0
    for message in socket.dump(request):
        fields = attributes(message.body[4:])
        original = fields.get(_CTA_TUPLE_ORIG, b"")
        flow = _flow(original, fields.get(_CTA_TUPLE_REPLY, b""))
        if flow is None or not wanted(flow):
            continue
        delete = Request(kind=_NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_DELETE, flags=0,
                         body=nfgenmsg + attribute(_CTA_TUPLE_ORIG | NLA_F_NESTED, original),
                         subject=f"delete connection {flow.source} to {flow.destination}:{flow.destination_port}")
        try:
            socket.run(delete)
            count += 1
        except OSError as error:
            if error.errno != errno.ENOENT:  # it timed out meanwhile
                raise
    return count


def _flow(original: bytes, reply: bytes) -> Flow | None:
    source, destination, protocol, source_port, destination_port = _tuple(original)
    reply_source, _, _, reply_source_port, _ = _tuple(reply)
    if not source or not reply_source:
        return None
    return Flow(protocol=protocol, source=source, destination=destination, source_port=source_port,
                destination_port=destination_port, reply_source=reply_source, reply_source_port=reply_source_port)


def _tuple(payload: bytes) -> tuple[str, str, int, int, int]:
    parts = attributes(payload)
    addresses = attributes(parts.get(_CTA_TUPLE_IP, b""))
    ports = attributes(parts.get(_CTA_TUPLE_PROTO, b""))
    source, destination = (next((addresses[kind] for kind in kinds if kind in addresses), b"")
                           for kinds in (_CTA_IP_SOURCES, _CTA_IP_DESTINATIONS))
    if not source or not destination:
        return "", "", 0, 0, 0
    return (
        _address(source),
        _address(destination),
        ports.get(_CTA_PROTO_NUM, b"\0")[0],
        _port(ports.get(_CTA_PROTO_SRC_PORT)),
        _port(ports.get(_CTA_PROTO_DST_PORT)),
    )


def _address(packed: bytes) -> str:
    return _socket.inet_ntop(_socket.AF_INET if len(packed) == 4 else _socket.AF_INET6, packed)


def _port(packed: bytes | None) -> int:
    return int(struct.unpack("!H", packed)[0]) if packed and len(packed) == 2 else 0
