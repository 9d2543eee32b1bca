"""A shim that waits for its container, with a slot of the runtime below it (`wherry.runtime.slot`).

    wherryd ── park ───────────────────► zygote ── fork ──► this process: makes a slot
            ◀── {"re": 0}, or an error ────────────────────  waits
            ── launch, on the same socket ────────────────►  is the shim of that container, as any other from here on (shim.py)

Until then it holds nothing of any container. It ends with its socket, and the slot with it.
"""

from __future__ import annotations

import _signal

from wherry.linux import process, unixsocket
from wherry.runtime import slot
from wherry.shim import packets, protocol, shim

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

    from wherry.shim.protocol import ParkRequest

_SIGCHLD = 17


def run(request: ParkRequest, connection: _socket.socket) -> int:
    """The life of it, in a fresh fork of the zygote; the exit status."""
    process.set_title("wherry-slot")
    _signal.signal(_SIGCHLD, 0)  # the helper is to be reaped
    parked = slot.park(request.config, request.cgroup_parent, request.seccomp_cache)
    launch, fds = _wait(parked, connection)
    if not launch:
        parked.close()
        return 0
    body, raw = protocol.unpack(launch)
    return shim.run(protocol.read_launch(body, raw, tuple(fds)), connection, parked)


def _wait(parked: slot.Slot, connection: _socket.socket) -> tuple[bytes, list[int]]:
    """Says when the slot can be taken, and waits for the launch message and its descriptors; b"" when none will come."""
    answer: dict[str, Any] = {"re": 0}
    try:
        parked.wait_parked()
    except Exception as error:  # noqa: BLE001 (the boundary of a request: who asked is told)
        answer["error"] = protocol.error_body(error)
    try:
        unixsocket.send(connection, protocol.pack(answer))
        return packets.receive(connection) if "error" not in answer else (b"", [])
    except OSError:  # nobody is there any more
        return b"", []
