"""Content: writes in all their forms, what namespaces and leases know of it, and death at each step."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import trace
from wherry.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unavailable
from wherry.store.collection import Collection
from wherry.store.content import blobs, ingests
from wherry.store.content.files import ContentFiles
from wherry.store.metadata import leases, namespaces
from wherry.store.metadata.database import Database
from wherry.store.metadata.filters import parse_all
from wherry.store.metadata.leases import CONTENT, INGESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVERYTHING = parse_all(())
HELLO, WORLD = b"hello", b"world"


class Store:
    """The rooms of content on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(str(folder / "metadata.db"), namespaces.SCHEMA, leases.SCHEMA, blobs.SCHEMA, ingests.SCHEMA)
        self.leases = leases.Leases(self.database)
        self.files = ContentFiles(str(folder / "content"))
        self.blobs = blobs.Blobs(self.database, self.leases, self.files)
        self.ingests = ingests.Ingests(self.database, self.leases, self.files)

    def put(self, data: bytes, ref: str = "put", namespace: str = "n", **options: str) -> str:
        writer = self.ingests.writer(namespace, ref, **options)
        writer.write(data)
        writer.commit(len(data), digest_of(data), {}, options.get("lease", ""))
        return digest_of(data)

    def read(self, digest: str, namespace: str = "n") -> bytes:
        with open(self.blobs.path(namespace, digest), "rb") as file:
            return file.read()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = Store(tmp_path)
    yield one
    one.database.close()


def test_a_blob_is_read_as_it_was_written(store: Store) -> None:
    digest = store.put(HELLO)
    assert store.read(digest) == HELLO
    assert store.blobs.info("n", digest).size == 5
    assert os.stat(store.files.blob(digest)).st_mode & 0o777 == 0o400
    assert store.ingests.statuses("n", EVERYTHING) == []
    with pytest.raises(AlreadyExists):
        store.ingests.writer("n", "again", expected=digest)
    with pytest.raises(NotFound):
        store.blobs.info("other", digest)


def test_a_write_is_resumed(store: Store) -> None:
    first = store.ingests.writer("n", "r", total=10)
    first.write(HELLO)
    with pytest.raises(Unavailable, match="ref n/r locked for"):
        store.ingests.writer("n", "r")
    first.close()
    first.close()
    assert store.ingests.status("n", "r").offset == 5
    second = store.ingests.writer("n", "r", total=10)
    assert (second.offset, second.digest) == (5, digest_of(HELLO))
    second.write(WORLD)
    second.commit(10, digest_of(HELLO + WORLD), {"a": "b", "c": ""}, "")
    assert store.blobs.info("n", digest_of(HELLO + WORLD)).labels == {"a": "b"}


def test_what_does_not_fit_is_not_committed_and_can_be_mended(store: Store) -> None:
    writer = store.ingests.writer("n", "r")
    writer.write(HELLO)
    for size, expected, labels, error in ((4, "", {}, Conflict), (0, digest_of(WORLD), {}, Conflict), (0, "", {"k": "v" * 4096}, InvalidArgument)):
        with pytest.raises(error):
            writer.commit(size, expected, labels, "")
    writer.truncate()
    writer.write(WORLD)
    writer.commit(5, digest_of(WORLD), {}, "")
    assert store.read(digest_of(WORLD)) == WORLD


def test_another_total_begins_anew(store: Store) -> None:
    writer = store.ingests.writer("n", "r", total=10)
    writer.write(HELLO)
    writer.close()
    again = store.ingests.writer("n", "r", total=11)
    assert again.offset == 0
    again.close()


def test_what_another_namespace_has_needs_no_bytes(store: Store) -> None:
    digest = store.put(HELLO)
    shared = store.ingests.writer("other", "s", expected=digest)
    assert (shared.offset, shared.digest) == (5, digest)
    assert store.ingests.statuses("other", EVERYTHING) == []
    shared.write(b"")
    shared.commit(5, digest, {}, "")
    assert store.files.ingests() == []
    assert store.read(digest, "other") == HELLO
    # One that says a size that is not the blob's is a write of its own; so is one that adds to it.
    own = store.ingests.writer("third", "s", expected=digest, total=4)
    assert own.offset == 0
    own.close()
    adding = store.ingests.writer("fourth", "s", expected=digest)
    adding.write(WORLD)
    assert adding.digest == digest_of(HELLO + WORLD)
    adding.commit(0, "", {}, "")
    assert store.read(digest_of(HELLO + WORLD), "fourth") == HELLO + WORLD


def test_two_writes_of_one_blob(store: Store) -> None:
    one, two = store.ingests.writer("n", "one"), store.ingests.writer("n", "two")
    for writer in (one, two):
        writer.write(HELLO)
    one.commit(0, "", {}, "")
    with pytest.raises(AlreadyExists):
        two.commit(0, "", {}, "")
    assert store.ingests.statuses("n", EVERYTHING) == []
    assert store.files.ingests() == []


def test_leases_protect_what_is_written(store: Store) -> None:
    store.leases.create("n", "l", {})
    writer = store.ingests.writer("n", "r", lease="l")
    assert [(one.kind, one.name) for one in store.leases.resources("n", "l")] == [(INGESTS, "r")]
    writer.write(HELLO)
    writer.commit(0, "", {}, "l")
    assert [(one.kind, one.name) for one in store.leases.resources("n", "l")] == [(CONTENT, digest_of(HELLO))]
    store.blobs.delete("n", digest_of(HELLO))
    assert store.leases.resources("n", "l") == []
    with pytest.raises(NotFound):
        store.ingests.writer("n", "r", lease="none")
    store.ingests.writer("n", "r").close()  # the ref is free again


def test_abort(store: Store) -> None:
    writer = store.ingests.writer("n", "r")
    writer.write(HELLO)
    writer.close()
    store.ingests.abort("n", "r")
    assert store.files.ingests() == []
    for call in (store.ingests.abort, store.ingests.status):
        with pytest.raises(NotFound):
            call("n", "r")


def test_labels(store: Store) -> None:
    digest = store.put(HELLO)
    assert store.blobs.update("n", digest, {"a": "b", "c": "d"}, ()).labels == {"a": "b", "c": "d"}
    assert store.blobs.update("n", digest, {"a": "x"}, ("labels.a", "labels.c")).labels == {"a": "x"}
    with pytest.raises(InvalidArgument):
        store.blobs.update("n", digest, {}, ("size",))
    assert [one.digest for one in store.blobs.all("n", parse_all(("labels.a==x",)))] == [digest]


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=40), max_size=6), breaks=st.sets(st.integers(0, 5)))
def test_pieces_with_breaks_between(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], breaks: set[int]) -> None:
    store = Store(tmp_path_factory.mktemp("content"))
    writer = store.ingests.writer("n", "r")
    for at, piece in enumerate(pieces):
        if at in breaks:
            writer.close()
            writer = store.ingests.writer("n", "r")
        writer.write(piece)
    whole = b"".join(pieces)
    writer.commit(len(whole), digest_of(whole), {}, "")
    assert store.read(digest_of(whole)) == whole
    store.database.close()


# -- death at each step


def commit(store: Store) -> None:
    store.put(HELLO + WORLD, "r")


def resume(store: Store) -> None:
    writer = store.ingests.writer("n", "half")
    writer.write(WORLD)
    writer.commit(10, digest_of(HELLO + WORLD), {}, "")


def share(store: Store) -> None:
    store.ingests.writer("other", "s", expected=digest_of(b"old")).commit(0, "", {}, "")


def abort(store: Store) -> None:
    store.ingests.abort("n", "half")


@pytest.mark.parametrize("action", [commit, resume, share, abort])
def test_death_at_each_step_leaves_the_old_or_the_new(tmp_path: Path, action: Callable[[Store], None]) -> None:
    for step in range(1, 50):
        folder = tmp_path / str(step)
        folder.mkdir()
        before = Store(folder)
        before.put(b"old")
        half = before.ingests.writer("n", "half")
        half.write(HELLO)
        half.close()
        before.database.close()
        status = in_a_process_that_dies(folder, action, step)
        after = Store(folder)
        Collection(after.database, after.files, after.ingests, ()).sweep()
        known = {one.digest: one for one in after.blobs.all("n", EVERYTHING)}
        assert after.read(digest_of(b"old")) == b"old"
        for digest in known:  # no record without its file, and the file is whole
            assert digest_of(after.read(digest)) == digest
        for number in after.files.ingests():  # no file without a record
            assert number in {one.number for one in after.ingests.statuses("n", EVERYTHING)}
        action_is_possible_again(after, action, digest_of(HELLO + WORLD) in known)
        after.database.close()
        if status == 0:
            assert step > 2
            return
    raise AssertionError("it never came to its end")


def in_a_process_that_dies(folder: Path, action: Callable[[Store], None], step: int) -> int:
    """Does it in a child that ends at the n-th step; 0 when it came to its end before."""
    if (child := os.fork()) == 0:
        store, left = Store(folder), [step]

        def count(*_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)

        trace.watch(count)
        action(store)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def action_is_possible_again(store: Store, action: Callable[[Store], None], done: bool) -> None:
    if action is commit:
        if done:
            assert store.read(digest_of(HELLO + WORLD)) == HELLO + WORLD
        else:
            store.put(HELLO + WORLD, "again")
    elif action is resume and not done:
        writer = store.ingests.writer("n", "half")
        writer.truncate()
        writer.write(HELLO + WORLD)
        writer.commit(10, digest_of(HELLO + WORLD), {}, "")
    elif action is share:
        try:
            share(store)
        except AlreadyExists:
            assert store.read(digest_of(b"old"), "other") == b"old"
    elif action is abort:
        store.ingests.writer("n", "half").close()
