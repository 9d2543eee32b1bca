"""`-p` and `--expose`: the grammar of ports and ranges."""

from __future__ import annotations

from wherry.cli.create.checks import is_address
from wherry.cli.values import unsigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Bindings = dict[str, list[dict[str, str]]]


def port_range(text: str) -> tuple[int, int]:
    """`80` or `80-90`. Raises ValueError with Go's words."""
    if not text:
        raise ValueError("empty string specified for ports")
    low, dash, high = text.partition("-")
    start = unsigned(low, 16, 10)
    end = unsigned(high, 16, 10) if dash else start
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def parse_publish(text: str) -> tuple[list[str], Bindings]:
    """One `-p`: the ports it exposes, and their bindings. Raises ValueError."""
    rest, slash, protocol = text.rpartition("/")
    if not slash:
        rest, protocol = text, "tcp"
    place, _, inner = rest.rpartition(":")
    address, _, outer = place.rpartition(":")
    if not inner:
        raise ValueError(f"no port specified: {text}<empty>")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if bare and not is_address(bare):
        raise ValueError(f"invalid IP address: {address}")
    try:
        start, end = port_range(inner)
    except ValueError:
        raise ValueError(f"invalid containerPort: {inner}") from None
    outer_start = outer_end = 0
    if outer:
        try:
            outer_start, outer_end = port_range(outer)
        except ValueError:
            raise ValueError(f"invalid hostPort: {outer}") from None
        if end - start != outer_end - outer_start and start != end:
            raise ValueError(f"invalid ranges specified for container and host Ports: {inner} and {outer}")
    if protocol.lower() not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {protocol}")
    ports, bindings = [], {}
    for number in range(start, end + 1):
        port = f"{number}/{protocol.lower()}"
        host = str(outer_start + number - start) if outer else ""
        if outer and start == end and outer_start != outer_end:
            host = f"{outer_start}-{outer_end}"
        ports.append(port)
        bindings[port] = [{"HostIp": bare, "HostPort": host}]
    return ports, bindings


def parse_long(text: str) -> str:
    """`target=80,published=8080,protocol=tcp` in the short grammar; other texts as they are. Raises ValueError."""
    if "=" not in text:
        return text
    from wherry.cli.values import csv_fields

    fields = dict(field.partition("=")[::2] for field in csv_fields(text))
    unknown = set(fields) - {"target", "published", "protocol", "mode"}
    if unknown:
        raise ValueError(f"invalid field key {min(unknown)}")
    if "target" not in fields:
        raise ValueError('missing mandatory field "target"')
    return f"{fields.get('published', '')}:{fields['target']}/{fields.get('protocol', 'tcp')}"


def published(values: Sequence[str]) -> tuple[dict[str, dict[str, str]], Bindings]:
    """(ExposedPorts, PortBindings) of all `-p`. Raises ValueError."""
    exposed: dict[str, dict[str, str]] = {}
    bindings: Bindings = {}
    for value in values:
        ports, found = parse_publish(parse_long(value))
        for port in ports:
            exposed[port] = {}
            bindings.setdefault(port, []).extend(found[port])
    return exposed, bindings


def expose(values: Sequence[str]) -> dict[str, dict[str, str]]:
    """ExposedPorts of all `--expose`. Raises ValueError."""
    exposed: dict[str, dict[str, str]] = {}
    for value in values:
        if ":" in value:
            raise ValueError(f"invalid port format for --expose: {value}")
        port, slash, protocol = value.partition("/")
        try:
            start, end = port_range(port)
        except ValueError as wrong:
            raise ValueError(f"invalid range format for --expose: {value}, error: {wrong}") from None
        for number in range(start, end + 1):
            exposed[f"{number}/{protocol.lower() if slash else 'tcp'}"] = {}
    return exposed
