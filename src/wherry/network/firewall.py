"""The firewall as it should be, and keeping it so: our table, and the two rules per bridge in a chain that drops.

What is wanted is kept here as values; each change is one transaction. Before a change the ruleset's generation is compared
with the one after our last change: when somebody else has written meanwhile (or flushed everything), the whole table is
written again instead of the difference.
"""

from __future__ import annotations

import errno
from threading import Lock
from typing import TYPE_CHECKING

from wherry.errors import Conflict
from wherry.linux import conntrack, nftables
from wherry.network import foreign, ruleset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wherry.linux.netlink import Socket
    from wherry.network.model import NetworkConfig

    _Key = tuple[str, str, str, int]
    """IP version, host address, protocol, port."""
    _Ports = dict[_Key, ruleset.PortRule]

LEGACY_NOTE = (
    "iptables-legacy has a filter table, which is not seen from here: if its FORWARD chain drops, accept the bridges there: "
    "iptables-legacy -I FORWARD -i BRIDGE -j ACCEPT, and with -o"
)
_UDP = 17


class Firewall:
    """The rules of one daemon. With `iptables` off, or without libnftables, nothing is ever written. Thread-safe."""

    def __init__(self, config: NetworkConfig, owner: str) -> None:
        """Touches nothing yet."""
        self._table = config.table
        self._enabled = config.iptables
        self._families = (ruleset.IPV4, ruleset.IPV6) if config.ip6tables else (ruleset.IPV4,)
        self._loopback = not config.userland_proxy
        self._owner = owner
        self._lock = Lock()
        self._nft: nftables.Nftables | None = None
        self._netfilter: Socket | None = None
        self._generation = -1
        self._bridges: tuple[ruleset.BridgeRules, ...] = ()
        self._ports: _Ports = {}
        self._places: tuple[foreign.Place, ...] = ()
        self._warnings: tuple[str, ...] = ()
        self._notes: tuple[str, ...] = ()

    def open(self, is_used: Callable[[str], bool]) -> None:
        """Loads nft and looks whose table it is.

        A table that a wherryd of another data root left is taken over, unless containers are still on one of its bridges
        (`is_used`): Conflict.
        """
        if not self._enabled:
            self._warnings = (("the firewall is not written (iptables=false): masquerading, published ports and isolation "
                              "are the owner's to set up, and a dropping forward chain stops containers' traffic"),)
            return
        try:
            self._nft = nftables.Nftables.open()
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            self._warnings = ((f"{error.strerror}: containers reach no other machine and ports are served by the proxy only; "
                              "install libnftables1"),)
            return
        self._netfilter = nftables.open_netfilter()
        if "filter" in foreign.legacy_tables():
            self._notes = (LEGACY_NOTE,)
        wanted = ruleset.owner_chain(self._owner)
        owners = [name for name in self._chains(ruleset.IPV4) if name.startswith("owner-")]
        if owners and wanted not in owners:
            listed = self._nft.list_json(f"list set ip {self._table} bridges")
            used = [name for entry in listed for name in entry.get("set", {}).get("elem", ()) if is_used(name)]
            if used:
                self.close()
                raise Conflict(f"the firewall table {self._table} belongs to another wherryd whose containers run on "
                               f"{', '.join(used)}", hint="stop them, or give this wherryd its own --bridge and table name")
        if ruleset.IPV6 not in self._families and self._chains(ruleset.IPV6):  # from when IPv6 was filtered
            self._nft.apply(ruleset.delete_text(ruleset.IPV6, self._table))

    def close(self) -> None:
        """Lets go of nft; the rules stay."""
        with self._lock:
            if self._nft:
                self._nft.close()
            if self._netfilter:
                self._netfilter.close()
            self._nft = self._netfilter = None

    def remove(self) -> None:
        """Takes everything out: the table, and our rules in foreign chains."""
        with self._lock:
            if not self._nft:
                return
            for place in self._places:
                self._delete_foreign(place, _interfaces(self._bridges))
            self._nft.apply("".join(ruleset.delete_text(family, self._table) for family in self._families))
            self._bridges, self._ports = (), {}

    def warnings(self) -> tuple[str, ...]:
        """What the machine's owner should know."""
        with self._lock:
            places = tuple(f"accepting rules for {', '.join(_interfaces(self._bridges))} are kept in the chain "
                           f"{place}, which drops what it does not know" for place in self._places if self._bridges)
            return self._notes + self._warnings + places

    def set(self, bridges: Iterable[ruleset.BridgeRules], ports: Iterable[ruleset.PortRule] | None = None) -> None:
        """Makes the rules say this; without `ports` those that are stay. Raises OSError; the kernel's rules stay as they were."""
        with self._lock:
            new_bridges = tuple(rules for rules in bridges if ruleset.family_of(rules.subnet) in self._families)
            new_ports = self._ports if ports is None else self._ours(ports)
            gone = {rules.interface for rules in self._bridges} - {rules.interface for rules in new_bridges}
            self._write(new_bridges, new_ports)
            self._bridges, self._ports = new_bridges, new_ports
            for place in self._places:
                if self._nft and gone:
                    self._delete_foreign(place, gone)
            self._remember()

    def add_ports(self, ports: Iterable[ruleset.PortRule]) -> None:
        """Publishes ports. Raises OSError and changes nothing."""
        with self._lock:
            new = self._ours(ports)
            wanted = {**self._ports, **new}
            self._change(ruleset.ports_text(self._table, "add", new.values()), wanted)
            udp = [port for port in new.values() if port.protocol == "udp"]
            self._forget_flows(udp, lambda flow, port: flow.destination_port == port.host_port
                               and port.host_ip in ("", flow.destination))

    def delete_ports(self, ports: Iterable[ruleset.PortRule]) -> None:
        """Takes ports back. Those that are not there are passed over."""
        with self._lock:
            old = {_key(port): port for port in ports if self._ports.get(_key(port)) == port}
            if not old:
                return
            wanted = {key: port for key, port in self._ports.items() if key not in old}
            self._change(ruleset.ports_text(self._table, "delete", old.values()), wanted)
            udp = [port for port in old.values() if port.protocol == "udp"]
            self._forget_flows(udp, lambda flow, port: flow.reply_source == port.address
                               and flow.reply_source_port == port.container_port)

    def mend(self) -> None:
        """Writes everything again if somebody else has written to this namespace's ruleset since."""
        with self._lock:
            if self._nft and self._was_changed():
                self._write(self._bridges, self._ports)
                self._remember()

    # --- under the lock ---

    def _chains(self, family: ruleset.Family) -> list[str]:
        """The names of the chains in our table of an IP version."""
        assert self._nft
        return [entry["chain"]["name"] for entry in self._nft.list_json(f"list chains {family.name}")
                if "chain" in entry and entry["chain"]["table"] == self._table]

    def _ours(self, ports: Iterable[ruleset.PortRule]) -> _Ports:
        return {_key(port): port for port in ports if ruleset.family_of(port.address) in self._families}

    def _change(self, text: str, wanted: _Ports) -> None:
        if self._nft and text:
            if self._was_changed():
                self._write(self._bridges, wanted)
            else:
                self._nft.apply(text)
            self._remember()
        self._ports = wanted

    def _write(self, bridges: tuple[ruleset.BridgeRules, ...], ports: _Ports) -> None:
        if not self._nft:
            return
        self._nft.apply("".join(
            ruleset.table_text(family, self._table, self._owner, bridges, ports.values(), loopback=self._loopback)
            for family in self._families))
        found = foreign.find(self._nft.list_json("list chains"), self._table, tuple(family.name for family in self._families))
        self._places = found.places
        interfaces = _interfaces(bridges)
        self._warnings = tuple(foreign.advice(manager, name) for manager in found.managers for name in interfaces)
        for place in found.places:
            there = foreign.ours(self._nft.list_json(f"list chain {place}"), interfaces)
            missing = tuple(name for name in interfaces if not {("iifname", name), ("oifname", name)} <= there.keys())
            half = [handle for (_, name), handle in there.items() if name in missing]
            if missing:
                self._nft.apply(foreign.delete_text(place, half) + foreign.insert_text(place, missing))

    def _delete_foreign(self, place: foreign.Place, interfaces: Iterable[str]) -> None:
        assert self._nft
        try:
            handles = foreign.ours(self._nft.list_json(f"list chain {place}"), interfaces).values()
            if handles:
                self._nft.apply(foreign.delete_text(place, handles))
        except OSError as error:
            if error.errno != errno.ENOENT:  # the chain went with its owner
                raise

    def _was_changed(self) -> bool:
        assert self._netfilter
        return nftables.generation(self._netfilter) != self._generation

    def _remember(self) -> None:
        if self._netfilter:
            self._generation = nftables.generation(self._netfilter)

    def _forget_flows(
        self, ports: Iterable[ruleset.PortRule], belongs: Callable[[conntrack.Flow, ruleset.PortRule], bool]
    ) -> None:
        ports = tuple(ports)
        if ports and self._netfilter:
            conntrack.delete_flows(
                self._netfilter, lambda flow: flow.protocol == _UDP and any(belongs(flow, port) for port in ports))


def _key(port: ruleset.PortRule) -> _Key:
    return ruleset.family_of(port.address).name, port.host_ip, port.protocol, port.host_port


def _interfaces(bridges: Iterable[ruleset.BridgeRules]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rules.interface for rules in bridges))
