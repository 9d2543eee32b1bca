"""What a running container occupies on the host: its mounted tree, volumes, addresses, files and bundle.

    prepare()   everything up to the point where the shim can create the container    (one call in a worker thread)
    vacate()    the same back, in reverse; copes with what is half there or gone       (likewise)

All is synchronous; the container's lock is held by the caller.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.engine.connections import Connected  # noqa: TC001 (msgspec reads it at run time)

if TYPE_CHECKING:
    from wherry.engine.bundle import BundleMaker
    from wherry.engine.connections import Connections
    from wherry.engine.container import Container
    from wherry.engine.namefiles import NameFiles
    from wherry.engine.volume_mounts import VolumeMounts
    from wherry.store.mounts import ContainerLayers


class Prepared(msgspec.Struct, frozen=True):
    """What a container occupies before it is created in the kernel."""

    rootfs: str
    connected: Connected
    config: dict[str, Any]


class Premises:
    """Takes and gives back what containers occupy."""

    def __init__(self, layers: ContainerLayers, connections: Connections, volumes: VolumeMounts, bundles: BundleMaker,
                 names: NameFiles) -> None:
        self._layers = layers
        self._connections = connections
        self._volumes = volumes
        self._bundles = bundles
        self._names = names

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
                self._names.write(container, connected)
            config = self._bundles.write(container, rootfs, mounts)
            undo.pop_all()
        return Prepared(rootfs, connected, config)

    def vacate(self, container: Container) -> None:
        """Gives back everything but the network, which `Connections.release` has done before."""
        with ExitStack() as leaving:  # each of these also when one of the others fails
            leaving.callback(shutil.rmtree, container.run_folder, ignore_errors=True)
            leaving.callback(self._bundles.unmount, container)
            leaving.callback(self._layers.unmount, container.id)
            leaving.callback(self._volumes.give_back, container)
