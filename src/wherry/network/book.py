"""The networks on disk: dockerd's own BoltDB file in the data root's `network/files`, so that either daemon goes on with them.

The file is written anew as a whole, replaced atomically and synced. What it holds beside networks stays as it was.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry import bolt
from wherry.errors import DataLoss
from wherry.linux import file
from wherry.network import libnetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.network.model import Network

NAME = "local-kv.db"
_BUCKET = b"libnetwork"


class Book:
    """The file of one data root."""

    def __init__(self, folder: str) -> None:
        """`folder`: `<data root>/network/files`; made when something is written."""
        self.path = os.path.join(folder, NAME)
        self._records: Mapping[bytes, bytes] = {}

    def read(self) -> tuple[Network, ...]:
        """The networks kept, for the start. Raises DataLoss for a damaged file, Unsupported for networks not done here."""
        file.sweep(os.path.dirname(self.path))
        try:
            content = file.read(self.path, bolt.MAX_BYTES)
        except FileNotFoundError:
            return ()
        try:
            self._records = bolt.values(content, _BUCKET)
            return libnetwork.read(self._records)
        except DataLoss as error:
            raise DataLoss(f"{self.path}: {error}") from error

    def write(self, networks: tuple[Network, ...]) -> None:
        """Replaces what is kept. Raises OSError and leaves the old content."""
        os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
        records = libnetwork.write(networks, self._records)
        file.replace_durably(self.path, bolt.dump({_BUCKET: records}))
        self._records = records
