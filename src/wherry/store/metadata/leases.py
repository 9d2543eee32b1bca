"""Leases: who protects what from garbage collection while nothing refers to it yet."""

from __future__ import annotations

import time

from wherry.errors import AlreadyExists, InvalidArgument, NotFound, Unsupported
from wherry.oci.digest import InvalidDigest, parse_digest
from wherry.oci.gotext import quote
from wherry.oci.jsontext import dumps, loads
from wherry.record import Record
from wherry.store.metadata.filters import of_map
from wherry.store.metadata.names import kept
from wherry.store.metadata.namespaces import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from wherry.store.metadata.database import Database
    from wherry.store.metadata.filters import Filter

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS leases (
    namespace TEXT NOT NULL, id TEXT NOT NULL, created_ns INTEGER NOT NULL, labels TEXT NOT NULL,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease_resources (
    namespace TEXT NOT NULL, lease TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (namespace, lease, kind, name),
    FOREIGN KEY (namespace, lease) REFERENCES leases (namespace, id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leased ON lease_resources (namespace, kind, name);
"""
CONTENT: Final = "content"
INGESTS: Final = "ingests"
_SNAPSHOTS: Final = "snapshots"


class Lease(Record):
    """A lease."""

    id: str
    created_ns: int
    labels: Mapping[str, str]

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        match path:
            case ["id"]:
                return self.id or None
            case ["labels", *rest]:
                return of_map(self.labels, rest)
            case _:
                return None


class Resource(Record):
    """What a lease protects: `content` and a digest, `ingests` and a ref, `snapshots/<snapshotter>` and a key."""

    kind: str
    name: str


class Leases:
    """The rows of leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, namespace: str, name: str, labels: Mapping[str, str]) -> Lease:
        """Makes one. Raises AlreadyExists."""
        lease = Lease(id=name, created_ns=time.time_ns(), labels=kept(labels))
        with self._database.writing() as connection:
            ensure(connection, namespace)
            if _exists(connection, namespace, name):
                raise AlreadyExists(f"lease {quote(name)}: already exists")
            connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?)",
                               (namespace, name, lease.created_ns, dumps(dict(lease.labels))))
        return lease

    def delete(self, namespace: str, name: str) -> None:
        """Removes one; what it alone protects is collected sooner or later. Raises NotFound."""
        with self._database.writing() as connection:
            if not connection.execute("DELETE FROM leases WHERE namespace = ? AND id = ?", (namespace, name)).rowcount:
                raise _not_found(name)

    def all(self, namespace: str, wanted: Filter) -> list[Lease]:
        """Those of a namespace that a filter lets through, by id."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id, created_ns, labels FROM leases WHERE namespace = ? ORDER BY id",
                                      (namespace,)).fetchall()
        leases = [Lease(id=name, created_ns=created_ns, labels=loads(labels)) for name, created_ns, labels in rows]
        return [one for one in leases if wanted(one.field)]

    def add_resource(self, namespace: str, lease: str, resource: Resource) -> None:
        """The lease protects it from now on, also before it is there. Raises NotFound, InvalidArgument, Unsupported."""
        with self._database.writing() as connection:
            if not _exists(connection, namespace, lease):
                raise _not_found(lease)
            _check(resource)
            _add(connection, namespace, lease, resource.kind, resource.name)

    def delete_resource(self, namespace: str, lease: str, resource: Resource) -> None:
        """The lease does not protect it any longer; one that it never did is no error."""
        with self._database.writing() as connection:
            if not _exists(connection, namespace, lease):
                raise _not_found(lease)
            _check(resource)
            connection.execute("DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND kind = ? AND name = ?",
                               (namespace, lease, resource.kind, resource.name))

    def resources(self, namespace: str, lease: str) -> list[Resource]:
        """What it protects: content first, then ingests, then snapshots. Raises NotFound."""
        with self._database.reading() as connection:
            if not _exists(connection, namespace, lease):
                raise _not_found(lease)
            rows = connection.execute("SELECT kind, name FROM lease_resources WHERE namespace = ? AND lease = ? "
                                      "ORDER BY kind, name", (namespace, lease)).fetchall()
        return [Resource(kind=kind, name=name) for kind, name in rows]

    def join(self, connection: sqlite3.Connection, namespace: str, lease: str, kind: str, name: str) -> None:
        """In the caller's transaction: the lease ("": none) protects what is made there. Raises NotFound for an unknown one."""
        if not lease:
            return
        if not _exists(connection, namespace, lease):
            raise NotFound("lease does not exist: not found")
        _add(connection, namespace, lease, kind, name)

    def leave(self, connection: sqlite3.Connection, namespace: str, kind: str, name: str) -> None:
        """In the caller's transaction: it is gone, so no lease protects it any longer."""
        connection.execute("DELETE FROM lease_resources WHERE namespace = ? AND kind = ? AND name = ?", (namespace, kind, name))


def _exists(connection: sqlite3.Connection, namespace: str, lease: str) -> bool:
    found: list[Any] = connection.execute("SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (namespace, lease)).fetchall()
    return bool(found)


def _add(connection: sqlite3.Connection, namespace: str, lease: str, kind: str, name: str) -> None:
    connection.execute("INSERT OR IGNORE INTO lease_resources VALUES (?, ?, ?, ?)", (namespace, lease, kind, name))


def _not_found(lease: str) -> NotFound:
    return NotFound(f"lease {quote(lease)}: not found")


def _check(resource: Resource) -> None:
    kind, *rest = resource.kind.split("/")
    if not resource.name:
        raise InvalidArgument("key required")
    if kind in (CONTENT, INGESTS):
        if rest:
            raise InvalidArgument(f"invalid resource type {resource.kind}: invalid argument")
        if kind == CONTENT:
            try:
                parse_digest(resource.name)
            except InvalidDigest as error:
                raise InvalidArgument(f"invalid content resource id {resource.name}: {error.message}: invalid argument") from None
    elif kind == _SNAPSHOTS:
        if len(rest) != 1:
            raise InvalidArgument(f"invalid snapshot resource type {resource.kind}: invalid argument")
    else:
        raise Unsupported(f"resource type {resource.kind} not supported yet: not implemented")
