"""Making a container: what was asked for, with the image's and the daemon's defaults, checked, then written to disk.

    loop     look up the image, merge, check, choose a name, plan mounts and networks    (nothing is changed)
    loop     volumes that are missing are made
    thread   writable layer, folder with both files (synced), an image's content into new volumes
    loop     the container is known; event create

What was made is taken back when a later step fails.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import logconfig, mounts, naming, restart
from wherry.engine.connections import planned
from wherry.engine.container import Container
from wherry.engine.merge import merged
from wherry.engine.model import ContainerConfig
from wherry.engine.options import check_cgroup_parent
from wherry.engine.records import Record, completed, timestamp
from wherry.engine.spec.check import check_create
from wherry.engine.spec.defaults import adapt
from wherry.engine.spec.limits import supported
from wherry.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wherry.engine.afterwards import Afterwards
    from wherry.engine.connections import Connections
    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.images import Images
    from wherry.engine.links import Links
    from wherry.engine.model import HostConfig, NetworkingConfig
    from wherry.engine.mounts import MountPoints
    from wherry.engine.options import EngineOptions
    from wherry.engine.pool import Pool
    from wherry.engine.records import MountRecord, Records
    from wherry.engine.spec.check import Facts
    from wherry.engine.volume_mounts import VolumeMounts
    from wherry.oci.image import Platform
    from wherry.store.images import Image
    from wherry.store.mounts import ContainerLayers

Version = tuple[int, int]


class Creator:
    """Makes containers."""

    def __init__(self, *, pool: Pool, records: Records, containers: Containers, events: Events, images: Images,
                 layers: ContainerLayers, volumes: VolumeMounts, connections: Connections, links: Links, options: EngineOptions,
                 facts: Facts, afterwards: Afterwards, run_folder: str, expect_start: Callable[[], None]) -> None:
        """`expect_start()` is told of each container that is made: most are started at once."""
        self._pool = pool
        self._records = records
        self._containers = containers
        self._events = events
        self._images = images
        self._layers = layers
        self._volumes = volumes
        self._connections = connections
        self._links = links
        self._options = options
        self._facts = facts
        self._afterwards = afterwards
        self._run_folder = run_folder
        self._expect_start = expect_start

    async def create(self, name: str, config: ContainerConfig, host: HostConfig, networking: NetworkingConfig | None, *,
                     version: Version, platform: Platform | None = None,
                     container_id: str = "") -> tuple[Container, tuple[str, ...]]:
        """A new container, and warnings for the client. `container_id`: a new id that the caller has noted already.

        Raises NotFound (no such image, a container named by another option), Conflict (the name is taken), InvalidArgument,
        Unsupported; nothing is left behind then.
        """
        self._afterwards.busy()
        self._expect_start()
        try:
            image = self._images.find(config.image, platform) if config.image else None
        except NotFound:
            check_create(config, host, networking, self._facts)  # dockerd looks at the options first; here only where it is told
            raise
        chain_id = image.config.chain_id if image else ""
        config = merged(config, self._images.container_config(image) if image else ContainerConfig())
        _, dropped = supported(host, self._facts)  # asked first: the defaults leave out what this machine cannot limit
        host = self._host_defaults(host)
        warnings = (*dropped, *check_create(config, host, networking, self._facts))
        self._check_shared(host)
        self._links.check(host)
        check_cgroup_parent(host.cgroup_parent, self._options.cgroup_driver)
        restart.check(host.restart_policy, auto_remove=host.auto_remove)
        container_id = container_id or naming.new_id()
        points = mounts.plan(config, host, self._mounts_of)
        record = self._record(container_id, config, host, image)
        record = replace(record, network_settings=planned(record, host, networking, version))
        if name:
            name = naming.check_name(name)
        else:
            name = naming.random_name(self._containers.has_name, container_id)
        record = replace(record, name=name)
        self._connections.check(record)
        self._containers.reserve(name, container_id)
        try:
            made = await self._volumes.create(points)
            try:
                record = replace(record, mount_points={place: replace(one, copy_data=False) for place, one in made.items()})
                await self._pool.run(self._write, record, host, chain_id, made)
            except BaseException:
                await self._volumes.discard(made)
                raise
        except BaseException:
            self._containers.release(name)
            raise
        self._afterwards.later(lambda: self._prepare(chain_id))
        record = completed(record, host, self._records.place(container_id))
        container = Container(record, host, f"{self._run_folder}/{container_id}")
        self._containers.add(container)
        self._events.publish("container", "create", container.id, container.attributes())
        return container, warnings

    async def _prepare(self, chain_id: str) -> None:
        """A writable layer for the next container of this image."""
        try:
            await self._pool.run(self._layers.prepare, chain_id)
        except NotFound:
            pass  # the image was removed meanwhile

    def _write(self, record: Record, host: HostConfig, chain_id: str, points: MountPoints) -> None:
        self._layers.create(record.id, chain_id)
        try:
            self._volumes.copy_up(record.id, points)
            self._records.create(record, host)
        except BaseException:
            self._layers.remove(record.id)
            shutil.rmtree(self._records.place(record.id), ignore_errors=True)
            raise

    def _check_shared(self, host: HostConfig) -> None:
        """The containers whose namespaces are to be shared exist. Raises InvalidArgument, as dockerd does."""
        for mode in (host.ipc_mode, host.pid_mode):
            kind, _, reference = mode.partition(":")
            if kind == "container":
                try:
                    self._containers.find(reference)
                except NotFound as error:
                    raise InvalidArgument(error.message) from error

    def _mounts_of(self, reference: str) -> Mapping[str, MountRecord]:
        points: MountPoints = self._containers.find(reference).record.mount_points or {}
        return points

    def _host_defaults(self, host: HostConfig) -> HostConfig:
        options = self._options
        runtime = host.runtime or options.default_runtime
        if runtime not in options.runtimes:
            raise InvalidArgument(f"unknown or invalid runtime name: {runtime}")
        host = adapt(host, self._facts, shm_size=options.default_shm_size_bytes, ipc_mode=options.default_ipc_mode,
                     cgroupns_mode=options.cgroupns_mode, init=options.init)
        return replace(host, runtime=runtime, log_config=logconfig.resolve(host, options))

    def _record(self, container_id: str, config: ContainerConfig, host: HostConfig, image: Image | None) -> Record:
        command = (*(config.entrypoint or ()), *(config.cmd or ()))
        hostname = config.hostname
        if not hostname and host.uts_mode != "host":
            hostname = os.uname().nodename if host.network_mode == "host" else container_id[:12]
        if host.network_mode.startswith("container:"):
            hostname = config.hostname  # the other container's, which is looked for at each start
        return Record(
            id=container_id,
            created=timestamp(time.time_ns()),
            path=command[0],
            args=command[1:],
            config=replace(config, hostname=hostname),
            image=image.id if image else "",
            mount_points={},
        )


