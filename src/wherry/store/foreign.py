"""What dockerd keeps in a data root that is not files in folders: networks and volumes in BoltDB files.

wherry in dockerd's place must not lose them silently: it asks here, and refuses a root by naming them.
"""

from __future__ import annotations

import json
import os

from wherry.errors import DataLoss, NotFound
from wherry.record import Record
from wherry.store.bolt import Bucket, open_database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DEFAULT_NETWORKS = frozenset({"bridge", "host", "none"})
_NETWORK_KEYS = b"docker/network/v1.0/network/"
_INDEX_BYTES = 8  # libkv puts a counter before each value


class ForeignNetwork(Record):
    """A network that somebody made with `docker network create`."""

    id: str
    name: str
    driver: str


class ForeignVolume(Record):
    """A volume's options and labels, that its folder alone does not tell."""

    name: str
    driver: str
    options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def user_networks(root: str) -> tuple[ForeignNetwork, ...]:
    """The networks in a data root beside the three that every daemon makes; sorted by name. Raises DataLoss, OSError."""
    found = []
    for key, value in _records(f"{root}/network/files/local-kv.db", b"libnetwork"):
        if not key.startswith(_NETWORK_KEYS):
            continue
        fields = _json(value[_INDEX_BYTES:], key)
        name = str(fields.get("name", ""))
        if name not in DEFAULT_NETWORKS:
            found.append(ForeignNetwork(id=str(fields.get("id", "")), name=name, driver=str(fields.get("networkType", ""))))
    return tuple(sorted(found, key=lambda one: (one.name, one.id)))


def volumes(root: str) -> tuple[ForeignVolume, ...]:
    """What dockerd knows of the volumes in a data root; sorted by name. Raises DataLoss, OSError."""
    found = []
    for key, value in _records(f"{root}/volumes/metadata.db", b"volumes"):
        fields = _json(value, key)
        found.append(ForeignVolume(
            name=key.decode(errors="replace"), driver=str(fields.get("Driver", "")), options=_pairs(fields.get("Options")),
            labels=_pairs(fields.get("Labels"))))  # fmt: skip
    return tuple(sorted(found, key=lambda one: one.name))


def _records(path: str, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
    try:
        if not os.path.getsize(path):
            return  # made by us, for its lock (root.py)
        database = open_database(path)
        items = database.bucket(bucket).items()
    except (FileNotFoundError, NotFound):
        return
    except DataLoss as err:
        raise DataLoss(f'"{path}": {err}') from err
    for key, value in items:
        if not isinstance(value, Bucket):
            yield key, value


def _json(value: bytes, key: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(value)
    except ValueError as err:
        raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: {err}') from err
    if not isinstance(fields, dict):
        raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: not an object')
    return fields


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(key), str(one)) for key, one in value.items())) if isinstance(value, dict) else ()
