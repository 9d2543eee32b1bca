"""The metadata database and the rooms on it: transactions, filters, names, what cascades."""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from wherry.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unsupported
from wherry.store.metadata import containers, images, leases, namespaces, sandboxes
from wherry.store.metadata.database import VERSION, Database
from wherry.store.metadata.filters import parse_all
from wherry.store.metadata.names import check_identifier, check_labels, updated_labels
from wherry.store.metadata.packed import Packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMAS = (namespaces.SCHEMA, containers.SCHEMA, images.SCHEMA, leases.SCHEMA, sandboxes.SCHEMA)
TARGET = images.Target(media_type="m", digest="sha256:" + "a" * 64, size=1, annotations={})
EVERYTHING = parse_all(())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database(str(tmp_path / "metadata.db"), *SCHEMAS)
    yield one
    one.close()


def test_what_fails_is_undone_and_readers_see_one_state(database: Database) -> None:
    def half() -> None:
        with database.writing() as connection:
            namespaces.ensure(connection, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert namespaces.Namespaces(database).all() == []
    with database.reading() as reader:
        assert reader.execute("SELECT count(*) FROM namespaces").fetchall() == [(0,)]
        with database.writing() as writer:
            namespaces.ensure(writer, "b")
        assert reader.execute("SELECT count(*) FROM namespaces").fetchall() == [(0,)]
    assert [one.name for one in namespaces.Namespaces(database).all()] == ["b"]


def test_writers_wait_for_each_other(database: Database) -> None:
    def add(number: int) -> None:
        for at in range(20):
            images.Images(database).create("n", images.Image(name=f"{number}-{at}", labels={}, target=TARGET))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(images.Images(database).all("n", EVERYTHING)) == 80


def test_what_was_written_survives_a_process_that_dies(tmp_path: Path) -> None:
    path = str(tmp_path / "metadata.db")
    if (child := os.fork()) == 0:
        one = Database(path, *SCHEMAS)
        namespaces.Namespaces(one).create("kept", {})
        with one.writing() as connection:
            namespaces.ensure(connection, "lost")
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    again = Database(path, *SCHEMAS)
    assert [one.name for one in namespaces.Namespaces(again).all()] == ["kept"]
    again.close()


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "metadata.db")
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(Unsupported, match="version"):
        Database(path, *SCHEMAS)


def test_what_the_disk_does_is_an_os_error(database: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    rooms = namespaces.Namespaces(database)
    with pytest.raises(OSError, match=r"metadata\.db: database or disk is full"):
        rooms.create("n", {f"{at}": "x" * 4000 for at in range(10)})
    assert rooms.all() == []
    rooms.create("n", {})
    (tmp_path / "other.db").write_bytes(b"no database" * 1000)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="file is not a database"):
        Database(f"{tmp_path}/other.db", *SCHEMAS)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("texts", "found"), [
    ((), True), (("",), True), (("id==a",), True), (("id==b",), False), (("id==b", "id==a"), True), (("id==a,labels.x",), True),
    (("id==a,labels.y",), False), (('labels."x"==1',), True), (("labels.x!=1",), False), (("labels.y!=1",), True), (("id~=^[a-c]$",), True),
    (("id~=/^a/",), True), (("id~=(",), False), (("labels.p.q==2",), True), ((' id== "a"',), True), (("nope",), False),
])
def test_filters(texts: tuple[str, ...], found: bool) -> None:
    lease = leases.Lease(id="a", created_ns=0, labels={"x": "1", "p.q": "2"})
    assert parse_all(texts)(lease.field) == found


@pytest.mark.parametrize(("text", "message"), [
    ("a=b", '[a >|=|< b]: unsupported operator "="'), ("a==", "[a==]: expected value or quoted"), (".", "[ >|.|< ]: expected field or quoted"),
    ('a=="b', '[a== >|"|< b]: quoted literal not terminated'), ("a==/b/", "[a== >|/|< b/]: invalid quote encountered"),
    ("a b", '[a  >|b|< ]: expected an operator ("=="|"!="|"~=")'), ("a==b c", "[a==b >| |< c]: unexpected input:  "),
])
def test_mistakes_in_filters(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as failed:
        parse_all((text,))
    assert failed.value.message == f"filters: parse error: {message}: invalid argument"


def test_names_and_labels() -> None:
    assert check_identifier("a.b-c_D9") == "a.b-c_D9"
    for wrong in ("", "a b", "-a", "a.", "a..b", "x" * 77, "ä", "a\n"):
        with pytest.raises(InvalidArgument):
            check_identifier(wrong)
    check_labels({"k": "v" * 4095}, "x")
    with pytest.raises(InvalidArgument, match="key: kkkkkkkkkk:"):
        check_labels({"k" * 20: "v" * 4096}, "x")
    assert updated_labels({"a": "1", "b": "2"}, {"a": "", "c": "3"}, "labels") == {"c": "3"}
    assert updated_labels({"a": "1", "b": "2"}, {"a": "", "c": "3"}, "labels.a") == {"b": "2"}
    assert updated_labels({}, {}, "image") is None


def test_a_namespace_is_deleted_when_it_is_empty(database: Database) -> None:
    rooms = namespaces.Namespaces(database)
    images.Images(database).create("n", images.Image(name="i", labels={}, target=TARGET))
    with pytest.raises(Conflict, match='"n" must be empty'):
        rooms.delete("n")
    images.Images(database).delete("n", "i")
    rooms.delete("n")
    with pytest.raises(NotFound):
        rooms.delete("n")


def test_what_a_lease_protects_goes_with_it(database: Database) -> None:
    room = leases.Leases(database)
    room.create("n", "l", {})
    with pytest.raises(AlreadyExists):
        room.create("n", "l", {})
    with database.writing() as connection:
        room.join(connection, "n", "l", leases.CONTENT, TARGET.digest)
        room.join(connection, "n", "", leases.CONTENT, "of no lease")
    assert [one.name for one in room.resources("n", "l")] == [TARGET.digest]
    with pytest.raises(NotFound), database.writing() as connection:
        room.join(connection, "n", "none", leases.CONTENT, TARGET.digest)
    room.delete("n", "l")
    room.create("n", "l", {})
    assert room.resources("n", "l") == []


def test_an_image_keeps_when_it_was_made(database: Database) -> None:
    room = images.Images(database)
    made = room.create("n", images.Image(name="i", labels={"a": "", "b": "c"}, target=TARGET), at_ns=5)
    assert (made.created_ns, made.updated_ns, made.labels) == (5, 5, {"b": "c"})
    updated = room.update("n", images.Image(name="i", labels={}, target=TARGET), ())
    assert updated.created_ns == 5
    assert updated.updated_ns > 5
    assert room.get("n", "i") == updated


def test_a_container_is_read_as_it_was_written(database: Database) -> None:
    packed = Packed(type_url="t", value=b"\x00\xff")
    one = containers.Container(id="c", labels={"a": "b"}, image="i", runtime="r", options=packed, spec=packed, snapshotter="s",
                               snapshot_key="k", extensions={"x": packed, "y": None}, sandbox="p")
    room = containers.Containers(database)
    made = room.create("n", one)
    assert room.get("n", "c") == made
    assert room.all("n", EVERYTHING) == [made]
    assert made.replace(created_ns=0, updated_ns=0) == one


def test_sandboxes(database: Database) -> None:
    packed = Packed(type_url="t", value=b"v")
    one = sandboxes.Sandbox(id="s", labels={"a": "b"}, runtime="r", options=None, spec=packed, sandboxer="shim", extensions={"x": packed})
    room = sandboxes.Sandboxes(database)
    made = room.create("n", one)
    assert room.get("n", "s") == made
    with pytest.raises(AlreadyExists):
        room.create("n", one)
    changed = room.update("n", one.replace(labels={"c": "d"}, spec=None, extensions={}), ("labels.c", "extensions.x"))
    assert (changed.labels, changed.extensions, changed.spec) == ({"a": "b", "c": "d"}, {"x": None}, packed)
    assert room.update("n", one.replace(runtime="q", labels={}), ()).runtime == "q"
    for given, paths in ((one, ("sandboxer",)), (one.replace(runtime=""), ("runtime",)), (one.replace(labels={"k": "v" * 4096}), ())):
        with pytest.raises(InvalidArgument):
            room.update("n", given, paths)
    assert [found.id for found in room.all("n", parse_all(("runtime.name==q",)))] == ["s"]
    room.delete("n", "s")
    for call in (room.get, room.delete):
        with pytest.raises(NotFound):
            call("n", "s")
