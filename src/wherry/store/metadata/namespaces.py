"""Namespaces: made explicitly, or by the first thing that is put into one."""

from __future__ import annotations

from wherry.errors import AlreadyExists, Conflict, NotFound
from wherry.oci.gotext import quote
from wherry.oci.jsontext import dumps, loads
from wherry.record import Record
from wherry.store.metadata.names import check_identifier, check_labels, kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Final

    from wherry.store.metadata.database import Database

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS namespaces (name TEXT PRIMARY KEY, labels TEXT NOT NULL) WITHOUT ROWID;
"""
# What keeps a namespace from being deleted: the table, and containerd's word for it.
_CONTENTS: Final = (("images", "images"), ("blobs", "blobs"), ("containers", "containers"), ("snapshots", "snapshots"))


class Namespace(Record):
    """A namespace."""

    name: str
    labels: Mapping[str, str]


class Namespaces:
    """The rows of namespaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, labels: Mapping[str, str]) -> Namespace:
        """Makes one. Raises InvalidArgument, AlreadyExists."""
        check_identifier(name)
        check_labels(labels, "namespace.Labels")
        with self._database.writing() as connection:
            if _labels(connection, name) is not None:
                raise AlreadyExists(f"namespace {quote(name)}: already exists")
            connection.execute("INSERT INTO namespaces VALUES (?, ?)", (name, dumps(dict(labels))))
        return Namespace(name=name, labels=dict(labels))

    def get(self, name: str) -> Namespace:
        """One by its name. One that nobody made has no labels, as with containerd."""
        with self._database.reading() as connection:
            return Namespace(name=name, labels=_labels(connection, name) or {})

    def all(self) -> list[Namespace]:
        """All, by name."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, labels FROM namespaces ORDER BY name").fetchall()
        return [Namespace(name=name, labels=loads(labels)) for name, labels in rows]

    def set_labels(self, name: str, labels: Mapping[str, str], *, replace: bool) -> None:
        """Sets labels (an empty value removes one), all others being removed with `replace`. Makes the namespace."""
        check_labels(labels, "namespace.Labels")
        with self._database.writing() as connection:
            ensure(connection, name)
            present = {} if replace else _labels(connection, name) or {}
            connection.execute("UPDATE namespaces SET labels = ? WHERE name = ?", (dumps(kept({**present, **labels})), name))

    def delete(self, name: str) -> None:
        """Removes an empty one. Raises NotFound, Conflict naming what is in it."""
        with self._database.writing() as connection:
            if left := _contents(connection, name):
                raise Conflict(f"namespace {quote(name)} must be empty, but it still has {', '.join(left)}: failed precondition")
            if not connection.execute("DELETE FROM namespaces WHERE name = ?", (name,)).rowcount:
                raise NotFound(f"namespace {quote(name)}: not found")


def ensure(connection: sqlite3.Connection, name: str) -> None:
    """Makes the namespace, in the transaction that puts something into it."""
    connection.execute("INSERT OR IGNORE INTO namespaces VALUES (?, '{}')", (name,))


def _labels(connection: sqlite3.Connection, name: str) -> dict[str, str] | None:
    rows = connection.execute("SELECT labels FROM namespaces WHERE name = ?", (name,)).fetchall()
    return loads(rows[0][0]) if rows else None


def _contents(connection: sqlite3.Connection, name: str) -> Sequence[str]:
    tables = {table for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [word for table, word in _CONTENTS if table in tables
            and connection.execute(f"SELECT 1 FROM {table} WHERE namespace = ? LIMIT 1", (name,)).fetchall()]
