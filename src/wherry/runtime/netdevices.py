"""«linux.netDevices»: interfaces of the host that the container gets, with their addresses. runtime-spec 1.3, «Network Devices».

The kernel drops the addresses of an interface that changes its namespace; those of global scope are given back. When the
container's namespace ends, hardware goes back to the host's, what is virtual ends with it.
"""

from __future__ import annotations

import os

from wherry.errors import describe
from wherry.linux import namespace, rtnetlink
from wherry.linux.netlink import Socket
from wherry.runtime.container import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_START = "unable to start container process: "
_EVERYWHERE = 0  # RT_SCOPE_UNIVERSE


def move(devices: Mapping[str, str], pid: int, inside_fd: int) -> None:
    """Moves each interface to the network namespace of a process, by its new name, and brings it up there.

    `inside_fd` is a NETLINK_ROUTE socket of that namespace. StartFailed names the interface.
    """
    target = namespace.open_namespace(f"/proc/{pid}/ns/net")
    try:
        with Socket.open() as outside, Socket.adopt(inside_fd) as inside:
            for name, new_name in devices.items():
                try:
                    _move(name, new_name, target, outside, inside)
                except OSError as error:
                    reason = describe(error)
                    raise StartFailed(f"{_START}moving network device {name!r} to the container: {reason}") from error
    finally:
        os.close(target)


def _move(name: str, new_name: str, target: int, outside: Socket, inside: Socket) -> None:
    found = rtnetlink.link(outside, name)
    if found is None:
        raise StartFailed(f"{_START}network device {name!r} not found")
    if rtnetlink.link(inside, new_name) is not None:
        raise StartFailed(f"{_START}there is a network device {new_name!r} in the container already")
    kept = [one for one in rtnetlink.addresses(outside) if one.index == found.index and one.scope == _EVERYWHERE]
    outside.run(rtnetlink.link_set(found.index, name=new_name, namespace_fd=target))
    moved = rtnetlink.link(inside, new_name)
    assert moved is not None
    inside.run(*(rtnetlink.address_add(moved.index, one.address, one.prefix_length) for one in kept))
    inside.run(rtnetlink.link_set(moved.index, up=True))
