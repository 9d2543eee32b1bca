"""The words that creator and init exchange: one message per step, see the chart in `container`.

A message is one byte that names the step and, after it, JSON where the step carries something.
"""

from __future__ import annotations

import os

from wherry.linux import unixsocket
from wherry.oci import jsontext
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable

MAPPED = b"M"  # to the init: the id maps are written
NETWORK = b"N"  # to the creator: a NETLINK_ROUTE socket of the new network namespace
JOINED = b"J"  # to the init: it is in its cgroups
MOUNTED = b"m"  # to the creator: the rootfs stands, hooks may run
HOOKS_RAN = b"H"  # to the init
READY = b"R"  # to the creator: only `start` is missing; with the terminal's master
START = b"S"  # to the init
GO = b"G"  # to a process between caller and container: it is in its cgroups
PARKED = b"K"  # to the creator: the slot is ready
TAKE = b"T"  # to a slot: a request and its config; with the init's channel and the program's stdio
PLANNED = b"Q"  # to the creator: what it has to do for this container, see `slot`; nothing but the word: the plan does not fit
SOURCES = b"O"  # to a slot: the lock that says «waiting», the mounts that the plan names, and on v2 the cgroup to be cloned into
PID = b"P"  # a process between creator and init tells the pid, with a pidfd
HOP_PID = b"p"  # the same from a last hop: eight bytes, little-endian, and no pidfd
LISTENER = b"L"  # to the creator: the number, in decimal, that a listener of seccomp will have in the process that says so
TAKEN = b"t"  # to that process: it may go on
FAILED = b"F"  # to the creator: exit code and message


def tell(connection: _socket.socket, word: bytes, descriptors: Iterable[int] = ()) -> None:
    """Sends a step. The other side may be gone: OSError (EPIPE)."""
    unixsocket.send(connection, word, descriptors)


def tell_init(connection: _socket.socket, word: bytes) -> None:
    """Sends a step from the creator's side. When the init is gone, StartFailed with the reason that it left."""
    try:
        unixsocket.send(connection, word)
    except OSError as gone:
        while data := _receive_word(connection):
            if data[:1] == FAILED:
                raise failure(data) from gone
        raise StartFailed("unable to start container process: the init ended before it was ready") from gone


def _receive_word(connection: _socket.socket) -> bytes:
    """The next message, of which nobody wants the descriptors."""
    data, descriptors = receive(connection)
    for fd in descriptors:
        os.close(fd)
    return data


def tell_failure(connection: _socket.socket, exit_code: int, message: str) -> None:
    """Says why there will be no program; best effort, the other side may be gone."""
    text = FAILED + jsontext.dumps({"exit_code": exit_code, "message": message[:30000]}).encode("utf-8", "surrogateescape")
    try:
        unixsocket.send(connection, text)
    except OSError:
        pass


def receive(connection: _socket.socket) -> tuple[bytes, list[int]]:
    """The next message and its descriptors; b"" at the end.

    When the other side ended with words of ours unread, the kernel says ECONNRESET once, before what it had said itself.
    """
    try:
        return unixsocket.receive(connection)
    except ConnectionResetError:
        return unixsocket.receive(connection)


def expect(connection: _socket.socket, word: bytes, gone: str) -> list[int]:
    """Waits for a step and returns its descriptors. StartFailed for FAILED, and with `gone` at the end of the stream."""
    return hear(connection, word, gone)[1]


def hear(connection: _socket.socket, word: bytes, gone: str) -> tuple[bytes, list[int]]:
    """As `expect`, with the whole message."""
    data, descriptors = receive(connection)
    if data[:1] == FAILED:
        raise failure(data)
    if data[:1] != word:
        for fd in descriptors:
            os.close(fd)
        raise StartFailed(f"unable to start container process: {gone}" if not data else f"unexpected message {data!r}")
    return data, descriptors


def failure(data: bytes) -> StartFailed:
    """The error that a FAILED message carries."""
    document = jsontext.loads(data[1:])
    return StartFailed(str(document["message"]), int(document["exit_code"]))
