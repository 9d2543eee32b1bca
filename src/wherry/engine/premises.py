"""What a running container occupies on the host: its mounted tree, volumes, addresses, files and bundle.

    prepare()   everything up to the point where the shim can create the container    (one call in a worker thread)
    vacate()    the same back, in reverse; copes with what is half there or gone       (likewise)

All is synchronous; the container's lock is held by the caller.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.connections import Connected  # noqa: TC001 (msgspec reads it at run time)
from wherry.linux.file import replace as replace_file
from wherry.network import files

if TYPE_CHECKING:
    from wherry.engine.bundle import BundleMaker
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container
    from wherry.engine.options import EngineOptions
    from wherry.engine.volume_mounts import VolumeMounts
    from wherry.store.mounts import ContainerLayers


class Prepared(msgspec.Struct, frozen=True):
    """What a container occupies before it is created in the kernel."""

    rootfs: str
    connected: Connected


class Premises:
    """Takes and gives back what containers occupy."""

    def __init__(self, layers: ContainerLayers, connections: Connections, volumes: VolumeMounts, bundles: BundleMaker,
                 options: EngineOptions) -> None:
        self._layers = layers
        self._connections = connections
        self._volumes = volumes
        self._bundles = bundles
        self._options = options

    def prepare(self, container: Container, network_of: Container | None) -> Prepared:
        """Occupies everything, or nothing when it raises. `network_of`: whose network, hosts and names it shares."""
        with ExitStack() as undo:
            shutil.rmtree(container.run_folder, ignore_errors=True)
            os.makedirs(container.run_folder, mode=0o700)
            undo.callback(shutil.rmtree, container.run_folder, ignore_errors=True)
            rootfs = self._layers.mount(container.id)
            undo.callback(self._layers.unmount, container.id)
            connected = self._connections.allocate(container)
            undo.callback(self._connections.release, connected)
            mounts = self._volumes.take(container)
            undo.callback(self._volumes.give_back, container)
            if network_of is None:
                self._write_files(container, connected)
            self._bundles.write(container, rootfs, mounts)
            undo.pop_all()
        return Prepared(rootfs, connected)

    def vacate(self, container: Container) -> None:
        """Gives back everything but the network, which `Connections.release` has done before."""
        with ExitStack() as leaving:  # each of these also when one of the others fails
            leaving.callback(shutil.rmtree, container.run_folder, ignore_errors=True)
            leaving.callback(self._bundles.unmount, container)
            leaving.callback(self._layers.unmount, container.id)
            leaving.callback(self._volumes.give_back, container)

    def _write_files(self, container: Container, connected: Connected) -> None:
        """Writes hostname, hosts and resolv.conf, which the container sees under /etc."""
        record, host = container.record, container.host
        addresses = [one.ipv4_address for one in connected.endpoints.values() if one.ipv4_address]
        host_network = host.network_mode == "host"
        resolver = files.parse_resolv_conf(_read("/etc/resolv.conf"))
        _write(record.hostname_path, files.hostname(record.config.hostname))
        if host_network:
            _write(record.hosts_path, _read("/etc/hosts") + _extra(host.extra_hosts or (), self._gateway_address(connected)))
        else:
            _write(record.hosts_path, files.hosts(record.config.hostname, record.config.domainname, addresses,
                                                  host.extra_hosts or (), (), self._gateway_address(connected)))
        embedded = any(self._connections.has_dns(network_id) for network_id in connected.endpoints)
        options = self._options
        _write(record.resolv_conf_path, files.resolv_conf(
            resolver, embedded=embedded, dns=host.dns or options.dns, search=host.dns_search or options.dns_search,
            options=host.dns_options or options.dns_options))

    def _gateway_address(self, connected: Connected) -> str:
        """What `host-gateway` stands for: the daemon's option, else the default bridge's own address."""
        if self._options.host_gateway_ip:
            return self._options.host_gateway_ip
        return self._connections.default_gateway() or next(
            (one.ipv4_gateway for one in connected.endpoints.values() if one.ipv4_gateway), "")


def _extra(hosts: tuple[str, ...], gateway: str) -> str:
    lines = []
    for text in hosts:
        name, _, address = text.partition("=" if "=" in text else ":")
        lines.append(f"{gateway if address == 'host-gateway' else address}\t{name}\n")
    return "".join(lines)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    replace_file(path, text.encode("utf-8", "surrogateescape"), 0o644)
