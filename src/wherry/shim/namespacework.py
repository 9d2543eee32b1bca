"""Work inside a container's namespaces, each in a child of the zygote that does just this and ends.

The daemon has threads, and a process with threads cannot enter mount or user namespaces (setns(2)); nor should one that holds the
daemon's descriptors and memory. The child is not dumpable before it enters, so the container's processes cannot look into it.
"""

from __future__ import annotations

import _socket

from wherry.errors import InvalidArgument
from wherry.linux import namespace, process
from wherry.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.shim.protocol import NetnsRequest


def network(body: dict[str, Any], fds: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Opens the sockets and applies the rules of a NetnsRequest; the answer and the sockets' descriptors."""
    request = protocol.read_netns(body)
    process.set_dumpable(False)
    namespace.setns(fds[0], namespace.CLONE_NEWNET)
    made = tuple(_open(one) for one in request.sockets)
    if request.nft:
        from wherry.linux.nftables import Nftables

        with Nftables.open() as nft:
            nft.apply(rules(request, tuple(_port(one) for one in made)))
    return {"sockets": len(made)}, tuple(one.detach() for one in made)


def rules(request: NetnsRequest, ports: tuple[int, ...]) -> str:
    """The request's nft text with its ports as nft's own variables before it."""
    return "".join(f"define port{number} = {port}\n" for number, port in enumerate(ports)) + request.nft


def _open(request: protocol.SocketRequest) -> _socket.socket:
    made = _socket.socket(request.family, request.kind | _socket.SOCK_CLOEXEC, request.protocol)
    if request.address is not None:
        try:
            made.bind(request.address)
        except OSError as error:
            raise OSError(error.errno, f"bind {request.address[0]}:{request.address[1]}: {error.strerror}") from error
    if request.backlog:
        made.listen(request.backlog)
    return made


def _port(made: _socket.socket) -> int:
    return int(made.getsockname()[1]) if made.family in (_socket.AF_INET, _socket.AF_INET6) else 0


def work(body: dict[str, Any], fds: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The answer to a message and the descriptors that go with it. Raises InvalidArgument for work that nobody does."""
    if body["do"] == "netns":
        return network(body, fds)
    raise InvalidArgument(f"{body['do']!r} is not part of the zygote's protocol")
