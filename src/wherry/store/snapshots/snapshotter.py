"""One snapshotter: what containerd's interface asks of snapshots, on a layout of folders and the records of a database.

    prepare ──► active ──commit──► committed      what lies on a committed one is prepared or viewed from it
    view    ──► view                              each is removed when nothing lies on it

The record decides: what has none does not exist. A new folder is filled under a name of its own and gets its number in the
transaction that writes its record; a removed one loses its record first. So a crash leaves folders that nobody knows, never
records without a folder, and `cleanup` removes those.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager

from wherry import trace
from wherry.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from wherry.linux.filesystem import syncfs
from wherry.oci.gotext import quote
from wherry.store.metadata.names import updated_labels
from wherry.store.snapshots.model import ACTIVE, COMMITTED, NO_LABELS, VIEW, Node
from wherry.store.tree import remove_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wherry.store.snapshots.layout import Layout
    from wherry.store.snapshots.model import Info, Mount, Usage
    from wherry.store.snapshots.records import Records, Transaction

TARGET_LABEL = "containerd.io/snapshot.ref"  # the name that a snapshot will be committed as
_NEW = "new-"


class Snapshotter:
    """Snapshots of one kind, in all namespaces. Safe to use from several threads; a call may take as long as its files."""

    def __init__(self, layout: Layout, records: Records) -> None:
        self._layout = layout
        self._records = records
        self._lock = threading.Lock()
        self._filling: set[str] = set()  # names of folders that are being filled
        os.makedirs(layout.base, mode=0o700, exist_ok=True)

    def prepare(self, namespace: str, key: str, parent: str = "", labels: Mapping[str, str] = NO_LABELS, *,
                lease: str = "") -> tuple[Mount, ...]:
        """Makes a snapshot that can be written to, on top of the committed `parent` ("": of nothing); its mounts.

        Raises AlreadyExists (the key, or what it is to be committed as), NotFound (the parent), InvalidArgument (a parent
        that is not committed). Nothing is left then.
        """
        return self._create(namespace, key, parent, ACTIVE, labels, lease)

    def view(self, namespace: str, key: str, parent: str = "", labels: Mapping[str, str] = NO_LABELS, *,
             lease: str = "") -> tuple[Mount, ...]:
        """As `prepare`, for reading only: it cannot be committed."""
        return self._create(namespace, key, parent, VIEW, labels, lease)

    def commit(self, namespace: str, name: str, key: str, labels: Mapping[str, str] = NO_LABELS, *, lease: str = "") -> None:
        """Turns an active snapshot into one that others can lie on, under a name; its files are on the disk then.

        Raises AlreadyExists (the name), NotFound (the key), Conflict (it is not active).
        """
        with self._records.reading() as records:
            if records.has(namespace, name):
                raise AlreadyExists(f"snapshot {quote(name)}: already exists")
            number, _ = records.find(namespace, key)
        usage = self._layout.usage(number)
        self._sync()
        trace.step("snapshot commit", name)
        with self._records.writing() as records:
            if records.has(namespace, name):
                raise AlreadyExists(f"snapshot {quote(name)}: already exists")
            number_now, info = records.find(namespace, key)
            if info.kind != ACTIVE or number_now != number:
                raise Conflict(f"failed to commit snapshot {key}: snapshot {quote(key)} is not active: failed precondition")
            records.commit(number, name, usage, labels, time.time_ns())
            records.leave_lease(namespace, key)
            records.join_lease(namespace, lease, name)
        trace.step("snapshot committed", name)

    def mounts(self, namespace: str, key: str) -> tuple[Mount, ...]:
        """How a snapshot is mounted. Raises NotFound, Conflict for a committed one."""
        with self._records.reading() as records:
            number, info = records.find(namespace, key)
            if info.kind == COMMITTED:
                raise Conflict(f"failed to get active mount: requested snapshot {key} not active or view: failed precondition")
            node = Node(number=number, kind=info.kind, parents=records.parents(number))
        return self._layout.mounts(node)

    def remove(self, namespace: str, key: str) -> None:
        """Removes a snapshot and its files. Raises NotFound, Conflict while others lie on it."""
        with self._records.writing() as records:
            number, _ = records.find(namespace, key)
            if records.has_children(number):
                raise Conflict("cannot remove snapshot with child: failed precondition")
            records.remove(number)
            records.leave_lease(namespace, key)
        trace.step("snapshot removed", key)
        remove_path(self._layout.folder(number))

    def stat(self, namespace: str, key: str) -> Info:
        """What is known of it. Raises NotFound."""
        with self._records.reading() as records:
            return records.find(namespace, key)[1]

    def usage(self, namespace: str, key: str) -> Usage:
        """What it occupies: of an active one as it is now, of a committed one as it was then. Raises NotFound."""
        with self._records.reading() as records:
            number, info = records.find(namespace, key)
            kept = records.usage(number)
        return self._layout.usage(number) if info.kind == ACTIVE else kept

    def update(self, namespace: str, key: str, labels: Mapping[str, str], fields: Sequence[str] = ()) -> Info:
        """Changes the labels: all of them, or those that `fields` names (`labels`, `labels.<name>`). Raises NotFound."""
        if not key:
            raise InvalidArgument("invalid argument")
        with self._records.writing() as records:
            number, info = records.find(namespace, key)
            kept: Mapping[str, str] = info.labels
            for field in fields or ("labels",):
                changed = updated_labels(kept, labels, field)
                if changed is None:
                    raise InvalidArgument(f"cannot update {quote(field)} field on snapshot {quote(key)}: invalid argument")
                kept = changed
            records.relabel(number, kept, time.time_ns())
            return records.find(namespace, key)[1]

    def walk(self, namespace: str) -> tuple[Info, ...]:
        """All snapshots of a namespace, by name."""
        with self._records.reading() as records:
            return records.all(namespace)

    def cleanup(self) -> None:
        """Removes the folders that no record names: what was half made, or half removed, when we died."""
        with self._records.writing() as records:  # nobody gives a number away meanwhile
            known = {str(number) for number in records.numbers()}
            with self._lock:
                known |= self._filling
            unknown = [name for name in os.listdir(self._layout.base) if name not in known]
        for name in unknown:
            remove_path(f"{self._layout.base}/{name}")

    # Below: how one is made

    def _create(self, namespace: str, key: str, parent: str, kind: int, labels: Mapping[str, str],
                lease: str) -> tuple[Mount, ...]:
        with self._records.reading() as records:
            below = _check(records, namespace, key, parent, labels)
        with self._filled(kind, below) as made:
            with self._records.writing() as records:
                if _check(records, namespace, key, parent, labels) != below:
                    raise NotFound(f"parent snapshot {parent} does not exist: not found")  # it is another one by now
                number = records.add(namespace, key, below, kind, labels, time.time_ns())
                records.join_lease(namespace, lease, key)
                node = Node(number=number, kind=kind, parents=records.parents(number))
                made.move(self._layout.folder(number))
            made.keep()
        trace.step("snapshot made", key)
        return self._layout.mounts(node)

    @contextmanager
    def _filled(self, kind: int, parent: int | None) -> Iterator[_Made]:
        """A new folder with what a snapshot begins with; removed again unless it is kept."""
        name = f"{_NEW}{os.urandom(8).hex()}"
        with self._lock:
            self._filling.add(name)
        made = _Made(f"{self._layout.base}/{name}")
        try:
            os.mkdir(made.path, 0o700)
            trace.step("snapshot fill", made.path)
            self._layout.make(made.path, kind, parent)
            yield made
        finally:
            made.close()
            with self._lock:
                self._filling.discard(name)

    def _sync(self) -> None:
        """Writes the files to the disk: a record without its files would be worse than none."""
        fd = os.open(self._layout.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)


class _Made:
    """A folder on its way to its place."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._kept = False

    def move(self, path: str) -> None:
        """Gives it its name."""
        trace.step("snapshot place", path)
        os.rename(self.path, path)
        self.path = path

    def keep(self) -> None:
        """Its record is written."""
        self._kept = True

    def close(self) -> None:
        """Removes it unless it was kept."""
        if not self._kept:
            remove_path(self.path)


def _check(records: Transaction, namespace: str, key: str, parent: str, labels: Mapping[str, str]) -> int | None:
    """The parent's number. Raises what `prepare` does."""
    target = labels.get(TARGET_LABEL, "")
    if target and records.has(namespace, target):
        raise AlreadyExists(f"target snapshot {quote(target)}: already exists")
    if records.has(namespace, key):
        raise AlreadyExists(f"snapshot {quote(key)}: already exists")
    if not parent:
        return None
    if not records.has(namespace, parent):
        raise NotFound(f"parent snapshot {parent} does not exist: not found")
    number, info = records.find(namespace, parent)
    if info.kind != COMMITTED:
        raise InvalidArgument(f"failed to create snapshot: parent {quote(parent)} is not committed snapshot: invalid argument")
    return number
