"""The networks on disk: one JSON file in the data root's `network/files`, replaced atomically and synced.

    {"version": 1, "networks": [{"id": …, "name": …, the fields of Network}]}

dockerd keeps user networks in a BoltDB file beside it; that file is not touched.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.errors import DataLoss
from wherry.linux import file
from wherry.network.model import network_from_json, to_json
from wherry.oci.jsontext import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.network.model import Network

NAME = "wherry-networks.json"
_VERSION = 1


class Book:
    """The file of one data root."""

    def __init__(self, folder: str) -> None:
        """`folder`: `<data root>/network/files`; made when something is written."""
        self.path = os.path.join(folder, NAME)

    def read(self) -> tuple[Network, ...]:
        """The networks kept, for the start. Raises DataLoss for a file that is none of ours or of a newer version."""
        file.sweep(os.path.dirname(self.path))
        try:
            content = file.read(self.path)
        except FileNotFoundError:
            return ()
        try:
            data = loads(content)
            if data["version"] != _VERSION:
                raise DataLoss(f"{self.path} has version {data['version']}; this wherryd reads version {_VERSION}")
            return tuple(network_from_json(network) for network in data["networks"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(f"{self.path} cannot be read: {error}") from error

    def write(self, networks: Iterable[Network]) -> None:
        """Replaces what is kept. Raises OSError and leaves the old content."""
        os.makedirs(os.path.dirname(self.path), mode=0o750, exist_ok=True)
        text = dumps({"version": _VERSION, "networks": [to_json(network) for network in networks]})
        file.replace_durably(self.path, text.encode())
