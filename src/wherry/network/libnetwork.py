"""Networks as dockerd's libnetwork writes them down: the records of its file, both ways. Pure.

    docker/network/v1.0/network/<id>/           what was asked for, and the addresses chosen
    docker/network/v1.0/endpoint_count/<id>/    {"Count": 0}: nobody is on it while no dockerd runs
    docker/network/v1.0/bridge/<id>/            the bridge driver's, of networks that people made

A record is JSON behind a counter of eight bytes. Its fields: libnetwork's network.go, drivers/bridge/bridge_store.go.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from wherry.errors import DataLoss, InvalidArgument, Unsupported, WherryError
from wherry.network import networks
from wherry.network.model import DEFAULT_GATEWAY_IPV4, DEFAULT_GATEWAY_IPV6, Network, NetworkConfig, NetworkSpec, Pool
from wherry.network.pools import interface_address
from wherry.oci.jsontext import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.network.model import Pairs

_ROOT = b"docker/network/v1.0/"
NETWORK, _COUNT, _BRIDGE = (_ROOT + kind for kind in (b"network/", b"endpoint_count/", b"bridge/"))
# Where the driver's record is of a bridge without an address of IPv4: dockerd 20.10 falls over one in its own place.
_BRIDGE_WITHOUT_IPV4 = _ROOT + b"wherry-bridge/"
# What dockerd knew of containers that ran under it: none of them runs any more.
_STALE = tuple(_ROOT + kind for kind in (b"endpoint/", b"bridge-endpoint/", b"sandbox/"))
_COUNTER_BYTES = 8
_MADE_BY_LIBNETWORK, _MADE_BY_A_USER = 1, 2
_SPACE = "LocalDefault"
_NO_ADDRESS = "<nil>"  # Go's text for it
_GENERIC = "com.docker.network.generic"


def read(records: Mapping[bytes, bytes]) -> tuple[Network, ...]:
    """The networks of a file: bridge, host, none, and the others as they were made.

    Raises Unsupported, naming all of them, for networks that cannot be served here; DataLoss for a damaged record.
    """
    found, refused = [], []
    for key, value in records.items():
        if not key.startswith(NETWORK) or len(value) <= _COUNTER_BYTES:
            continue
        fields = _fields(key, value)
        place = key.removeprefix(NETWORK)
        driver = records.get(_BRIDGE + place) or records.get(_BRIDGE_WITHOUT_IPV4 + place)
        try:
            if not fields.get("inDelete"):  # dockerd was killed while it removed it
                found.append(_network(fields, _fields(key, driver) if driver else {}))
        except (Unsupported, InvalidArgument) as error:
            refused.append(f"{fields.get('name')} ({error})")
        except (WherryError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: {error}') from error
    if refused:
        raise Unsupported(f"networks that dockerd made cannot be taken over: {', '.join(sorted(refused))}",
                          hint="remove them with dockerd (docker network rm), or use another --data-root")
    return tuple(sorted(found, key=_order))


def write(wanted: tuple[Network, ...], before: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """A file's records with exactly these networks, and with what else was there.

    A network never changes once it was made, but for `bridge`: so what dockerd wrote of one is kept to the byte.
    """
    replaced = (NETWORK, _COUNT, _BRIDGE, _BRIDGE_WITHOUT_IPV4, *_STALE)
    kept = {key: value for key, value in before.items() if not key.startswith(replaced)}
    for network in wanted:
        place = network.id.encode() + b"/"
        is_bridge = network.driver == "bridge"
        made = {NETWORK + place: _record(network), _COUNT + place: {"Count": 0}}
        if is_bridge and not network.is_default:
            made[(_BRIDGE if network.ipv4 else _BRIDGE_WITHOUT_IPV4) + place] = _driver_record(network)
        for key, fields in made.items():
            is_known = key in before and not key.startswith(_COUNT) and not (is_bridge and network.is_default)
            kept[key] = before[key] if is_known else (1).to_bytes(_COUNTER_BYTES, "little") + dumps(fields).encode()
    return kept


def _order(network: Network) -> tuple[int, str]:
    rank = networks.PREDEFINED.index(network.name) if network.is_default else len(networks.PREDEFINED)
    return rank, network.created_at.removesuffix("Z")


def _fields(key: bytes, value: bytes) -> dict[str, Any]:
    try:
        fields = loads(value[_COUNTER_BYTES:])
    except ValueError as error:
        raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: {error}') from error
    if not isinstance(fields, dict):
        raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: not an object')
    return fields


def _network(fields: Mapping[str, Any], driver: Mapping[str, Any]) -> Network:
    options = _pairs((fields.get("generic") or {}).get(_GENERIC))
    pools = _pools(fields)
    if fields["name"] in networks.PREDEFINED:
        made = Network(id=fields["id"], name=fields["name"], driver=fields["networkType"], created_at=fields["created"],
                       is_default=True)
        if made.driver != "bridge":
            return made
        return made.replace(pools=pools, enable_ipv6=fields.get("enableIPv6", False), options=options,
                            interface=dict(options).get(networks.BRIDGE_OPTION + "name", ""),
                            **networks.bridge_settings(dict(options), NetworkConfig()))
    spec = NetworkSpec(
        name=fields["name"], driver=fields["networkType"], scope=fields.get("scope", ""), pools=pools, options=options,
        labels=_pairs(fields.get("labels")), internal=fields.get("internal", False), attachable=fields.get("attachable", False),
        ingress=fields.get("ingress", False), enable_ipv4=fields.get("enableIPv4", True),
        enable_ipv6=fields.get("enableIPv6", False), ipam_driver=fields.get("ipamType", ""),
        config_only=fields.get("configOnly", False), config_from=fields.get("configFrom", ""))
    made = networks.plan_network(spec, fields["id"], fields["created"], (), (), NetworkConfig())
    return made.replace(
        ipam_options=None if fields.get("ipamOptions") is None else _pairs(fields["ipamOptions"]),
        has_configured_subnet=any(one["PreferredPool"] for one in _listed(fields, "ipamV4Config")),
        has_configured_ipv6_subnet=any(one["PreferredPool"] for one in _listed(fields, "ipamV6Config")),
        interface=driver.get("BridgeName") or made.interface, icc=driver.get("EnableICC", made.icc),
        masquerade=driver.get("EnableIPMasquerade", made.masquerade), mtu=driver.get("Mtu") or made.mtu)


def _pools(fields: Mapping[str, Any]) -> tuple[Pool, ...]:
    pools = []
    for version, is_used in (("ipamV4", fields.get("enableIPv4", True)), ("ipamV6", fields.get("enableIPv6"))):
        asked = _listed(fields, f"{version}Config")
        if not is_used:  # one that was named all the same: nothing is chosen
            pools += [_pool({"Pool": one["PreferredPool"], "Gateway": one["Gateway"]}, one) for one in asked]
            continue
        chosen = _listed(fields, f"{version}Info")
        pools += [_pool(loads(info["IPAMData"]), wanted)
                  for info, wanted in zip(chosen, asked or [{}] * len(chosen), strict=True)]
    return tuple(pools)


def _pool(data: Mapping[str, Any], asked: Mapping[str, Any]) -> Pool:
    return Pool(subnet=data["Pool"], gateway=data.get("Gateway", "").split("/")[0], ip_range=asked.get("SubPool") or "",
                aux_addresses=_pairs(asked.get("AuxAddresses")))


def _listed(fields: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return list(loads(fields.get(name) or "[]"))


def _pairs(value: Mapping[str, Any] | None) -> Pairs:
    return tuple((key, str(one)) for key, one in (value or {}).items())


def _record(network: Network) -> dict[str, Any]:
    is_bridge = network.driver == "bridge"
    generic = {"com.docker.network.enable_ipv6": network.enable_ipv6} if is_bridge else {}
    fields = {
        "addrSpace": _SPACE if is_bridge else "", "attachable": network.attachable, "configFrom": "", "configOnly": False,
        "created": network.created_at, "enableIPv6": network.enable_ipv6, "generic": {**generic, _GENERIC: dict(network.options)},
        "id": network.id, "inDelete": False, "ingress": False, "internal": network.internal,
        "ipamOptions": None if network.ipam_options is None else dict(network.ipam_options), "ipamType": "default",
        "labels": None if network.is_default else dict(network.labels), "loadBalancerIP": "", "loadBalancerMode": "NAT",
        "name": network.name, "networkType": network.driver, "persist": True, "postIPv6": network.has_ipv6_by_mac,
        "scope": "local", **({} if network.enable_ipv4 else {"enableIPv4": False}),  # Docker 28's; 20.10 takes no notice of it
    }
    if is_bridge:
        for version, mark, is_used, is_asked in (("ipamV4", ".", network.enable_ipv4, network.has_configured_subnet),
                                                 ("ipamV6", ":", network.enable_ipv6, network.has_configured_ipv6_subnet)):
            pools = [pool for pool in network.pools if mark in pool.subnet]
            if pools:
                fields[f"{version}Config"] = dumps([_asked(pool if is_asked or network.is_default else Pool()) for pool in pools])
            if pools and is_used:
                fields[f"{version}Info"] = dumps([_chosen(pool) for pool in pools])
    return fields


def _asked(pool: Pool) -> dict[str, Any]:
    return {"PreferredPool": pool.subnet, "SubPool": pool.ip_range, "Gateway": pool.gateway,
            "AuxAddresses": dict(pool.aux_addresses) or None}


def _chosen(pool: Pool) -> dict[str, str]:
    length = pool.subnet.split("/")[1]
    data: dict[str, Any] = {"AddressSpace": _SPACE, "Gateway": interface_address(pool), "Pool": pool.subnet}
    if pool.aux_addresses:
        data["AuxAddresses"] = {name: f"{address}/{length}" for name, address in pool.aux_addresses}
    ip_range = str(ip_network(pool.ip_range)) if pool.ip_range else ""
    return {"IPAMData": dumps(data), "PoolID": "/".join(filter(None, (_SPACE, pool.subnet, ip_range)))}


def _driver_record(network: Network) -> dict[str, Any]:
    gateways = {name: address for pool in network.pools for name, address in pool.aux_addresses}
    is_own = network.interface == networks.own_interface(network.id)
    return {
        **({"AddressIPv4": interface_address(network.ipv4)} if network.ipv4 else {}),
        **({"AddressIPv6": interface_address(network.ipv6)} if network.ipv6 else {}),
        "BridgeIfaceCreator": _MADE_BY_LIBNETWORK if is_own else _MADE_BY_A_USER, "BridgeName": network.interface,
        "ContainerIfacePrefix": dict(network.options).get(networks.PREFIX_OPTION, ""),
        "DefaultBindingIP": network.host_binding_ipv4 or _NO_ADDRESS, "DefaultBridge": False,
        **{name: gateways.get(name, _NO_ADDRESS) for name in (DEFAULT_GATEWAY_IPV4, DEFAULT_GATEWAY_IPV6)},
        "EnableICC": network.icc, "EnableIPMasquerade": network.masquerade, "EnableIPv6": network.enable_ipv6,
        "HostIP": _NO_ADDRESS, "ID": network.id,
        "InhibitIPv4": False, "Internal": network.internal, "Mtu": 0 if network.mtu == NetworkConfig().mtu else network.mtu,
    }
