"""Writes of blobs: begun under a ref, resumed after a break or a crash, committed or aborted.

The record (a row) says that there is a write; its file has the bytes so far. A write whose digest was announced, and whose blob
is there already for another namespace, needs no bytes: its writer stands at the end from the start.

    writer(ref) ──write…──close            the bytes stay; another writer goes on where this one stood
                └─write…──commit(digest)   verified, synced, renamed to its place, recorded: one transaction
"""

from __future__ import annotations

import os
import threading
import time

from wherry.errors import AlreadyExists, NotFound, Unavailable
from wherry.record import Record
from wherry.store.content import blobs
from wherry.store.content.writer import Writer
from wherry.store.metadata.leases import CONTENT, INGESTS
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
CREATE TABLE IF NOT EXISTS ingests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL, ref TEXT NOT NULL,
    total INTEGER NOT NULL, expected TEXT NOT NULL, started_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL,
    UNIQUE (namespace, ref)
);
"""
_COLUMNS: Final = "id, ref, total, started_ns"
_LIFETIME_NS: Final = 24 * 3600 * 1_000_000_000
"""How long a write that no lease protects is kept. `expires_ns` 0: a lease does."""


class Status(Record):
    """Where a write stands; sizes are bytes, `total` 0 when it was not announced.

    `expected` is the blob that the write comes to, where that is there already and no bytes are needed.
    """

    number: int
    ref: str
    offset: int
    total: int
    expected: str
    started_ns: int
    updated_ns: int

    def field(self, path: Sequence[str]) -> str | None:
        """What a filter finds."""
        return self.ref if list(path) == ["ref"] else None


class Ingests:
    """The writes of all namespaces. Usable from any thread."""

    def __init__(self, database: Database, leases: Leases, files: ContentFiles) -> None:
        self._database = database
        self._leases = leases
        self._files = files
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], float] = {}  # since when

    def writer(self, namespace: str, ref: str, *, total: int = 0, expected: str = "", lease: str = "") -> Writer:
        """Begins a write, or goes on with it. `total` bytes and the digest `expected` are announced, 0 and "" when they are not.

        Raises AlreadyExists (the namespace knows the expected blob: the lease protects it now), Unavailable while another
        writer has the ref, NotFound for an unknown lease.
        """
        self._claim(namespace, ref)
        try:
            with self._database.writing() as connection:
                if expected and blobs.knows(connection, namespace, expected):
                    self._leases.join(connection, namespace, lease, CONTENT, expected)
                    status = None
                else:
                    status = self._begin(connection, namespace, ref, total, expected, lease)
            if status is None:
                raise AlreadyExists(f"content {expected}: already exists")
            return Writer(self, namespace, status, self._files)
        except BaseException:
            self.release(namespace, ref)
            raise

    def status(self, namespace: str, ref: str) -> Status:
        """Where one stands. Raises NotFound."""
        with self._database.reading() as connection:
            row = _row(connection, namespace, ref)
        if row is None or (status := self._status(row)) is None:
            raise _not_found(ref)
        return status

    def statuses(self, namespace: str, wanted: Filter) -> list[Status]:
        """Those of a namespace that a filter lets through, by ref."""
        with self._database.reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM ingests WHERE namespace = ? ORDER BY ref", (namespace,)).fetchall()
        statuses = [self._status(row) for row in rows]
        return [one for one in statuses if one is not None and wanted(one.field)]

    def abort(self, namespace: str, ref: str) -> None:
        """Forgets one and its bytes. Raises NotFound."""
        with self._database.writing() as connection:
            row = _row(connection, namespace, ref)
            if row is None:
                raise _not_found(ref)
            self._forget(connection, namespace, ref)
        self._files.remove_ingest(row[0])

    def is_open(self, namespace: str, ref: str) -> bool:
        """Whether a writer has it now."""
        with self._lock:
            return (namespace, ref) in self._open

    # -- for the writer

    def commit(self, namespace: str, status: Status, digest: str, size: int, labels: Mapping[str, str], lease: str) -> None:
        """Turns what was written, which is verified and on the disk, into a blob of the namespace.

        Raises AlreadyExists when the namespace has it already; the write is over in any case.
        """
        with self._database.writing() as connection:
            known = blobs.knows(connection, namespace, digest)
            if not known:
                blobs.add(connection, namespace, digest, size, labels)
            self._forget(connection, namespace, status.ref)
            self._leases.join(connection, namespace, lease, CONTENT, digest)
            if not status.expected:
                self._files.keep(status.number, digest)
        if known:
            raise AlreadyExists(f"content {digest}: already exists")

    def unshare(self, namespace: str, ref: str) -> None:
        """The write has bytes of its own after all."""
        with self._database.writing() as connection:
            connection.execute("UPDATE ingests SET expected = '' WHERE namespace = ? AND ref = ?", (namespace, ref))

    def release(self, namespace: str, ref: str) -> None:
        """Others may go on with the write."""
        with self._lock:
            self._open.pop((namespace, ref), None)

    # -- below

    def _claim(self, namespace: str, ref: str) -> None:
        with self._lock:
            since = self._open.setdefault((namespace, ref), now := time.time())
            if since is not now:
                moment = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(since))
                raise Unavailable(f"ref {namespace}/{ref} locked for {now - since:.3f}s (since {moment}): unavailable")

    def _begin(self, connection: sqlite3.Connection, namespace: str, ref: str, total: int, expected: str, lease: str) -> Status:
        """Makes the row, or takes that of before, and says where the write stands with what is announced now."""
        self._leases.join(connection, namespace, lease, INGESTS, ref)
        row = _row(connection, namespace, ref)
        if row is not None and total and row[2] and total != row[2]:  # another blob is to be written: from the beginning
            connection.execute("DELETE FROM ingests WHERE id = ?", (row[0],))
            self._files.remove_ingest(row[0])
            row = None
        if row is None:
            ensure(connection, namespace)
            now_ns = time.time_ns()
            expires_ns = 0 if lease else now_ns + _LIFETIME_NS
            connection.execute("INSERT INTO ingests (namespace, ref, total, expected, started_ns, expires_ns) "
                               "VALUES (?, ?, ?, '', ?, ?)", (namespace, ref, total, now_ns, expires_ns))
        present = self._files.size(expected) if expected else None
        shared = present is not None and total in (0, present)
        connection.execute("UPDATE ingests SET expected = ? WHERE namespace = ? AND ref = ?",
                           (expected if shared else "", namespace, ref))
        row = _row(connection, namespace, ref)
        assert row is not None
        number, _, total, started_ns = row
        begun = Status(number=number, ref=ref, offset=0, total=total, expected="", started_ns=started_ns, updated_ns=started_ns)
        if shared and present is not None:
            return begun.replace(offset=present, total=present, expected=expected)
        return self._status(row) or begun

    def _status(self, row: tuple[Any, ...]) -> Status | None:
        """None of a write that has no bytes of its own: its blob is there already, or a crash came between row and file."""
        number, ref, total, started_ns = row
        try:
            found = os.stat(self._files.ingest(number))
        except FileNotFoundError:
            return None
        return Status(number=number, ref=ref, offset=found.st_size, total=total, expected="", started_ns=started_ns,
                      updated_ns=max(started_ns, found.st_mtime_ns))

    def _forget(self, connection: sqlite3.Connection, namespace: str, ref: str) -> None:
        connection.execute("DELETE FROM ingests WHERE namespace = ? AND ref = ?", (namespace, ref))
        self._leases.leave(connection, namespace, INGESTS, ref)


def _row(connection: sqlite3.Connection, namespace: str, ref: str) -> tuple[Any, ...] | None:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM ingests WHERE namespace = ? AND ref = ?", (namespace, ref)).fetchall()
    return rows[0] if rows else None


def _not_found(ref: str) -> NotFound:
    return NotFound(f"reference {ref}: not found")
