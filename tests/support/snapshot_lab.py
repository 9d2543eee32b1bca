"""Snapshotters for tests: on a database of their own, opened anew as by the next daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.store.metadata import leases, namespaces
from wherry.store.metadata.database import Database
from wherry.store.snapshots import records
from wherry.store.snapshots.snapshotter import Snapshotter

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.store.snapshots.layout import Layout
    from wherry.store.snapshots.model import Mount


class Lab:
    """A snapshotter and what it stands on."""

    def __init__(self, folder: Path | str, layout: type[Layout]) -> None:
        self.base = f"{folder}/snapshots"
        self.layout = layout(self.base)
        self.database = Database(f"{folder}/metadata.db", namespaces.SCHEMA, leases.SCHEMA, records.SCHEMA)
        self.leases = leases.Leases(self.database)
        self.snapshots = Snapshotter(self.layout, records.Records(self.database, self.leases, self.layout.name))

    def files(self, mounts: tuple[Mount, ...]) -> str:
        """The folder that a snapshot is written to, by its mounts."""
        (one,) = mounts
        upper = [word.removeprefix("upperdir=") for word in one.options if word.startswith("upperdir=")]
        return upper[0] if upper else one.source

    def write(self, mounts: tuple[Mount, ...], name: str, content: str = "content") -> None:
        """Writes a file into a snapshot that is not mounted."""
        with open(f"{self.files(mounts)}/{name}", "w") as file:
            file.write(content)
