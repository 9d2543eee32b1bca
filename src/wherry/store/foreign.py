"""What dockerd keeps of volumes in a data root beside their folders: a BoltDB file with a record for each.

It is read at the start and written at the end. In between it may be behind: what counts here is in the volumes' folders.
"""

from __future__ import annotations

import json

from wherry import bolt
from wherry.errors import DataLoss
from wherry.linux.file import read
from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from wherry.store.root import DataRoot

    Pairs = tuple[tuple[str, str], ...]

_BUCKET = b"volumes"


class ForeignVolume(Record):
    """A volume's options and labels, that its folder alone does not tell; None where none were given."""

    name: str
    driver: str
    options: Pairs | None = None
    labels: Pairs | None = None


def volumes(root: str) -> tuple[ForeignVolume, ...]:
    """What dockerd knows of the volumes in a data root; sorted by name. Raises DataLoss, OSError."""
    found = []
    for key, value in _records(root).items():
        fields = _json(value, key)
        found.append(ForeignVolume(
            name=key.decode(errors="replace"), driver=str(fields.get("Driver", "")), options=_pairs(fields.get("Options")),
            labels=_pairs(fields.get("Labels"))))  # fmt: skip
    return tuple(sorted(found, key=lambda one: one.name))


def keep_volumes(root: DataRoot, local: Iterable[ForeignVolume]) -> None:
    """Tells dockerd of these volumes of the driver `local`, and of no others; what it knows of other drivers' stays."""
    before = _records(root.path)
    after = {key: value for key, value in before.items() if _json(value, key).get("Driver") != "local"}
    for one in local:
        labels, options = (None if given is None else dict(given) for given in (one.labels, one.options))
        fields = {"Name": one.name, "Driver": one.driver, "Labels": labels, "Options": options}
        after[one.name.encode()] = json.dumps(fields).encode()
    if {key: _json(value, key) for key, value in after.items()} != {key: _json(value, key) for key, value in before.items()}:
        root.replace_volume_records(bolt.dump({_BUCKET: after}))


def _records(root: str) -> dict[bytes, bytes]:
    path = f"{root}/volumes/metadata.db"
    try:
        return bolt.values(read(path, bolt.MAX_BYTES), _BUCKET)
    except FileNotFoundError:
        return {}
    except DataLoss as err:
        raise DataLoss(f'"{path}": {err}') from err


def _json(value: bytes, key: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(value)
    except ValueError as err:
        raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: {err}') from err
    if not isinstance(fields, dict):
        raise DataLoss(f'record "{key.decode(errors="replace")}" is damaged: not an object')
    return fields


def _pairs(value: Any) -> Pairs | None:
    return tuple(sorted((str(key), str(one)) for key, one in value.items())) if isinstance(value, dict) else None
