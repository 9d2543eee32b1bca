"""Published ports in one cell: `0.0.0.0:8080-8081->80-81/tcp, 53/udp`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def display_ports(ports: Sequence[dict[str, Any]]) -> str:
    """The ports in docker's order, neighbours that go to neighbours joined to ranges."""
    ordered = sorted(
        ports, key=lambda port: (port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"])
    )
    groups: dict[str, list[int]] = {}
    result: list[str] = []
    mapped: list[str] = []
    keys: list[str] = []
    for port in ordered:
        current, address, public, kind = port["PrivatePort"], port.get("IP") or "", port.get("PublicPort") or 0, port["Type"]
        key = kind
        if address:
            if public != current:
                mapped.append(f"{_join(address, public)}->{current}/{kind}")
                continue
            key = f"{address}/{kind}"
        group = groups.get(key)
        if group is None:
            groups[key] = [current, current]
            keys.append(key)
        elif current == group[1] + 1:
            group[1] = current
        else:
            result.append(_group(key, group[0], group[1]))
            groups[key] = [current, current]
    result += [_group(key, groups[key][0], groups[key][1]) for key in keys]
    return ", ".join(result + mapped)


def _join(host: str, port: object) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _group(key: str, start: int, last: int) -> str:
    address, slash, kind = key.partition("/")
    if not slash:
        address, kind = "", key
    group = str(start) if start == last else f"{start}-{last}"
    return (f"{_join(address, group)}->{group}" if address else group) + f"/{kind}"
