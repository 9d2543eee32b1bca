"""The rooms below containerd's API: opened together, and closed in reverse."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.api.containerd.exchange import Exchange
from wherry.store.metadata import namespaces
from wherry.store.metadata.database import Database

if TYPE_CHECKING:
    from wherry.engine.pool import Pool
    from wherry.shim.client import Zygote

_SCHEMAS = (namespaces.SCHEMA,)


class Rooms:
    """The rooms by name; it does nothing itself but open and close them."""

    def __init__(self, folder: str, run_folder: str, pool: Pool, zygote: Zygote) -> None:
        """Opens what lies in `folder`, makes what is missing, and removes what a crash left half made.

        What need not outlive the machine's next start lies in `run_folder`. `zygote` starts shims.

        Raises Unsupported for a later version's database, OSError.
        """
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder = folder
        self.run_folder = run_folder
        self.pool = pool
        self.zygote = zygote
        self.exchange = Exchange()
        self.database = Database(f"{folder}/metadata.db", *_SCHEMAS)
        self.namespaces = namespaces.Namespaces(self.database)

    def close(self) -> None:
        """Nothing is asked of them any more."""
        self.database.close()
