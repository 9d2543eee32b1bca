"""Netlink as bytes and as a socket: messages, attributes, acknowledgements, dumps. Families are next door.

A message is a header and a body; the body is a fixed struct of its family and attributes behind it (netlink(7)):

    struct nlmsghdr { u32 len; u16 type; u16 flags; u32 seq; u32 pid; }     everything aligned to 4 bytes
    struct nlattr   { u16 len; u16 type; }  payload                         nested attributes are a payload of attributes

Several requests go in one datagram. The kernel works through all of them, also after one has failed, and answers each
failure; only the last is asked for an acknowledgement. So a batch saves system calls but is not atomic.
"""

from __future__ import annotations

import _socket
import os
import struct

from wherry import trace
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final, Self

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

NLM_F_REQUEST: Final = 0x1
NLM_F_ACK: Final = 0x4
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_REPLACE: Final = 0x100
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400
NLM_F_DUMP: Final = 0x300

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3

NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF

NLMSGERR_ATTR_MSG: Final = 1

_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_NETLINK_CAP_ACK: Final = 10
_NETLINK_EXT_ACK: Final = 11
_SOCK_CLOEXEC: Final = 0o2000000
_RECEIVE_BYTES: Final = 1 << 16
_DUMP_ATTEMPTS: Final = 20

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


class Request(Record):
    """One message to be sent. `subject` says in an error or a trace what was tried: `link veth12 add`."""

    kind: int
    flags: int
    body: bytes
    subject: str


class Message(Record):
    """One message that came. `body` is without the header."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded. Raises ValueError when the payload does not fit its 16-bit length."""
    length = len(payload) + 4
    if length > 0xFFFF:
        raise ValueError(f"netlink attribute {kind}: {len(payload)} bytes do not fit")
    return _ATTRIBUTE.pack(length, kind) + payload + _PADDING[length & 3]


def nested(kind: int, *inner: bytes) -> bytes:
    """An attribute whose payload is attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(inner))


def u32(kind: int, value: int) -> bytes:
    """An attribute with a number of the machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


def u8(kind: int, value: int) -> bytes:
    """An attribute with a byte."""
    return attribute(kind, bytes((value,)))


def text(kind: int, value: str) -> bytes:
    """An attribute with a terminated string."""
    return attribute(kind, value.encode() + b"\0")


def attributes(payload: bytes) -> dict[int, bytes]:
    """The attributes in a payload by type, flags taken off; of several with one type the last. Raises ValueError."""
    return dict(each_attribute(payload))


def each_attribute(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in a payload in order, also several of one type. Raises ValueError for lengths that lie."""
    at, end = 0, len(payload)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        if length < 4 or at + length > end:
            raise ValueError(f"netlink attribute of {length} bytes where {end - at} are left")
        yield kind & NLA_TYPE_MASK, payload[at + 4 : at + length]
        at += (length + 3) & ~3


def encode(request: Request, sequence: int, extra_flags: int = 0) -> bytes:
    """A request as bytes, padded."""
    length = _HEADER.size + len(request.body)
    flags = request.flags | extra_flags | NLM_F_REQUEST
    return _HEADER.pack(length, request.kind, flags, sequence, 0) + request.body + _PADDING[length & 3]


def decode(datagram: bytes) -> Iterator[Message]:
    """The messages of a datagram. Raises ValueError for lengths that lie."""
    at, end = 0, len(datagram)
    while at + _HEADER.size <= end:
        length, kind, flags, sequence, port = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size or at + length > end:
            raise ValueError(f"netlink message of {length} bytes where {end - at} are left")
        yield Message(kind=kind, flags=flags, sequence=sequence, port=port, body=datagram[at + 16 : at + length])
        at += (length + 3) & ~3


def failure(message: Message, subject: str) -> OSError | None:
    """What an NLMSG_ERROR says: None for an acknowledgement, otherwise the error with the kernel's own words, if any."""
    (code,) = struct.unpack_from("=i", message.body)
    if code == 0:
        return None
    words = ""
    if message.flags & NLM_F_ACK_TLVS:
        (echoed,) = struct.unpack_from("=I", message.body, 4)
        start = 4 + (_HEADER.size if message.flags & NLM_F_CAPPED else (echoed + 3) & ~3)
        words = attributes(message.body[start:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    reason = os.strerror(-code)
    return OSError(-code, f"netlink: {subject}: {reason}" + (f" ({words})" if words else ""))


class Socket:
    """A netlink socket of one family. Not thread-safe; close it, or use it with `with`."""

    def __init__(self, sock: _socket.socket) -> None:
        """Takes an open socket over. For descriptors of others see `adopt`."""
        self._socket = sock
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            sock.setsockopt(_SOL_NETLINK, option, 1)

    @classmethod
    def open(cls, protocol: int = NETLINK_ROUTE, groups: tuple[int, ...] = ()) -> Self:
        """A new socket in the caller's network namespace, member of multicast groups (by number, not mask)."""
        sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _SOCK_CLOEXEC, protocol)
        try:
            sock.bind((0, 0))
            for group in groups:
                sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
            return cls(sock)
        except BaseException:
            sock.close()
            raise

    @classmethod
    def adopt(cls, fd: int, protocol: int = NETLINK_ROUTE) -> Self:
        """A socket that somebody opened, in whatever namespace: its descriptor is copied, the caller keeps its own."""
        copy = os.dup(fd)
        return cls(_socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, protocol, copy))

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._socket.fileno()

    def run(self, *requests: Request) -> None:
        """Sends requests as one datagram and waits until the kernel is through with all of them.

        Raises OSError for the first that failed; the others were tried nevertheless.
        """
        if not requests:
            return
        first = self._sequence + 1
        datagram = b""
        for request in requests:
            self._sequence += 1
            last = self._sequence - first == len(requests) - 1
            trace.step("netlink", request.subject)
            datagram += encode(request, self._sequence, NLM_F_ACK if last else 0)
        self._socket.send(datagram)
        first_failure: OSError | None = None
        while True:
            for message in decode(self._socket.recv(_RECEIVE_BYTES)):
                number = message.sequence - first
                if message.kind != NLMSG_ERROR or not 0 <= number < len(requests):
                    continue  # an answer to somebody before us, who did not wait for it
                first_failure = first_failure or failure(message, requests[number].subject)
                if message.sequence == self._sequence:
                    if first_failure:
                        raise first_failure
                    return

    def dump(self, request: Request) -> list[Message]:
        """All answers to a dump. A dump that changes of others interrupted is asked for again, up to 20 times."""
        for _ in range(_DUMP_ATTEMPTS):
            found = self._dump_once(request)
            if found is not None:
                return found
        raise OSError(4, f"netlink: {request.subject}: the list changed {_DUMP_ATTEMPTS} times while it was read")

    def _dump_once(self, request: Request) -> list[Message] | None:
        self._sequence += 1
        trace.step("netlink", request.subject)
        self._socket.send(encode(request, self._sequence, NLM_F_DUMP))
        found: list[Message] = []
        interrupted = False
        while True:
            for message in decode(self._socket.recv(_RECEIVE_BYTES)):
                if message.sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind == NLMSG_ERROR:
                    problem = failure(message, request.subject)
                    if problem:
                        raise problem
                elif message.kind == NLMSG_DONE:
                    if len(message.body) >= 4 and struct.unpack_from("=i", message.body)[0] < 0:
                        code = -struct.unpack_from("=i", message.body)[0]
                        raise OSError(code, f"netlink: {request.subject}: {os.strerror(code)}")
                    return None if interrupted else found
                else:
                    found.append(message)

    def get(self, request: Request) -> Message:
        """The one answer to a request that is not a dump. Raises OSError (ENODEV, ENOENT …)."""
        self._sequence += 1
        trace.step("netlink", request.subject)
        self._socket.send(encode(request, self._sequence))
        while True:
            for message in decode(self._socket.recv(_RECEIVE_BYTES)):
                if message.sequence != self._sequence:
                    continue
                if message.kind == NLMSG_ERROR:
                    problem = failure(message, request.subject)
                    if problem:
                        raise problem
                    continue
                return message

    def receive(self) -> list[Message]:
        """What came by multicast; waits for it. Raises OSError ENOBUFS when messages were lost."""
        return list(decode(self._socket.recv(_RECEIVE_BYTES)))
