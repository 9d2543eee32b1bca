"""hostname, hosts and resolv.conf of a container: written at each start, and mended when it joins or leaves a network.

They are mounted into the container one by one, so what is mended while it runs is written into the same file: a renamed
one would not be seen inside.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from wherry.engine.connections import Connected
from wherry.linux.file import replace as replace_file
from wherry.network import files

if TYPE_CHECKING:
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container
    from wherry.engine.options import EngineOptions


class NameFiles:
    """Writes the files by which a container knows names. Synchronous, for worker threads."""

    def __init__(self, connections: Connections, options: EngineOptions) -> None:
        self._connections = connections
        self._options = options
        self._refreshing = Lock()  # a container's own networks and the others that it is linked to may change at the same time

    def write(self, container: Container, connected: Connected) -> None:
        """All three, for a container that starts."""
        record = container.record
        _replace(record.hostname_path, files.hostname(record.config.hostname))
        _replace(record.hosts_path, self._hosts(container, connected))
        _replace(record.resolv_conf_path, self._resolv_conf(container, connected))

    def refresh(self, container: Container) -> None:
        """Hosts and resolv.conf of a running container whose networks have changed."""
        with self._refreshing:
            record, connected = container.record, Connected(container.endpoints)
            _overwrite(record.hosts_path, self._hosts(container, connected))
            _overwrite(record.resolv_conf_path, self._resolv_conf(container, connected))

    def _hosts(self, container: Container, connected: Connected) -> str:
        config, host = container.record.config, container.host
        gateway = self._gateway(connected)
        if host.network_mode == "host":
            return files.read_text("/etc/hosts") + _extra(host.extra_hosts or (), gateway)
        addresses = (address for one in connected.endpoints.values() for address in (one.ipv4_address, one.ipv6_address))
        return files.hosts(config.hostname, config.domainname, filter(None, addresses), host.extra_hosts or (),
                           (line for link in container.linked for line in link.hosts), gateway)

    def _resolv_conf(self, container: Container, connected: Connected) -> str:
        host, options = container.host, self._options
        dns, search = host.dns or options.dns, host.dns_search or options.dns_search
        settings = host.dns_options or options.dns_options
        is_host = host.network_mode == "host"
        text = files.read_text(files.RESOLV_CONF) if is_host else files.read_host()
        if is_host and not (dns or search or settings):
            return text
        embedded = any(self._connections.has_dns(network_id) for network_id in connected.endpoints)
        has_ipv6 = any(one.ipv6_address for one in connected.endpoints.values())
        return files.resolv_conf(files.parse_resolv_conf(text), embedded=embedded, is_host=is_host, has_ipv6=has_ipv6, dns=dns,
                                 search=search, options=settings)

    def _gateway(self, connected: Connected) -> str:
        """What `host-gateway` stands for: the daemon's option, else the default bridge's own address."""
        return self._options.host_gateway_ip or self._connections.default_gateway() or next(
            (one.ipv4_gateway for one in connected.endpoints.values() if one.ipv4_gateway), "")


def _extra(hosts: tuple[str, ...], gateway: str) -> str:
    lines = []
    for text in hosts:
        name, _, address = text.partition("=" if "=" in text else ":")
        lines.append(f"{gateway if address == 'host-gateway' else address}\t{name}\n")
    return "".join(lines)


def _replace(path: str, text: str) -> None:
    replace_file(path, text.encode("utf-8", "surrogateescape"), 0o644)


def _overwrite(path: str, text: str) -> None:
    """Writes into the file that is there: it is small, so a reader sees the old or the new text, or for a moment none."""
    with open(path, "r+b") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.truncate()
