"""The rooms below containerd's API: opened together, and closed in reverse."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from wherry.api.containerd import moby
from wherry.api.containerd.collecting import Collector
from wherry.api.containerd.exchange import Exchange
from wherry.api.containerd.stored import Stores
from wherry.api.containerd.streaming import Streams
from wherry.store.collection import Collection
from wherry.store.content import blobs, ingests
from wherry.store.content.files import ContentFiles
from wherry.store.metadata import containers, images, leases, namespaces, sandboxes
from wherry.store.metadata.database import Database
from wherry.store.snapshots import records as snapshot_records
from wherry.store.snapshots.native import NativeLayout
from wherry.store.snapshots.overlayfs import OverlayLayout
from wherry.store.snapshots.snapshotter import Snapshotter

if TYPE_CHECKING:
    from wherry.api.containerd.pace import Pace
    from wherry.engine.compose import Engine
    from wherry.engine.pool import Pool
    from wherry.store.snapshots.layout import Layout

_SCHEMAS = (namespaces.SCHEMA, containers.SCHEMA, images.SCHEMA, leases.SCHEMA, sandboxes.SCHEMA, blobs.SCHEMA, ingests.SCHEMA,
            snapshot_records.SCHEMA)


class Rooms:
    """The rooms by name; it does nothing itself but open and close them."""

    def __init__(self, folder: str, pool: Pool, engine: Engine | None, pace: Pace) -> None:
        """Opens what lies in `folder`, makes what is missing, and removes what a crash left half made.

        `pace` is that of garbage collection.

        `engine` is what serves Docker's API in the same daemon: its containers are seen in the namespace `moby`.

        Raises Unsupported for a later version's database, OSError.
        """
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder = folder
        self.pool = pool
        self.exchange = Exchange()
        with ExitStack() as undo:
            self.database = Database(f"{folder}/metadata.db", *_SCHEMAS)
            undo.callback(self.database.close)
            self.namespaces = namespaces.Namespaces(self.database)
            self.containers = containers.Containers(self.database) if engine is None else moby.Containers(self.database, engine)
            self.docker = None if engine is None else moby.Tasks(engine)
            self.images = images.Images(self.database)
            self.leases = leases.Leases(self.database)
            self.sandboxes = sandboxes.Sandboxes(self.database)
            self.streams = Streams()
            files = ContentFiles(f"{folder}/content")
            self.blobs = blobs.Blobs(self.database, self.leases, files)
            self.ingests = ingests.Ingests(self.database, self.leases, files)
            self.snapshotters = {layout.name: self._snapshotter(layout(f"{folder}/snapshots/{layout.name}"))
                                 for layout in (OverlayLayout, NativeLayout)}
            self.stores = Stores(self.blobs, self.ingests, self.images, self.snapshotters, self.exchange)
            collection = Collection(self.database, files, self.ingests, self.snapshotters.values())
            collection.sweep()
            self.collector = Collector(pool, collection, pace)
            self.database.on_write = self.collector.changed
            undo.pop_all()

    def _snapshotter(self, layout: Layout) -> Snapshotter:
        return Snapshotter(layout, snapshot_records.Records(self.database, self.leases, layout.name))

    def close(self) -> None:
        """Nothing is asked of them any more."""
        self.database.close()
