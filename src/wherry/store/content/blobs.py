"""What namespaces know of blobs: each sees those that it has written, or has named when they were there already."""

from __future__ import annotations

import time

from wherry.errors import InvalidArgument, NotFound
from wherry.oci.gotext import quote
from wherry.oci.jsontext import dumps, loads
from wherry.record import Record
from wherry.store.metadata.filters import of_map
from wherry.store.metadata.leases import CONTENT
from wherry.store.metadata.names import check_labels, kept, updated_labels
from wherry.store.metadata.namespaces import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from wherry.store.content.files import ContentFiles
    from wherry.store.metadata.database import Database
    from wherry.store.metadata.filters import Filter
    from wherry.store.metadata.leases import Leases

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blobs (
    namespace TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, labels TEXT NOT NULL,
    created_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL,
    PRIMARY KEY (namespace, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_digest ON blobs (digest);
"""
_COLUMNS: Final = "digest, size, labels, created_ns, updated_ns"


class Info(Record):
    """What a namespace knows of a blob; `size` is bytes."""

    digest: str
    size: int
    labels: Mapping[str, str]
    created_ns: int
    updated_ns: int

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        match path:
            case ["digest"]:
                return self.digest
            case ["labels", *rest]:
                return of_map(self.labels, rest)
            case _:
                return None


class Blobs:
    """The rows of blobs."""

    def __init__(self, database: Database, leases: Leases, files: ContentFiles) -> None:
        self._database = database
        self._leases = leases
        self._files = files

    def info(self, namespace: str, digest: str) -> Info:
        """One by its digest. Raises NotFound."""
        with self._database.reading() as connection:
            return _found(connection, namespace, digest)

    def all(self, namespace: str, wanted: Filter) -> list[Info]:
        """Those of a namespace that a filter lets through, by digest."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM blobs WHERE namespace = ? ORDER BY digest",
                                      (namespace,)).fetchall()
        infos = [_info(row) for row in rows]
        return [one for one in infos if wanted(one.field)]

    def update(self, namespace: str, digest: str, labels: Mapping[str, str], paths: Sequence[str]) -> Info:
        """Replaces the labels, or those that the paths name (`labels`, `labels.NAME`). Raises NotFound, InvalidArgument."""
        with self._database.writing() as connection:
            info = _found(connection, namespace, digest)
            for path in paths or ("labels",):
                changed = updated_labels(info.labels, labels, path)
                if changed is None:
                    raise InvalidArgument(f"cannot update {quote(path)} field on content info {quote(digest)}: invalid argument")
                info = info.replace(labels=changed)
            check_labels(info.labels, "info.Labels")
            info = info.replace(updated_ns=time.time_ns())
            connection.execute("UPDATE blobs SET labels = ?, updated_ns = ? WHERE namespace = ? AND digest = ?",
                               (dumps(dict(info.labels)), info.updated_ns, namespace, digest))
        return info

    def delete(self, namespace: str, digest: str) -> None:
        """The namespace does not know it any longer; its file is collected when no other does. Raises NotFound."""
        with self._database.writing() as connection:
            if not connection.execute("DELETE FROM blobs WHERE namespace = ? AND digest = ?", (namespace, digest)).rowcount:
                raise _not_found(digest)
            self._leases.leave(connection, namespace, CONTENT, digest)

    def path(self, namespace: str, digest: str) -> str:
        """The file of one. Raises NotFound, also when its file has been lost."""
        self.info(namespace, digest)
        if self._files.size(digest) is None:
            raise NotFound(f"blob {digest} expected at {self._files.blob(digest)}: blob not found: not found")
        return self._files.blob(digest)


def knows(connection: sqlite3.Connection, namespace: str, digest: str) -> bool:
    """In the caller's transaction: whether a namespace knows a blob."""
    return bool(_rows(connection, namespace, digest))


def add(connection: sqlite3.Connection, namespace: str, digest: str, size: int, labels: Mapping[str, str]) -> None:
    """In the caller's transaction: the namespace, which did not know it, knows it from now on."""
    ensure(connection, namespace)
    now_ns = time.time_ns()
    connection.execute("INSERT INTO blobs VALUES (?, ?, ?, ?, ?, ?)",
                       (namespace, digest, size, dumps(kept(labels)), now_ns, now_ns))


def _rows(connection: sqlite3.Connection, namespace: str, digest: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT {_COLUMNS} FROM blobs WHERE namespace = ? AND digest = ?", (namespace, digest)).fetchall()


def _found(connection: sqlite3.Connection, namespace: str, digest: str) -> Info:
    rows = _rows(connection, namespace, digest)
    if not rows:
        raise _not_found(digest)
    return _info(rows[0])


def _info(row: tuple[Any, ...]) -> Info:
    digest, size, labels, created_ns, updated_ns = row
    return Info(digest=digest, size=size, labels=loads(labels), created_ns=created_ns, updated_ns=updated_ns)


def _not_found(digest: str) -> NotFound:
    return NotFound(f"content digest {digest}: not found")
