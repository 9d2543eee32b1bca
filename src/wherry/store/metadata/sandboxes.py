"""Records of sandboxes: groups of containers with a life of their own. What is packed in them is not looked into here."""

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
CREATE TABLE IF NOT EXISTS sandboxes (
    namespace TEXT NOT NULL, id TEXT NOT NULL, labels TEXT NOT NULL, runtime TEXT NOT NULL, options TEXT NOT NULL,
    spec TEXT NOT NULL, sandboxer TEXT NOT NULL, extensions TEXT NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
"""
_COLUMNS: Final = "id, labels, runtime, options, spec, sandboxer, extensions, created_ns, updated_ns"
_ALL_PATHS: Final = ("labels", "extensions", "runtime", "spec")


class Sandbox(Record):
    """A sandbox. `options` are the runtime's; `sandboxer` is who makes it."""

    id: str
    labels: Mapping[str, str]
    runtime: str
    options: Packed | None
    spec: Packed | None
    sandboxer: str
    extensions: Mapping[str, Packed | None]
    created_ns: int = 0
    updated_ns: int = 0

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        match path:
            case ["id"]:
                return self.id
            case ["runtime", "name"]:
                return self.runtime or None
            case ["labels", *rest]:
                return of_map(self.labels, rest)
            case _:
                return None


class Sandboxes:
    """The rows of sandboxes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, namespace: str, name: str) -> Sandbox:
        """One by its id. Raises NotFound."""
        with self._database.reading() as connection:
            return _find(connection, namespace, name)

    def all(self, namespace: str, wanted: Filter) -> list[Sandbox]:
        """Those of a namespace that a filter lets through, by id."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM sandboxes WHERE namespace = ? ORDER BY id",
                                      (namespace,)).fetchall()
        sandboxes = [_sandbox(row) for row in rows]
        return [one for one in sandboxes if wanted(one.field)]

    def create(self, namespace: str, sandbox: Sandbox) -> Sandbox:
        """Makes one. Raises InvalidArgument, AlreadyExists."""
        _check(sandbox)
        now_ns = time.time_ns()
        made = sandbox.replace(labels=kept(sandbox.labels), created_ns=now_ns, updated_ns=now_ns)
        with self._database.writing() as connection:
            ensure(connection, namespace)
            if _rows(connection, namespace, sandbox.id):
                raise AlreadyExists(f"sandbox {quote(sandbox.id)}: already exists")
            _write(connection, namespace, made)
        return made

    def update(self, namespace: str, sandbox: Sandbox, paths: Sequence[str]) -> Sandbox:
        """Replaces what the paths name, or all that may change.

        Paths: `labels`, `labels.NAME`, `extensions`, `extensions.NAME`, `runtime`, `spec`. Raises NotFound, InvalidArgument.
        """
        with self._database.writing() as connection:
            updated = _find(connection, namespace, sandbox.id)
            for path in paths or _ALL_PATHS:
                updated = _updated(updated, sandbox, path)
            _check(updated)
            updated = updated.replace(updated_ns=time.time_ns())
            _write(connection, namespace, updated)
        return updated

    def delete(self, namespace: str, name: str) -> None:
        """Removes one. Raises NotFound."""
        with self._database.writing() as connection:
            _find(connection, namespace, name)
            connection.execute("DELETE FROM sandboxes WHERE namespace = ? AND id = ?", (namespace, name))


def _updated(present: Sandbox, given: Sandbox, path: str) -> Sandbox:
    if (labels := updated_labels(present.labels, given.labels, path)) is not None:
        return present.replace(labels=labels)
    if path.startswith("extensions."):
        name = path.removeprefix("extensions.")
        return present.replace(extensions={**present.extensions, name: given.extensions.get(name)})
    match path:
        case "extensions":
            return present.replace(extensions=given.extensions)
        case "runtime":
            return present.replace(runtime=given.runtime, options=given.options)
        case "spec":
            return present.replace(spec=given.spec)
        case _:
            raise InvalidArgument(f"cannot update {quote(path)} field on sandbox {quote(given.id)}: invalid argument")


def _check(sandbox: Sandbox) -> None:
    check_identifier(sandbox.id, "sandbox.ID")
    check_labels(sandbox.labels, "sandbox.Labels")
    if not sandbox.runtime:
        raise InvalidArgument("sandbox.Runtime.Name must be set: invalid argument")


def _rows(connection: sqlite3.Connection, namespace: str, name: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {_COLUMNS} FROM sandboxes WHERE namespace = ? AND id = ?", (namespace, name)).fetchall()


def _find(connection: sqlite3.Connection, namespace: str, name: str) -> Sandbox:
    rows = _rows(connection, namespace, name)
    if not rows:
        raise NotFound(f"sandbox {quote(name)}: not found")
    return _sandbox(rows[0])


def _write(connection: sqlite3.Connection, namespace: str, one: Sandbox) -> None:
    connection.execute(f"INSERT OR REPLACE INTO sandboxes (namespace, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (namespace, one.id, dumps(dict(one.labels)), one.runtime, packed.text_of(one.options),
                        packed.text_of(one.spec), one.sandboxer, packed.text_of_map(one.extensions), one.created_ns,
                        one.updated_ns))


def _sandbox(row: tuple[Any, ...]) -> Sandbox:
    name, labels, runtime, options, spec, sandboxer, extensions, created_ns, updated_ns = row
    return Sandbox(id=name, labels=loads(labels), runtime=runtime, options=packed.of_text(options), spec=packed.of_text(spec),
                   sandboxer=sandboxer, extensions=packed.map_of_text(extensions), created_ns=created_ns, updated_ns=updated_ns)
