"""Garbage collection on real records and files: what goes, what stays, and death at each step."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from wherry import trace
from wherry.errors import NotFound
from wherry.store.collection import Collection
from wherry.store.content import blobs, ingests
from wherry.store.content.files import ContentFiles
from wherry.store.metadata import containers, images, leases, namespaces
from wherry.store.metadata.containers import Container
from wherry.store.metadata.database import Database
from wherry.store.metadata.images import Image, Target
from wherry.store.metadata.leases import Resource
from wherry.store.metadata.packed import Packed
from wherry.store.snapshots import records
from wherry.store.snapshots.overlayfs import OverlayLayout
from wherry.store.snapshots.snapshotter import Snapshotter

REF = "containerd.io/gc.ref.content."
SNAPSHOT = "containerd.io/gc.ref.snapshot.overlayfs"
NS = "ns"


class World:
    """All rooms that a collection looks into."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = str(folder)
        self.database = Database(f"{folder}/metadata.db", namespaces.SCHEMA, leases.SCHEMA, images.SCHEMA, containers.SCHEMA,
                                 blobs.SCHEMA, ingests.SCHEMA, records.SCHEMA)
        self.leases = leases.Leases(self.database)
        self.images = images.Images(self.database)
        self.containers = containers.Containers(self.database)
        self.files = ContentFiles(f"{folder}/content")
        self.blobs = blobs.Blobs(self.database, self.leases, self.files)
        self.ingests = ingests.Ingests(self.database, self.leases, self.files)
        self.snapshots = Snapshotter(OverlayLayout(f"{folder}/snapshots"), records.Records(self.database, self.leases, "overlayfs"))
        self.snapshots._sync = lambda: None  # type: ignore[method-assign]  # slow, and not what is tested here
        self.collection = Collection(self.database, self.files, self.ingests, (self.snapshots,))

    def blob(self, content: str, labels: dict[str, str] | None = None, *, lease: str = "", namespace: str = NS) -> str:
        digest = "sha256:" + sha256(content.encode()).hexdigest()
        writer = self.ingests.writer(namespace, content, lease=lease)
        writer.write(content.encode())
        writer.commit(0, digest, labels or {}, lease)
        return digest

    def image(self, name: str, digest: str, labels: dict[str, str] | None = None) -> None:
        target = Target(media_type="m", digest=digest, size=1, annotations={})
        self.images.create(NS, Image(name=name, labels=labels or {}, target=target), 0)

    def layer(self, name: str, parent: str = "", labels: dict[str, str] | None = None) -> None:
        self.snapshots.prepare(NS, f"{name}-active", parent)
        self.snapshots.commit(NS, name, f"{name}-active", labels or {})

    def container(self, name: str, key: str) -> None:
        self.containers.create(NS, Container(id=name, labels={}, image="", runtime="r", options=None, spec=Packed(type_url="t", value=b""),
                                             snapshotter="overlayfs", snapshot_key=key, extensions={}, sandbox=""))

    def left(self) -> tuple[set[str], set[str]]:
        """Contents of blobs, names of snapshots; and that the files are those of the records."""
        known = {one.digest for namespace in (NS, "other") for one in self.blobs.all(namespace, lambda _: True)}
        assert set(self.files.digests()) == known
        numbers = os.listdir(f"{self.folder}/snapshots")
        names = {info.name for info in self.snapshots.walk(NS)}
        assert len(numbers) == len(names)
        return {Path(self.files.blob(digest)).read_text() for digest in known}, names


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_image_holds_what_its_labels_lead_to(world: World) -> None:
    layer, config = world.blob("layer"), world.blob("config", {SNAPSHOT: "top"})
    manifest = world.blob("manifest", {f"{REF}l.0": layer, f"{REF}config": config})
    world.image("image", manifest)
    world.blob("stray", {f"{REF}l.0": layer})
    world.layer("base")
    world.layer("top", "base")
    world.layer("stray")
    collected = world.collection.run()
    assert {node.name for node in collected.nodes if node.kind != "content"} == {"stray"}
    assert world.left() == ({"layer", "config", "manifest"}, {"base", "top"})
    world.images.delete(NS, "image", "")
    world.collection.run()
    assert world.left() == (set(), set())


def test_containers_hold_their_snapshots(world: World) -> None:
    world.layer("base")
    world.snapshots.prepare(NS, "mine", "base")
    world.snapshots.prepare(NS, "nobodys", "base")
    world.container("c", "mine")
    world.collection.run()
    assert world.left() == (set(), {"base", "mine"})
    world.containers.delete(NS, "c")
    world.collection.run()
    assert world.left() == (set(), set())


def test_leases_hold_until_they_are_gone_or_expired(world: World) -> None:
    later, before = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, -1))
    for name, labels in (("plain", {}), ("later", {"containerd.io/gc.expire": later.isoformat()}),
                         ("senseless", {"containerd.io/gc.expire": "soon"}),
                         ("before", {"containerd.io/gc.expire": before.strftime("%Y-%m-%dT%H:%M:%SZ")})):
        world.leases.create(NS, name, labels)
        world.blob(f"of {name}", lease=name)
    world.collection.run()
    assert world.left()[0] == {"of plain", "of later", "of senseless"}
    assert [one.id for one in world.leases.all(NS, lambda _: True)] == ["later", "plain", "senseless"]
    world.leases.delete(NS, "plain")
    world.collection.run()
    assert world.left()[0] == {"of later", "of senseless"}


def test_a_flat_lease_holds_no_more_than_it_names(world: World) -> None:
    world.leases.create(NS, "flat", {"containerd.io/gc.flat": "true"})
    layer = world.blob("layer")
    world.blob("manifest", {f"{REF}l": layer}, lease="flat")
    world.layer("base")
    world.layer("top", "base")
    world.leases.add_resource(NS, "flat", Resource(kind="snapshots/overlayfs", name="top"))
    world.collection.run()
    assert world.left() == ({"manifest"}, {"base", "top"})


def test_roots_by_label(world: World) -> None:
    world.blob("root", {"containerd.io/gc.root": "now"})
    world.snapshots.prepare(NS, "root", labels={"containerd.io/gc.root": "true"})
    world.collection.run()
    assert world.left() == ({"root"}, {"root"})


def test_an_image_that_has_expired_goes_unless_it_is_referred_to(world: World) -> None:
    expired = {"containerd.io/gc.expire": "2001-01-01T00:00:00Z"}
    world.image("expired", world.blob("one"), expired)
    world.image("needed", world.blob("two"), expired)
    world.image("keeper", world.blob("three"), {"containerd.io/gc.ref.image.x": "needed"})
    world.collection.run()
    assert world.left()[0] == {"two", "three"}
    assert {one.name for one in world.images.all(NS, lambda _: True)} == {"needed", "keeper"}


def test_what_is_being_written_stays(world: World) -> None:
    writer = world.ingests.writer(NS, "open")
    writer.write(b"half")
    shared = world.blob("shared", namespace="other")
    sharing = world.ingests.writer(NS, "sharing", expected=shared)  # needs the other namespace's file
    with world.database.writing() as connection:
        connection.execute("UPDATE ingests SET expires_ns = 1")
    world.collection.run()
    writer.write(b" and half")
    writer.commit(0, "", {"containerd.io/gc.root": "true"}, "")
    sharing.commit(0, shared, {"containerd.io/gc.root": "true"}, "")
    world.collection.run()
    assert world.left()[0] == {"half and half", "shared"}


def test_a_write_that_nobody_goes_on_with_expires(world: World) -> None:
    for ref, expires_ns in (("old", 1), ("young", 1 << 62)):
        writer = world.ingests.writer(NS, ref)
        writer.write(b"half")
        writer.close()
        with world.database.writing() as connection:
            connection.execute("UPDATE ingests SET expires_ns = ? WHERE ref = ?", (expires_ns, ref))
    world.collection.run()
    assert [one.ref for one in world.ingests.statuses(NS, lambda _: True)] == ["young"]
    assert len(world.files.ingests()) == 1


def test_a_blob_that_another_namespace_knows_keeps_its_file(world: World) -> None:
    digest = world.blob("shared")
    world.blob("shared", {"containerd.io/gc.root": "true"}, namespace="other")
    world.collection.run()
    with pytest.raises(NotFound):
        world.blobs.info(NS, digest)
    assert world.left()[0] == {"shared"}


@pytest.mark.parametrize("step", ["collection forget", "collection forgotten", "content remove"])
def test_death_while_collecting(world: World, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.image("image", world.blob("kept"))
    world.blob("one")
    world.blob("two")
    world.layer("gone")
    pid = os.fork()
    if not pid:
        try:
            monkeypatch.setattr(trace, "step", lambda what, *_: os._exit(9) if what == step else None)
            World(tmp_path).collection.run()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    again = World(tmp_path)
    assert again.images.get(NS, "image").name == "image"
    again.collection.run()
    assert again.left() == ({"kept"}, set())
