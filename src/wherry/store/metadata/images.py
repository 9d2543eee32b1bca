"""Images: names that point to descriptors. What a descriptor leads to need not be there."""

from __future__ import annotations

import time

from wherry.errors import AlreadyExists, InvalidArgument, NotFound
from wherry.oci.digest import InvalidDigest, parse_digest
from wherry.oci.gotext import quote
from wherry.oci.jsontext import dumps, loads
from wherry.record import Record
from wherry.store.metadata.filters import of_map
from wherry.store.metadata.names import check_labels, kept, updated_labels
from wherry.store.metadata.namespaces import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from wherry.store.metadata.database import Database
    from wherry.store.metadata.filters import Filter

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS images (
    namespace TEXT NOT NULL, name TEXT NOT NULL, labels TEXT NOT NULL,
    media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, annotations TEXT NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
"""
_COLUMNS: Final = "name, labels, media_type, digest, size, annotations, created_ns, updated_ns"


class Target(Record):
    """The descriptor that an image points to; `size` is bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str]


class Image(Record):
    """An image."""

    name: str
    labels: Mapping[str, str]
    target: Target
    created_ns: int = 0
    updated_ns: int = 0

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        match path:
            case ["name"]:
                return self.name or None
            case ["target", "digest"]:
                return self.target.digest or None
            case ["target", "mediatype"]:
                return self.target.media_type or None
            case ["labels", *rest]:
                return of_map(self.labels, rest)
            case ["annotations", *rest]:
                return of_map(self.target.annotations, rest)
            case _:
                return None


class Images:
    """The rows of images."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, namespace: str, name: str) -> Image:
        """One by its name. Raises NotFound."""
        with self._database.reading() as connection:
            return _find(connection, namespace, name)

    def all(self, namespace: str, wanted: Filter) -> list[Image]:
        """Those of a namespace that a filter lets through, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM images WHERE namespace = ? ORDER BY name", (namespace,)).fetchall()
        images = [_image(row) for row in rows]
        return [one for one in images if wanted(one.field)]

    def create(self, namespace: str, image: Image, at_ns: int = 0) -> Image:
        """Makes one, as of `at_ns` (0: now). Raises InvalidArgument, AlreadyExists."""
        _check(image)
        now_ns = at_ns or time.time_ns()
        made = image.replace(labels=kept(image.labels), created_ns=now_ns, updated_ns=now_ns)
        with self._database.writing() as connection:
            ensure(connection, namespace)
            if connection.execute("SELECT 1 FROM images WHERE namespace = ? AND name = ?", (namespace, image.name)).fetchall():
                raise AlreadyExists(f"image {quote(image.name)}: already exists")
            _write(connection, namespace, made)
        return made

    def update(self, namespace: str, image: Image, paths: Sequence[str], at_ns: int = 0) -> Image:
        """Replaces what the paths name (`labels`, `labels.NAME`, `target`, `annotations`, `annotations.NAME`), without paths all.

        Raises NotFound, InvalidArgument.
        """
        with self._database.writing() as connection:
            present = _find(connection, namespace, image.name)
            updated = image if not paths else present
            for path in paths:
                updated = _updated(updated, image, path)
            _check(updated)
            updated = updated.replace(labels=kept(updated.labels), created_ns=present.created_ns,
                                      updated_ns=at_ns or time.time_ns())
            _write(connection, namespace, updated)
        return updated

    def delete(self, namespace: str, name: str, digest: str = "") -> None:
        """Removes one, if it points to `digest` ("": wherever it points to). Raises NotFound."""
        with self._database.writing() as connection:
            present = _find(connection, namespace, name)
            if digest not in ("", present.target.digest):
                raise NotFound(f"image {quote(name)} has target {present.target.digest}, not {digest}: not found")
            connection.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (namespace, name))


def _updated(present: Image, given: Image, path: str) -> Image:
    if (labels := updated_labels(present.labels, given.labels, path)) is not None:
        return present.replace(labels=labels)
    if path == "target":
        return present.replace(target=given.target)
    annotations = updated_labels(present.target.annotations, given.target.annotations, path.replace("annotations", "labels", 1))
    if path.partition(".")[0] != "annotations" or annotations is None:
        raise InvalidArgument(f"cannot update {quote(path)} field on image {quote(given.name)}: invalid argument")
    return present.replace(target=present.target.replace(annotations=annotations))


def _check(image: Image) -> None:
    if not image.name:
        raise InvalidArgument("image name must not be empty: invalid argument")
    check_labels(image.labels, "image.Labels")
    try:
        parse_digest(image.target.digest)
    except InvalidDigest as error:
        raise InvalidArgument(f"Target.Digest {quote(image.target.digest)} invalid: {error.message}: invalid argument") from None
    if image.target.size <= 0:
        raise InvalidArgument("Target.Size must be greater than zero: invalid argument")
    if not image.target.media_type:
        raise InvalidArgument("Target.MediaType must be set: invalid argument")


def _find(connection: sqlite3.Connection, namespace: str, name: str) -> Image:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM images WHERE namespace = ? AND name = ?", (namespace, name)).fetchall()
    if not rows:
        raise NotFound(f"image {quote(name)}: not found")
    return _image(rows[0])


def _write(connection: sqlite3.Connection, namespace: str, image: Image) -> None:
    target = image.target
    connection.execute(f"INSERT OR REPLACE INTO images (namespace, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (namespace, image.name, dumps(dict(image.labels)), target.media_type, target.digest, target.size,
                        dumps(dict(target.annotations)), image.created_ns, image.updated_ns))


def _image(row: tuple[Any, ...]) -> Image:
    name, labels, media_type, digest, size, annotations, created_ns, updated_ns = row
    target = Target(media_type=media_type, digest=digest, size=size, annotations=loads(annotations))
    return Image(name=name, labels=loads(labels), target=target, created_ns=created_ns, updated_ns=updated_ns)
