"""What wherryd and `wherry-proxy` say to each other: one JSON object per SOCK_SEQPACKET message, descriptors beside it.

    wherryd                                            wherry-proxy
       ├─ {"do": "ports", "entries": [Port…]}, [fds] ────►│  serves, or only holds, one socket each
       ├─ {"do": "close-ports", "owners": […]} ──────────►│
       ├─ {"do": "dns", "entry": Dns}, [udp, tcp] ───────►│  without descriptors: changes networks and servers
       ├─ {"do": "close-dns", "containers": […]} ────────►│
       ├─ {"do": "names", "put": [Known…], "remove": [[network, endpoint]…]} ►│
       ├─ {"do": "list"} ────────────────────────────────►│  {"owners", "containers", "names"}: for a wherryd that restarted
       ├─ {"do": "stop"} ────────────────────────────────►│  ends
       │◄─ {"ok": true, …} or {"error": "…"} ─────────────┤  to each, in order

The proxy keeps everything it was given when a connection closes: it outlives wherryd.
"""

from __future__ import annotations

from wherry.oci.jsontext import dumps, loads
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_MESSAGE = 1 << 20
MAX_PORTS = 128  # entries of one message, below the kernel's limit for descriptors


class Port(Record):
    """A socket for an owner (an endpoint). `serve` False: it only keeps the port from being taken."""

    owner: str
    protocol: str
    address: str
    port: int
    serve: bool = True


class Dns(Record):
    """The DNS of a container: whose names it sees, and who is asked for others (None, in a change: as before).

    `links`: (network, alias, name), names of others on a network that it alone uses.
    """

    container: str
    networks: tuple[str, ...]
    servers: tuple[str, ...] | None
    links: tuple[tuple[str, str, str], ...] = ()


class Known(Record):
    """An endpoint with its names on a network."""

    network: str
    network_name: str
    endpoint: str
    name: str
    names: tuple[str, ...]
    address: str
    ipv6_address: str = ""


def encode(message: dict[str, Any]) -> bytes:
    """A message as bytes; records in it become objects."""
    return dumps(_plain(message)).encode()


def decode(data: bytes) -> dict[str, Any]:
    """A message. Raises ValueError."""
    message = loads(data)
    if not isinstance(message, dict):
        raise ValueError("a message is a JSON object")
    return message


def record(kind: type[Record], data: dict[str, Any]) -> Any:
    """A record out of a message. Raises TypeError for missing or unknown fields."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return _plain(value.as_dict())
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    return value
