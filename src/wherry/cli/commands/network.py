"""`network create`, `rm`, `connect`, `disconnect`."""

from __future__ import annotations

from wherry.cli.client import ApiError, escape
from wherry.cli.command import UNLIMITED, Command, CommandFailed, Flag, Invocation
from wherry.cli.create.checks import loose_pair
from wherry.cli.create.files import labels
from wherry.errors import WherryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _pools(call: Invocation) -> list[dict[str, Any]]:
    """The IPAM pools: each range, gateway and auxiliary address goes to the subnet that holds it. Raises CommandFailed."""
    from ipaddress import ip_address, ip_network

    options = call.options
    subnets, gateways, ranges = options.many("subnet"), options.many("gateway"), options.many("ip-range")
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise CommandFailed("every ip-range or gateway must have a corresponding subnet")
    try:
        nets = {text: ip_network(text, strict=False) for text in subnets}
        for at, net in enumerate(nets.values()):
            for other in list(nets.values())[:at]:
                if net.version == other.version and net.overlaps(other):
                    raise CommandFailed("multiple overlapping subnet configuration is not supported")
        pools = {text: {"Subnet": text} for text in subnets}
        for name, values in (("IPRange", ranges), ("Gateway", gateways)):
            for value in values:
                where = ip_network(value, strict=False) if name == "IPRange" else ip_network(ip_address(value))
                holder = next(
                    (text for text, net in nets.items() if where.network_address in net and where.broadcast_address in net), None
                )
                if holder is None:
                    raise CommandFailed(f"no matching subnet for {'range' if name == 'IPRange' else 'gateway'} {value}")
                if name in pools[holder]:
                    words = f"{'ranges' if name == 'IPRange' else 'gateways'} ({value}, {pools[holder][name]})"
                    raise CommandFailed(f"cannot configure multiple {words} on the same subnet ({holder})")
                pools[holder][name] = value
        found: dict[str, dict[str, Any]] = {text: dict(pool) for text, pool in pools.items()}
        for name, value in options.pairs("aux-address").items():
            address = ip_address(value)
            holder = next((text for text, net in nets.items() if address in net), None)
            if holder is None:
                raise CommandFailed(f"no matching subnet for aux-address {value}")
            found[holder].setdefault("AuxiliaryAddresses", {})[name] = value
    except ValueError as wrong:
        raise CommandFailed(str(wrong)) from None
    return [found[text] for text in subnets]


def create(call: Invocation) -> int:
    """Makes the network and prints its id."""
    options = call.options
    ipam = {"Driver": options.text("ipam-driver"), "Options": options.pairs("ipam-opt"), "Config": _pools(call)}
    body: dict[str, Any] = {"Name": call.arguments[0], "Driver": options.text("driver"), "Scope": options.text("scope")}
    if options.given("ipv4"):
        body["EnableIPv4"] = options.on("ipv4")
    if options.given("ipv6"):
        body["EnableIPv6"] = options.on("ipv6")
    body.update(
        {
            "IPAM": ipam,
            "Internal": options.on("internal"),
            "Attachable": options.on("attachable"),
            "Ingress": options.on("ingress"),
            "ConfigOnly": options.on("config-only"),
            "ConfigFrom": {"Network": options.text("config-from")} if options.text("config-from") else None,
            "Options": options.pairs("opt"),
            "Labels": labels((), options.many("label")),
        }
    )
    answer = call.client.post("/networks/create", body)
    if answer.get("Warning"):
        call.streams.error_line(f"WARNING: {answer['Warning']}")
    call.streams.line(answer["Id"])
    return 0


def remove(call: Invocation) -> int:
    """Removes each network; with --force one that is not there is no failure."""
    failed = False
    for name in call.arguments:
        try:
            call.client.delete(f"/networks/{escape(name)}")
        except WherryError as wrong:
            if call.options.on("force") and isinstance(wrong, ApiError) and wrong.status == 404:
                continue
            call.streams.error_line(wrong.message)
            failed = True
        else:
            call.streams.line(name)
    if failed:
        raise CommandFailed("exit status 1")
    return 0


def connect(call: Invocation) -> int:
    """Connects the container."""
    options = call.options
    network, container = call.arguments
    ipam = {
        name: value
        for name, value in (
            ("IPv4Address", options.text("ip")),
            ("IPv6Address", options.text("ip6")),
            ("LinkLocalIPs", options.many("link-local-ip")),
        )
        if value
    }
    opts = {}
    for one in options.many("driver-opt"):
        name, equals, value = one.partition("=")
        if not equals:
            raise CommandFailed("invalid key/value pair format in driver options")
        opts[name.strip().lower()] = value.strip()
    endpoint = {
        "IPAMConfig": ipam or None,
        "Links": options.many("link") or None,
        "Aliases": options.many("alias") or None,
        "DriverOpts": opts or None,
        "GwPriority": options.number("gw-priority"),
    }
    call.client.post(f"/networks/{escape(network)}/connect", {"Container": container, "EndpointConfig": endpoint})
    return 0


def disconnect(call: Invocation) -> int:
    """Takes the container off the network."""
    network, container = call.arguments
    call.client.post(f"/networks/{escape(network)}/disconnect", {"Container": container, "Force": call.options.on("force")})
    return 0


CREATE = Command(
    usage="[OPTIONS] NETWORK",
    action=create,
    least=1,
    most=1,
    flags=(
        Flag(name="attachable", help="Let containers be attached by hand"),
        Flag(name="aux-address", kind="map", help="Addresses that are taken already"),
        Flag(name="config-from", kind="string", help="Network whose configuration is taken"),
        Flag(name="config-only", help="Make only a configuration"),
        Flag(name="driver", short="d", kind="string", default="bridge", help="Driver"),
        Flag(name="gateway", kind="strings", help="Gateway of a subnet"),
        Flag(name="ingress", help="Make the mesh of a swarm"),
        Flag(name="internal", help="Give it no way out"),
        Flag(name="ip-range", kind="strings", help="Part of a subnet to take addresses from"),
        Flag(name="ipam-driver", kind="string", default="default", help="Driver that gives addresses"),
        Flag(name="ipam-opt", kind="map", help="Options of that driver"),
        Flag(name="ipv4", default=True, since="1.48", help="Give IPv4 addresses"),
        Flag(name="ipv6", help="Give IPv6 addresses"),
        Flag(name="label", kind="list", help="Label it"),
        Flag(name="opt", short="o", kind="map", check=loose_pair, help="Options of the driver"),
        Flag(name="scope", kind="string", help="Scope"),
        Flag(name="subnet", kind="strings", help="Subnet (as 10.1.0.0/16)"),
    ),
)
RM = Command(
    usage="NETWORK [NETWORK...]",
    action=remove,
    least=1,
    most=UNLIMITED,
    flags=(Flag(name="force", short="f", help="Do not mind a network that is not there"),),
)
CONNECT = Command(
    usage="[OPTIONS] NETWORK CONTAINER",
    action=connect,
    least=2,
    most=2,
    flags=(
        Flag(name="alias", kind="strings", help="Name in the network"),
        Flag(name="driver-opt", kind="strings", help="Options of the driver"),
        Flag(name="gw-priority", kind="int", help="The highest one gives the default gateway"),
        Flag(name="ip", kind="string", help="IPv4 address"),
        Flag(name="ip6", kind="string", help="IPv6 address"),
        Flag(name="link", kind="list", help="Link to another container"),
        Flag(name="link-local-ip", kind="strings", help="Link-local address"),
    ),
)
DISCONNECT = Command(
    usage="[OPTIONS] NETWORK CONTAINER",
    action=disconnect,
    least=2,
    most=2,
    flags=(Flag(name="force", short="f", help="Also where the container does not know of it"),),
)
