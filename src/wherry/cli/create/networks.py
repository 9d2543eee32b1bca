"""`--network` in both grammars, and the endpoints it becomes."""

from __future__ import annotations

from wherry.cli.command import CommandFailed
from wherry.cli.values import csv_fields, integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options

# Names that are no user's network.
BUILTIN = frozenset(("", "default", "bridge", "host", "none"))


def parse_network(text: str) -> dict[str, Any]:
    """A name, or `name=…,alias=…,ip=…` and so on. Raises ValueError."""
    found: dict[str, Any] = {
        "name": "",
        "aliases": [],
        "driver_opts": {},
        "link_local": [],
        "ip": "",
        "ip6": "",
        "mac": "",
        "priority": 0,
    }
    fields = csv_fields(text)
    if not (
        "," in text
        or text.lower().startswith(
            ("name=", "alias=", "driver-opt=", "ip=", "ip6=", "mac-address=", "link-local-ip=", "gw-priority=")
        )
    ):
        found["name"] = text
        return found
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            raise ValueError(f"invalid field {field}")
        key, value = key.strip().lower(), value.strip()
        if key == "name":
            found["name"] = value
        elif key == "alias":
            found["aliases"].append(value)
        elif key == "driver-opt":
            name, middle, content = value.partition("=")
            if not middle:
                raise ValueError("invalid key value pair format in driver options")
            found["driver_opts"][name.strip().lower()] = content.strip()
        elif key == "link-local-ip":
            found["link_local"].append(value)
        elif key in ("ip", "ip6", "mac-address"):
            found["mac" if key == "mac-address" else key] = value
        elif key == "gw-priority":
            try:
                found["priority"] = integer(value, 64, 10)
            except ValueError as wrong:
                raise ValueError(f"invalid gw-priority ({value}): {str(wrong).rpartition(': ')[2]}") from None
        else:
            raise ValueError(f"invalid field key {key}")
    if not found["name"]:
        raise ValueError("network name/id is not specified")
    return found


def is_user_defined(mode: str) -> bool:
    """Whether a network mode names a network that somebody made."""
    return mode not in BUILTIN and not mode.startswith("container:")


def endpoint(found: dict[str, Any], links: list[str]) -> dict[str, Any]:
    """The EndpointSettings of one network, zero values and all."""
    ipam = {
        name: value
        for name, value in (("IPv4Address", found["ip"]), ("IPv6Address", found["ip6"]), ("LinkLocalIPs", found["link_local"]))
        if value
    }
    return {
        "IPAMConfig": ipam or None,
        "Links": links or None,
        "Aliases": found["aliases"] or None,
        "MacAddress": found["mac"],
        "DriverOpts": found["driver_opts"] or None,
        "GwPriority": found["priority"],
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def is_mac(text: str) -> bool:
    """Whether a text is a MAC address with colons or hyphens."""
    for mark in ":-":
        parts = text.strip().split(mark)
        if len(parts) in (6, 8, 20):
            return all(len(part) == 2 and all(one in "0123456789abcdefABCDEF" for one in part) for part in parts)
    return False


def _merge(found: dict[str, Any], options: Options) -> dict[str, Any]:
    """The first network takes the options that are not written at one network."""
    checks = (
        ("aliases", "network-alias", "--network-alias and per-network alias", options.many("network-alias")),
        ("ip", "ip", "--ip and per-network IPv4 address", options.text("ip")),
        ("ip6", "ip6", "--ip6 and per-network IPv6 address", options.text("ip6")),
        ("mac", "mac-address", "--mac-address and per-network MAC address", options.text("mac-address")),
        ("link_local", "link-local-ip", "--link-local-ip and per-network link-local IP addresses", options.many("link-local-ip")),
    )
    merged = dict(found)
    for key, _, words, value in checks:
        if value and merged[key]:
            raise CommandFailed(f"conflicting options: cannot specify both {words}", 125, hinted=True)
        merged[key] = merged[key] or value
    return merged


def networking(options: Options) -> tuple[str, dict[str, Any]]:
    """(HostConfig.NetworkMode, NetworkingConfig.EndpointsConfig). Raises CommandFailed."""
    given = options.many("network")
    wanted = given or [parse_network("default")]
    endpoints: dict[str, Any] = {}
    kinds = set()
    for at, one in enumerate(wanted):
        name = one["name"]
        found = _merge(one, options) if at == 0 else one
        user_defined = is_user_defined(name)
        kinds.add(user_defined)
        if found["aliases"] and not user_defined:
            raise CommandFailed("network-scoped aliases are only supported for user-defined networks", 125, hinted=True)
        if found["mac"] and not is_mac(found["mac"]):
            raise CommandFailed(f"{found['mac']} is not a valid mac address", 125, hinted=True)
        if name in endpoints:
            raise CommandFailed(f'network "{name}" is specified multiple times', 125, hinted=True)
        links = [str(link) for link in options.many("link")] if at == 0 and user_defined else []
        settings = endpoint(found, links)
        if len(given) == 1 and not any(settings.values()):
            continue
        endpoints[name] = settings
    if len(kinds) == 2 and len(wanted) > 1:
        raise CommandFailed(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes", 125, hinted=True
        )
    return wanted[0]["name"], dict(sorted(endpoints.items()))
