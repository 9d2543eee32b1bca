"""The composition root: builds the engine's rooms and gives each what it needs.

An `Engine` only holds them. There is one per data root; the root's lock is held until `close`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from wherry import __version__
from wherry.build.solve import BuildStores
from wherry.engine.afterwards import Afterwards
from wherry.engine.archive import Archive
from wherry.engine.attach import Attach
from wherry.engine.build import Builds
from wherry.engine.bundle import BundleMaker
from wherry.engine.cgroups import Cgroups
from wherry.engine.changes import apply_changes
from wherry.engine.commit import Committer
from wherry.engine.connections import Connections, restored
from wherry.engine.containers import Containers
from wherry.engine.creation import Creator
from wherry.engine.ending import Ender
from wherry.engine.events import Events
from wherry.engine.execs import Execs
from wherry.engine.health import Health
from wherry.engine.image_removal import ImageRemoval
from wherry.engine.image_transfer import ImageTransfer
from wherry.engine.images import Images
from wherry.engine.info import Info
from wherry.engine.lifecycle import Lifecycle
from wherry.engine.links import Links
from wherry.engine.listing import Listing
from wherry.engine.memberships import Memberships
from wherry.engine.namefiles import NameFiles
from wherry.engine.networks import Networks
from wherry.engine.pool import Pool
from wherry.engine.premises import Premises
from wherry.engine.records import Records
from wherry.engine.removal import Removal
from wherry.engine.rootfs import Roots
from wherry.engine.shimevents import ShimEvents
from wherry.engine.slots import Slots
from wherry.engine.spec.facts import read_facts
from wherry.engine.starting import Starter
from wherry.engine.stats import StatsRoom
from wherry.engine.takeover import Takeover
from wherry.engine.top import Top
from wherry.engine.volume_mounts import VolumeMounts
from wherry.engine.volumes import Volumes
from wherry.errors import Unsupported, WherryError
from wherry.network.controller import Controller
from wherry.network.model import NetworkConfig
from wherry.network.proxy.client import ProxyClient
from wherry.proto import require
from wherry.shim.client import Zygote
from wherry.store.distribution import Distribution
from wherry.store.images import ImageStore
from wherry.store.imagetar import ImageArchive
from wherry.store.layers import LayerStore
from wherry.store.mounts import ContainerLayers
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from wherry.engine.container import Container
    from wherry.engine.options import EngineOptions
    from wherry.registry.service import Registries
    from wherry.shim.interface import Launcher

log = logging.getLogger(__name__)


class Engine:
    """The rooms of one engine, by name; it does nothing itself but open and close them. Use `open`."""

    def __init__(self, options: EngineOptions, root: DataRoot, zygote: Zygote, launcher: Launcher, pool: Pool,
                 tasks: Tasks) -> None:
        data, loop = options.data_root, asyncio.get_running_loop()
        run_folder = f"{options.run_folder}/containers"
        self.facts = facts = read_facts()
        self.options, self.root, self.zygote, self.launcher, self.pool = options, root, zygote, launcher, pool
        self.events = Events()
        self.containers = Containers()
        self.records = Records(Path(data, "containers"))
        # -- what is stored
        layers, references = LayerStore(root), ReferenceStore(root)
        image_store, self.layers = ImageStore(root, layers), ContainerLayers(root, layers)
        layers.collect_unclaimed()  # what a pull or load left that was killed between its layers and its image
        self.volumes = Volumes(pool=pool, events=self.events, containers=self.containers, folder=f"{data}/volumes")
        self.images = Images(pool=pool, events=self.events, containers=self.containers, images=image_store,
                             references=references, layers=layers)
        self.image_removal = ImageRemoval(pool=pool, events=self.events, containers=self.containers, rooms=self.images,
                                          images=image_store, references=references, layers=layers)
        self.transfer = ImageTransfer(pool=pool, rooms=self.images, references=references,
                                      archive=ImageArchive(layers, image_store, references),
                                      registries=lambda: self._registries(layers, image_store, references))
        # -- networks
        program = options.network.userland_proxy_path
        proxy = ProxyClient(options.run_folder, (program,) if program else ())
        self.controller = Controller(f"{data}/network/files", network_config(options), proxy)
        self.connections = Connections(self.controller, zygote, loop, options.dns)
        self.controller.open_sandbox = self.connections.opener(self.containers)
        self.networks = Networks(pool=pool, events=self.events, controller=self.controller)
        names = NameFiles(self.connections, options)
        self.memberships = Memberships(pool=pool, events=self.events, containers=self.containers, records=self.records,
                                       connections=self.connections, controller=self.controller, names=names)
        self.links = Links(pool=pool, containers=self.containers, records=self.records, names=names)
        # -- containers
        self.afterwards = Afterwards()
        roots, mounts = Roots(self.layers), VolumeMounts(self.volumes, self.layers)
        self.cgroups = Cgroups(options, pool)
        self.listing = Listing(self.containers, self.images.descendants)
        self.execs = Execs(pool=pool, events=self.events, roots=roots, facts=facts, options=options)
        self.health = Health(pool=pool, records=self.records, execs=self.execs, events=self.events, spawn=tasks.spawn)
        bundles = BundleMaker(options, facts, self.containers, self.records)
        premises = Premises(self.layers, self.connections, mounts, bundles, names)
        self.removal = Removal(pool=pool, records=self.records, layers=self.layers, volumes=self.volumes,
                               containers=self.containers, events=self.events, afterwards=self.afterwards,
                               forget=self.listing.forget)
        ender = Ender(pool=pool, records=self.records, premises=premises, connections=self.connections, events=self.events,
                      afterwards=self.afterwards, start=self._start_locked, remove=self.removal.remove_locked,
                      forget=self._processes_gone, spawn=tasks.spawn)
        shim_events = ShimEvents(pool=pool, ender=ender, execs=self.execs, events=self.events, cgroups=self.cgroups,
                                 spawn=tasks.spawn)
        self.slots = Slots(zygote, pool, self.afterwards, options, facts)
        starter = Starter(pool=pool, records=self.records, premises=premises, connections=self.connections, launcher=launcher,
                          containers=self.containers, links=self.links, events=self.events, options=options,
                          afterwards=self.afterwards, slots=self.slots, on_event=shim_events.heard)
        self.lifecycle = Lifecycle(pool=pool, records=self.records, containers=self.containers, events=self.events,
                                   starter=starter, ender=ender, cgroups=self.cgroups, health=self.health,
                                   connections=self.connections, links=self.links)
        self.creator = Creator(pool=pool, records=self.records, containers=self.containers, events=self.events,
                               images=self.images, layers=self.layers, volumes=mounts, connections=self.connections,
                               links=self.links, options=options, facts=facts, afterwards=self.afterwards, run_folder=run_folder,
                               expect_start=self.cgroups.expect_start)
        self.takeover = Takeover(pool=pool, records=self.records, containers=self.containers, layers=self.layers, volumes=mounts,
                                 cgroups=self.cgroups, ender=ender, links=self.links, launcher=launcher, run_folder=run_folder,
                                 on_event=shim_events.heard, start=self.lifecycle.start_locked, watch=self.health.watch)
        # -- what one asks of containers
        self.attach = Attach(self.events)
        self.archive = Archive(pool, roots, self.layers, self.events)
        self.stats = StatsRoom(pool, self.cgroups, unified=facts.cgroup_version == "v2")
        self.top = Top(pool, self.cgroups, self.events)
        self.commits = Committer(pool=pool, images=self.images, image_store=image_store, layers=layers, containers=self.layers,
                                 events=self.events, lifecycle=self.lifecycle, change=apply_changes, clock_ns=time.time_ns)
        self.builds = Builds(pool=pool, stores=BuildStores(images=image_store, layers=layers, mounts=self.layers),
                             folder=f"{root.temporary}/builds", creator=self.creator, lifecycle=self.lifecycle,
                             removal=self.removal, attach=self.attach, containers=self.containers, images=self.images,
                             transfer=self.transfer)
        self.info = Info(options, self.containers, images=lambda: len(image_store.list()), listeners=self.events.listeners,
                         warnings=self.controller.warnings, containerd_version=launcher.containerd_version)
        self._tasks = tasks

    @classmethod
    async def open(cls, options: EngineOptions) -> Self:
        """Opens the data root, starts the zygote, takes over running containers and begins the restarts due.

        Raises Unavailable when another daemon uses the root, or the containerd that is to run containers does not answer,
        Unsupported for options that are not done, OSError.
        """
        if options.network.firewall_backend != "nftables":
            raise Unsupported(f"the firewall backend {options.network.firewall_backend!r} is not supported")
        async with AsyncExitStack() as undo:
            pool = Pool()
            undo.callback(pool.close)
            root = await pool.run(DataRoot.open, options.data_root)
            undo.callback(root.close)
            for folder, mode in ((f"{options.data_root}/containers", 0o710), (f"{options.run_folder}/containers", 0o700)):
                os.makedirs(folder, mode, exist_ok=True)
            zygote = await Zygote.start(options.run_folder)
            undo.push_async_callback(zygote.close)
            tasks = Tasks()
            launcher: Launcher = zygote
            if options.containerd.address:
                launcher = await containerd_of(options)
                undo.push_async_callback(launcher.close)
            engine = cls(options, root, zygote, launcher, pool, tasks)
            undo.push_async_callback(tasks.close)
            await engine.volumes.open()
            await engine.takeover.load()
            await pool.run_long(engine.controller.start, restored(engine.containers))
            await engine.takeover.settle()
            await engine.builds.clear()
            undo.pop_all()
        _ = tasks.spawn(engine.takeover.start_due())
        engine.slots.refill()
        return engine

    async def close(self) -> None:
        """Ends as dockerd does: stops all containers unless `live_restore`, then gives the root back."""
        if not self.options.live_restore:
            await self.lifecycle.shut_down(self.options.shutdown_timeout_s)
        await self._tasks.close()
        await self.afterwards.close()
        running = [one for one in self.containers if one.shim is not None]
        for container in running:
            if container.shim is not None:
                container.shim.close()
        await self.pool.run_long(lambda: self.controller.close(keep_running=bool(running)))
        await self.launcher.close()
        await self.zygote.close()
        await self.pool.run_long(self.layers.close)
        try:
            await self.pool.run(self.volumes.hand_over, self.root)
        except (OSError, WherryError) as error:
            log.warning("dockerd will not know of the labels of volumes: %s", error)
        self.pool.close()
        self.root.close()

    def reload(self, options: EngineOptions) -> None:
        """Takes over options that may change while it runs: labels, live restore, registries, the shutdown's patience."""
        self.options = options
        self.info.reload(options)
        self.transfer.reload()

    def _registries(self, layers: LayerStore, images: ImageStore, references: ReferenceStore) -> Registries:
        """Made when the first pull or push comes: the HTTP client alone takes a tenth of the daemon's start to import."""
        from wherry.registry.endpoint import RegistryConfig
        from wherry.registry.pull import Stores
        from wherry.registry.service import Registries

        options = self.options
        config = RegistryConfig(insecure=options.insecure_registries, mirrors=options.registry_mirrors)
        stores = Stores(layers=layers, images=images, references=references, distribution=Distribution(self.root),
                        ingest=f"{self.root.temporary}/ingest")
        return Registries(config, stores, f"wherry/{__version__}", parallel_downloads=options.max_concurrent_downloads,
                          parallel_uploads=options.max_concurrent_uploads)

    async def _start_locked(self, container: Container) -> None:
        await self.lifecycle.start_locked(container)

    def _processes_gone(self, container: Container) -> None:
        self.health.forget(container)
        self.execs.container_ended(container)


class Tasks:
    """Work that goes on beside requests; what fails is logged, and what is left is cancelled at the end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begins it."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancels what still runs and waits for that."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)


async def containerd_of(options: EngineOptions) -> Launcher:
    """The containerd that runs the containers; only here is gRPC imported. Raises Unsupported without it, Unavailable."""
    require()
    from wherry.containerd.launcher import Containerd

    given = options.containerd
    return await Containerd.open(given.address, given.namespace, f"{options.run_folder}/containers")


def network_config(options: EngineOptions) -> NetworkConfig:
    """The network room's options out of the engine's."""
    given = options.network
    return NetworkConfig(bridge=given.bridge, bip=given.bip, fixed_cidr=given.fixed_cidr, ipv6=given.ipv6,
                         fixed_cidr_v6=given.fixed_cidr_v6, default_gateway=given.default_gateway,
                         default_gateway_v6=given.default_gateway_v6,
                         mtu=given.mtu, icc=given.icc, ip_masq=given.ip_masq, iptables=given.iptables,
                         ip6tables=given.ip6tables, ip_forward=given.ip_forward,
                         userland_proxy=given.userland_proxy, default_bind_address="" if given.ip == "0.0.0.0" else given.ip,
                         default_address_pools=given.default_address_pools, table=given.table, owner=options.data_root)
