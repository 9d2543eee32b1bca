"""What is known of snapshots: rows of the metadata database, for one snapshotter, read and written in its transactions.

A row's id is the number of the snapshot's folder; numbers are not given twice.
"""

from __future__ import annotations

from contextlib import contextmanager

from wherry.errors import NotFound
from wherry.oci.jsontext import dumps, loads
from wherry.store.metadata.names import kept
from wherry.store.metadata.namespaces import ensure
from wherry.store.snapshots.model import COMMITTED, Info, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from typing import Any, Final

    from wherry.store.metadata.database import Database
    from wherry.store.metadata.leases import Leases


SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    snapshotter TEXT NOT NULL,
    name TEXT NOT NULL,
    parent INTEGER REFERENCES snapshots (id),
    kind INTEGER NOT NULL,
    created_ns INTEGER NOT NULL,
    updated_ns INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    inodes INTEGER NOT NULL DEFAULT 0,
    labels TEXT NOT NULL,
    UNIQUE (namespace, snapshotter, name)
);
CREATE INDEX IF NOT EXISTS snapshots_parent ON snapshots (parent);
"""
_INFO: Final = """SELECT one.name, coalesce(below.name, ''), one.kind, one.created_ns, one.updated_ns, one.labels, one.id
    FROM snapshots AS one LEFT JOIN snapshots AS below ON below.id = one.parent"""


class Records:
    """The rows of one snapshotter."""

    def __init__(self, database: Database, leases: Leases, snapshotter: str) -> None:
        self._database = database
        self._leases = leases
        self._snapshotter = snapshotter

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state."""
        with self._database.reading() as connection:
            yield Transaction(connection, self._leases, self._snapshotter)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction that nobody else writes beside."""
        with self._database.writing() as connection:
            yield Transaction(connection, self._leases, self._snapshotter)


class Transaction:
    """What can be read and written in one transaction."""

    def __init__(self, connection: sqlite3.Connection, leases: Leases, snapshotter: str) -> None:
        self._leases = leases
        self._connection = connection
        self._snapshotter = snapshotter
        self._lease_kind = f"snapshots/{snapshotter}"

    def has(self, namespace: str, name: str) -> bool:
        """Whether there is one of that name."""
        rows = self._run("SELECT 1 FROM snapshots WHERE namespace = ? AND snapshotter = ? AND name = ?",
                         namespace, self._snapshotter, name)
        return bool(rows)

    def find(self, namespace: str, name: str) -> tuple[int, Info]:
        """Number and description. Raises NotFound."""
        rows = self._run(f"{_INFO} WHERE one.namespace = ? AND one.snapshotter = ? AND one.name = ?",
                         namespace, self._snapshotter, name)
        if not rows:
            raise NotFound(f"snapshot {name} does not exist: not found")
        return rows[0][6], _info(rows[0])

    def all(self, namespace: str) -> tuple[Info, ...]:
        """All of a namespace, by name."""
        rows = self._run(f"{_INFO} WHERE one.namespace = ? AND one.snapshotter = ? ORDER BY one.name",
                         namespace, self._snapshotter)
        return tuple(_info(row) for row in rows)

    def numbers(self) -> tuple[int, ...]:
        """Of all namespaces."""
        return tuple(row[0] for row in self._run("SELECT id FROM snapshots WHERE snapshotter = ?", self._snapshotter))

    def parents(self, number: int) -> tuple[int, ...]:
        """The numbers of those below, the nearest first."""
        rows = self._run("""WITH RECURSIVE below (id, depth) AS (
                SELECT parent, 1 FROM snapshots WHERE id = ?
                UNION ALL SELECT snapshots.parent, depth + 1 FROM snapshots JOIN below ON snapshots.id = below.id)
            SELECT id FROM below WHERE id IS NOT NULL ORDER BY depth""", number)
        return tuple(row[0] for row in rows)

    def has_children(self, number: int) -> bool:
        """Whether others lie on it."""
        return bool(self._run("SELECT 1 FROM snapshots WHERE parent = ? LIMIT 1", number))

    def usage(self, number: int) -> Usage:
        """As it was when it was committed; nothing before."""
        ((size_bytes, inodes),) = self._run("SELECT size_bytes, inodes FROM snapshots WHERE id = ?", number)
        return Usage(size_bytes=size_bytes, inodes=inodes)

    def add(self, namespace: str, name: str, parent: int | None, kind: int, labels: Mapping[str, str], now_ns: int) -> int:
        """A new one; its number."""
        ensure(self._connection, namespace)
        cursor = self._connection.execute(
            """INSERT INTO snapshots (namespace, snapshotter, name, parent, kind, created_ns, updated_ns, labels)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (namespace, self._snapshotter, name, parent, kind, now_ns, now_ns, dumps(kept(labels))))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def commit(self, number: int, name: str, usage: Usage, labels: Mapping[str, str], now_ns: int) -> None:
        """It is committed under a name."""
        self._run("""UPDATE snapshots SET name = ?, kind = ?, size_bytes = ?, inodes = ?, labels = ?, created_ns = ?,
                     updated_ns = ? WHERE id = ?""",
                  name, COMMITTED, usage.size_bytes, usage.inodes, dumps(kept(labels)), now_ns, now_ns, number)

    def relabel(self, number: int, labels: Mapping[str, str], now_ns: int) -> None:
        """Its labels are these."""
        self._run("UPDATE snapshots SET labels = ?, updated_ns = ? WHERE id = ?", dumps(kept(labels)), now_ns, number)

    def remove(self, number: int) -> None:
        """It is gone."""
        self._run("DELETE FROM snapshots WHERE id = ?", number)

    def join_lease(self, namespace: str, lease: str, name: str) -> None:
        """A lease ("": none) protects it. Raises NotFound for an unknown one."""
        self._leases.join(self._connection, namespace, lease, self._lease_kind, name)

    def leave_lease(self, namespace: str, name: str) -> None:
        """No lease does any longer."""
        self._leases.leave(self._connection, namespace, self._lease_kind, name)

    def _run(self, statement: str, *values: object) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()


def _info(row: tuple[Any, ...]) -> Info:
    name, parent, kind, created_ns, updated_ns, labels = row[:6]
    return Info(name=name, parent=parent, kind=kind, created_ns=created_ns, updated_ns=updated_ns, labels=loads(labels))
