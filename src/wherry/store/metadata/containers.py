"""Records of containers: what tasks are made from. What is packed in them (specification, options) is not looked into here."""

from __future__ import annotations

import time

from wherry.errors import AlreadyExists, InvalidArgument, NotFound
from wherry.oci.gotext import quote
from wherry.oci.jsontext import dumps, loads
from wherry.record import Record
from wherry.store.metadata import packed
from wherry.store.metadata.filters import of_map
from wherry.store.metadata.names import check_identifier, check_labels, kept, updated_labels
from wherry.store.metadata.namespaces import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from wherry.store.metadata.database import Database
    from wherry.store.metadata.filters import Filter
    from wherry.store.metadata.packed import Packed

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS containers (
    namespace TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, image TEXT NOT NULL,
    runtime TEXT NOT NULL, options TEXT NOT NULL, spec TEXT NOT NULL,
    snapshotter TEXT NOT NULL, snapshot_key TEXT NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL, extensions TEXT NOT NULL, sandbox TEXT NOT NULL,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
"""
_COLUMNS: Final = ("id, labels, image, runtime, options, spec, snapshotter, snapshot_key, created_ns, updated_ns, extensions, "
                   "sandbox")
_ALL_PATHS: Final = ("labels", "spec", "extensions", "image", "snapshotkey")


class Container(Record):
    """A container. `options` are the runtime's."""

    id: str
    labels: Mapping[str, str]
    image: str
    runtime: str
    options: Packed | None
    spec: Packed | None
    snapshotter: str
    snapshot_key: str
    extensions: Mapping[str, Packed | None]
    sandbox: str
    created_ns: int = 0
    updated_ns: int = 0

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        match path:
            case ["id"]:
                return self.id or None
            case ["runtime", "name"]:
                return self.runtime or None
            case ["image"]:
                return self.image or None
            case ["labels", *rest]:
                return of_map(self.labels, rest)
            case _:
                return None


class Containers:
    """The rows of containers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, namespace: str, name: str) -> Container:
        """One by its id. Raises NotFound."""
        with self._database.reading() as connection:
            found = _find(connection, namespace, name)
        if found is None:
            raise NotFound(f"container {quote(name)} in namespace {quote(namespace)}: not found")
        return found

    def all(self, namespace: str, wanted: Filter) -> list[Container]:
        """Those of a namespace that a filter lets through, by id."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM containers WHERE namespace = ? ORDER BY id",
                                      (namespace,)).fetchall()
        containers = [_container(row) for row in rows]
        return [one for one in containers if wanted(one.field)]

    def create(self, namespace: str, container: Container) -> Container:
        """Makes one. Raises InvalidArgument, AlreadyExists."""
        _check(container, "create container failed validation")
        now_ns = time.time_ns()
        made = container.replace(labels=kept(container.labels), created_ns=now_ns, updated_ns=now_ns)
        with self._database.writing() as connection:
            ensure(connection, namespace)
            if _find(connection, namespace, container.id) is not None:
                raise AlreadyExists(f"container {quote(container.id)}: already exists")
            _write(connection, namespace, made)
        return made

    def update(self, namespace: str, container: Container, paths: Sequence[str]) -> Container:
        """Replaces what the paths name; without paths all that may change.

        Paths: `labels`, `labels.NAME`, `extensions`, `extensions.NAME`, `spec`, `image`, `snapshotkey`. Raises NotFound,
        InvalidArgument (also, without paths, for another snapshotter or runtime than before).
        """
        with self._database.writing() as connection:
            present = _find(connection, namespace, container.id)
            if present is None:
                raise NotFound(f"container {quote(container.id)}: not found")
            if not paths and present.snapshotter != container.snapshotter:
                raise InvalidArgument("container.Snapshotter field is immutable: invalid argument")
            if not paths and present.runtime != container.runtime:
                raise InvalidArgument("container.Runtime.Name field is immutable: invalid argument")
            updated = present
            for path in paths or _ALL_PATHS:
                updated = _updated(updated, container, path)
            _check(updated, "update failed validation")
            updated = updated.replace(updated_ns=time.time_ns())
            _write(connection, namespace, updated)
        return updated

    def delete(self, namespace: str, name: str) -> None:
        """Removes one. Raises NotFound."""
        with self._database.writing() as connection:
            if not connection.execute("DELETE FROM containers WHERE namespace = ? AND id = ?", (namespace, name)).rowcount:
                raise NotFound(f"container {name}: not found")


def _updated(present: Container, given: Container, path: str) -> Container:
    if (labels := updated_labels(present.labels, given.labels, path)) is not None:
        return present.replace(labels=labels)
    if path.startswith("extensions."):
        name = path.removeprefix("extensions.")
        return present.replace(extensions={**present.extensions, name: given.extensions.get(name)})
    fields = {"spec": "spec", "extensions": "extensions", "image": "image", "snapshotkey": "snapshot_key"}
    if path not in fields:
        raise InvalidArgument(f"cannot update {quote(path)} field on {quote(given.id)}: invalid argument")
    return present.replace(**{fields[path]: getattr(given, fields[path])})


def _check(container: Container, doing: str) -> None:
    check_identifier(container.id, f"{doing}: container.ID")
    if "" in container.extensions:
        raise InvalidArgument(f"{doing}: container.Extension keys must not be zero-length: invalid argument")
    check_labels(container.labels, f"{doing}: containers.Labels")
    if not container.runtime:
        raise InvalidArgument(f"{doing}: container.Runtime.Name must be set: invalid argument")
    if container.spec is None:
        raise InvalidArgument(f"{doing}: container.Spec must be set: invalid argument")
    if container.snapshot_key and not container.snapshotter:
        raise InvalidArgument(f"{doing}: container.Snapshotter must be set if container.SnapshotKey is set: invalid argument")


def _find(connection: sqlite3.Connection, namespace: str, name: str) -> Container | None:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM containers WHERE namespace = ? AND id = ?", (namespace, name)).fetchall()
    return _container(rows[0]) if rows else None


def _write(connection: sqlite3.Connection, namespace: str, one: Container) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO containers (namespace, {_COLUMNS}) VALUES ({', '.join('?' * 13)})",
        (namespace, one.id, dumps(dict(one.labels)), one.image, one.runtime, packed.text_of(one.options),
         packed.text_of(one.spec), one.snapshotter, one.snapshot_key, one.created_ns, one.updated_ns,
         packed.text_of_map(one.extensions), one.sandbox))


def _container(row: tuple[Any, ...]) -> Container:
    (name, labels, image, runtime, options, spec, snapshotter, snapshot_key, created_ns, updated_ns, extensions, sandbox) = row
    return Container(id=name, labels=loads(labels), image=image, runtime=runtime, options=packed.of_text(options),
                     spec=packed.of_text(spec), snapshotter=snapshotter, snapshot_key=snapshot_key, created_ns=created_ns,
                     updated_ns=updated_ns, sandbox=sandbox,
                     extensions=packed.map_of_text(extensions))

