"""Garbage collection of containerd's side: what nothing holds is forgotten in one transaction, then removed.

The records decide, and they are read, judged and deleted while nobody else writes: so nothing that is referred to, leased or
being written is ever among them, and a crash leaves either all of it or files that no record names. Those are removed last, with
the lock on records held (a commit may name a file that was about to go), and again at the next start.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

from wherry import trace
from wherry.oci.jsontext import loads
from wherry.record import Record
from wherry.store.metadata.reachable import (
    CONTAINERS,
    CONTENT,
    EXPIRE,
    FLAT,
    IMAGES,
    INGESTS,
    LEASES,
    ROOT,
    SNAPSHOTS,
    Node,
    Thing,
    referred,
    referred_back,
    unreached,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wherry.store.content.files import ContentFiles
    from wherry.store.content.ingests import Ingests
    from wherry.store.metadata.database import Database
    from wherry.store.snapshots.snapshotter import Snapshotter

    _IsOpen = Callable[[str, str], bool]

_DELETIONS = {
    CONTENT: "DELETE FROM blobs WHERE namespace = ? AND digest = ?",
    IMAGES: "DELETE FROM images WHERE namespace = ? AND name = ?",
    INGESTS: "DELETE FROM ingests WHERE namespace = ? AND ref = ?",
    LEASES: "DELETE FROM leases WHERE namespace = ? AND id = ?",
}


class Collected(Record):
    """What was removed."""

    nodes: tuple[Node, ...]
    files: int


class Collection:
    """Collects. Safe to use from several threads: one does it, the others wait for that."""

    def __init__(self, database: Database, files: ContentFiles, ingests: Ingests, snapshotters: Iterable[Snapshotter]) -> None:
        self._database, self._files, self._ingests = database, files, ingests
        self._snapshotters = tuple(snapshotters)
        self._lock = threading.Lock()

    def run(self) -> Collected:
        """Removes what nothing holds. Raises OSError; what was not removed then is removed the next time."""
        with self._lock:
            nodes = self._forget()
            files = self.sweep()
            for snapshotter in self._snapshotters:
                snapshotter.cleanup()
        return Collected(nodes=tuple(nodes), files=files)

    def _forget(self) -> list[Node]:
        with self._database.writing() as connection:
            # Those that lie on others come first: they have the larger numbers (see _snapshots).
            gone = unreached(_things(connection, time.time_ns(), self._ingests.is_open))
            for node in gone:
                if node.kind.startswith(SNAPSHOTS):
                    connection.execute("DELETE FROM snapshots WHERE namespace = ? AND snapshotter = ? AND name = ?",
                                       (node.namespace, node.kind.removeprefix(SNAPSHOTS), node.name))
                else:
                    connection.execute(_DELETIONS[node.kind], (node.namespace, node.name))
            trace.step("collection forget", str(len(gone)))
        trace.step("collection forgotten", str(len(gone)))
        return gone

    def sweep(self) -> int:
        """Removes the files of blobs and writes that no record names; how many."""
        removed = 0
        with self._database.writing() as connection:
            named = {digest for (digest,) in connection.execute(
                "SELECT digest FROM blobs UNION SELECT expected FROM ingests WHERE expected != ''")}
            for digest in self._files.digests():
                if digest not in named:
                    self._files.remove(digest)
                    removed += 1
            writes = {number for (number,) in connection.execute("SELECT id FROM ingests")}
            for number in self._files.ingests():
                if number not in writes:
                    self._files.remove_ingest(number)
                    removed += 1
        return removed


def _things(connection: sqlite3.Connection, now_ns: int, is_open: _IsOpen) -> Iterator[Thing]:
    """All that there is, with what it holds."""
    yield from _images(connection, now_ns)
    yield from _leases(connection, now_ns)
    yield from _containers(connection)
    yield from _ingests(connection, now_ns, is_open)
    yield from _snapshots(connection)
    for namespace, digest, text in connection.execute("SELECT namespace, digest, labels FROM blobs"):
        labels = loads(text)
        yield Thing(node=Node(namespace=namespace, kind=CONTENT, name=digest), is_root=ROOT in labels,
                    refers=referred(namespace, labels), back=referred_back(namespace, labels))


def _images(connection: sqlite3.Connection, now_ns: int) -> Iterator[Thing]:
    for namespace, name, text, digest in connection.execute("SELECT namespace, name, labels, digest FROM images"):
        labels = loads(text)
        target = Node(namespace=namespace, kind=CONTENT, name=digest)
        yield Thing(node=Node(namespace=namespace, kind=IMAGES, name=name), is_root=not _has_expired(labels, now_ns),
                    refers=(target, *referred(namespace, labels)), back=referred_back(namespace, labels))


def _leases(connection: sqlite3.Connection, now_ns: int) -> Iterator[Thing]:
    leased: dict[tuple[str, str], list[Node]] = {}
    for namespace, lease, kind, name in connection.execute("SELECT namespace, lease, kind, name FROM lease_resources"):
        leased.setdefault((namespace, lease), []).append(Node(namespace=namespace, kind=kind, name=name))
    for namespace, lease, text in connection.execute("SELECT namespace, id, labels FROM leases"):
        labels = loads(text)
        yield Thing(node=Node(namespace=namespace, kind=LEASES, name=lease), is_root=not _has_expired(labels, now_ns),
                    is_flat=FLAT in labels, refers=tuple(leased.get((namespace, lease), ())))


def _containers(connection: sqlite3.Connection) -> Iterator[Thing]:
    for namespace, name, text, snapshotter, key in connection.execute(
            "SELECT namespace, id, labels, snapshotter, snapshot_key FROM containers"):
        own = (Node(namespace=namespace, kind=SNAPSHOTS + snapshotter, name=key),) if snapshotter else ()
        yield Thing(node=Node(namespace=namespace, kind=CONTAINERS, name=name), is_root=True,
                    refers=(*own, *referred(namespace, loads(text))))


def _ingests(connection: sqlite3.Connection, now_ns: int, is_open: _IsOpen) -> Iterator[Thing]:
    for namespace, ref, expected, expires_ns in connection.execute("SELECT namespace, ref, expected, expires_ns FROM ingests"):
        held = (Node(namespace=namespace, kind=CONTENT, name=expected),) if expected else ()
        yield Thing(node=Node(namespace=namespace, kind=INGESTS, name=ref), refers=held,
                    is_root=expires_ns > now_ns or is_open(namespace, ref))


def _snapshots(connection: sqlite3.Connection) -> Iterator[Thing]:
    """Those with the largest numbers first: what lies on another one is younger."""
    for namespace, snapshotter, name, text, parent in connection.execute(
            """SELECT one.namespace, one.snapshotter, one.name, one.labels, below.name
               FROM snapshots AS one LEFT JOIN snapshots AS below ON below.id = one.parent ORDER BY one.id DESC"""):
        labels, kind = loads(text), SNAPSHOTS + snapshotter
        yield Thing(node=Node(namespace=namespace, kind=kind, name=name), is_root=ROOT in labels,
                    below=(Node(namespace=namespace, kind=kind, name=parent),) if parent is not None else (),
                    refers=referred(namespace, labels), back=referred_back(namespace, labels))


def _has_expired(labels: Mapping[str, str], now_ns: int) -> bool:
    """Whether the label says so; one that makes no sense says nothing, as with containerd."""
    text = labels.get(EXPIRE)
    if text is None:
        return False
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    if moment.tzinfo is None:  # not RFC 3339
        return False
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e9 < now_ns
