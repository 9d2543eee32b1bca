"""Snapshotters: one contract for both layouts, what a crash leaves, and what their mounts are. Mounting itself: tests/system."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from snapshot_lab import Lab

from wherry import trace
from wherry.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from wherry.store.metadata.leases import Resource
from wherry.store.snapshots.copytree import copy_tree
from wherry.store.snapshots.model import ACTIVE, COMMITTED, VIEW, Mount
from wherry.store.snapshots.native import NativeLayout
from wherry.store.snapshots.overlayfs import OverlayLayout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=[OverlayLayout, NativeLayout], ids=["overlayfs", "native"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return Lab(tmp_path, request.param)


def test_a_snapshot_is_prepared_committed_and_built_upon(lab: Lab) -> None:
    one = lab.snapshots
    lab.write(one.prepare("ns", "active"), "a")
    assert one.stat("ns", "active").kind == ACTIVE
    one.commit("ns", "base", "active", {"l": "v"})
    info = one.stat("ns", "base")
    assert (info.name, info.parent, info.kind, info.labels) == ("base", "", COMMITTED, {"l": "v"})
    with pytest.raises(NotFound, match=r"^snapshot active does not exist: not found$"):
        one.stat("ns", "active")
    one.prepare("ns", "second", "base")
    one.view("ns", "look", "base")
    assert [(info.name, info.parent, info.kind) for info in one.walk("ns")] == [
        ("base", "", COMMITTED), ("look", "base", VIEW), ("second", "base", ACTIVE)]


def test_commit_replaces_the_labels_and_begins_a_new_life(lab: Lab) -> None:
    one = lab.snapshots
    one.prepare("ns", "active", labels={"old": "1"})
    before = one.stat("ns", "active")
    one.commit("ns", "base", "active", {"new": "2"})
    after = one.stat("ns", "base")
    assert after.labels == {"new": "2"}
    assert after.created_ns == after.updated_ns >= before.created_ns


@pytest.mark.parametrize("make", ["prepare", "view"])
def test_what_cannot_be_made(lab: Lab, make: str) -> None:
    one = lab.snapshots
    one.prepare("ns", "active")
    call = getattr(one, make)
    with pytest.raises(AlreadyExists, match=r'^snapshot "active": already exists$'):
        call("ns", "active")
    with pytest.raises(NotFound, match=r"^parent snapshot missing does not exist: not found$"):
        call("ns", "other", "missing")
    with pytest.raises(InvalidArgument, match=r'parent "active" is not committed snapshot: invalid argument$'):
        call("ns", "other", "active")
    one.commit("ns", "base", "active")
    with pytest.raises(AlreadyExists, match=r'^target snapshot "base": already exists$'):
        call("ns", "other", "", {"containerd.io/snapshot.ref": "base"})
    assert [info.name for info in one.walk("ns")] == ["base"]
    assert len(os.listdir(lab.base)) == 1


def test_what_cannot_be_committed(lab: Lab) -> None:
    one = lab.snapshots
    one.prepare("ns", "active")
    one.commit("ns", "base", "active")
    one.view("ns", "look", "base")
    one.prepare("ns", "more", "base")
    with pytest.raises(NotFound, match=r"^snapshot active does not exist: not found$"):
        one.commit("ns", "again", "active")
    with pytest.raises(Conflict, match=r'snapshot "look" is not active: failed precondition$'):
        one.commit("ns", "again", "look")
    with pytest.raises(AlreadyExists, match=r'^snapshot "base": already exists$'):
        one.commit("ns", "base", "more")
    assert one.stat("ns", "more").kind == ACTIVE


def test_one_with_others_on_it_stays(lab: Lab) -> None:
    one = lab.snapshots
    one.prepare("ns", "active")
    one.commit("ns", "base", "active")
    one.view("ns", "look", "base")
    with pytest.raises(Conflict, match=r"^cannot remove snapshot with child: failed precondition$"):
        one.remove("ns", "base")
    one.remove("ns", "look")
    one.remove("ns", "base")
    assert os.listdir(lab.base) == []
    with pytest.raises(NotFound, match=r"^snapshot base does not exist: not found$"):
        one.remove("ns", "base")


def test_mounts_are_those_that_were_answered(lab: Lab) -> None:
    one = lab.snapshots
    made = one.prepare("ns", "active")
    assert one.mounts("ns", "active") == made
    one.commit("ns", "base", "active")
    with pytest.raises(Conflict, match=r"requested snapshot base not active or view: failed precondition$"):
        one.mounts("ns", "base")
    with pytest.raises(NotFound, match=r"^snapshot nothing does not exist: not found$"):
        one.mounts("ns", "nothing")
    assert one.view("ns", "look", "base") == one.mounts("ns", "look")


def test_namespaces_do_not_see_each_other(lab: Lab) -> None:
    one = lab.snapshots
    one.prepare("a", "same")
    one.prepare("b", "same")
    one.commit("a", "base", "same")
    assert [info.name for info in one.walk("a")] == ["base"]
    assert [info.name for info in one.walk("b")] == ["same"]
    with pytest.raises(NotFound):
        one.prepare("b", "other", "base")


def test_labels_are_changed_one_by_one_or_all(lab: Lab) -> None:
    one = lab.snapshots
    one.prepare("ns", "active", labels={"a": "1", "b": "2"})
    assert one.update("ns", "active", {"a": "9"}, ["labels.a"]).labels == {"a": "9", "b": "2"}
    assert one.update("ns", "active", {}, ["labels.b"]).labels == {"a": "9"}
    assert one.update("ns", "active", {"c": "3"}).labels == {"c": "3"}
    assert one.update("ns", "active", {"d": "4"}, ["labels"]).labels == {"d": "4"}
    with pytest.raises(InvalidArgument, match=r'^cannot update "kind" field on snapshot "active": invalid argument$'):
        one.update("ns", "active", {}, ["kind"])
    with pytest.raises(NotFound):
        one.update("ns", "nothing", {})
    assert one.stat("ns", "active").updated_ns > one.stat("ns", "active").created_ns


def test_usage_is_the_disk_blocks_of_its_own_files(lab: Lab) -> None:
    one = lab.snapshots
    mounts = one.prepare("ns", "active")
    empty = one.usage("ns", "active")
    assert empty.inodes == 1
    lab.write(mounts, "big", "x" * 100_000)
    os.link(f"{lab.files(mounts)}/big", f"{lab.files(mounts)}/same")
    filled = one.usage("ns", "active")
    assert filled.inodes == 2
    assert filled.size_bytes - empty.size_bytes == os.stat(f"{lab.files(mounts)}/big").st_blocks * 512
    one.commit("ns", "base", "active")
    assert one.usage("ns", "base") == filled
    assert one.usage("ns", one.stat("ns", "base").name) == filled
    one.view("ns", "look", "base")
    assert (one.usage("ns", "look").size_bytes, one.usage("ns", "look").inodes) == (0, 0)


def test_leases_follow_their_snapshots(lab: Lab) -> None:
    one, kind = lab.snapshots, f"snapshots/{lab.layout.name}"
    lab.leases.create("ns", "mine", {})
    one.prepare("ns", "active", lease="mine")
    assert lab.leases.resources("ns", "mine") == [Resource(kind=kind, name="active")]
    one.commit("ns", "base", "active", lease="mine")
    assert lab.leases.resources("ns", "mine") == [Resource(kind=kind, name="base")]
    one.remove("ns", "base")
    assert lab.leases.resources("ns", "mine") == []
    with pytest.raises(NotFound, match="lease"):
        one.prepare("ns", "active", lease="unknown")
    assert (one.walk("ns"), os.listdir(lab.base)) == ((), [])


class Killed(BaseException):
    """Nothing that runs after it counts: the process is gone."""


@pytest.mark.parametrize("step", ["snapshot fill", "snapshot place", "snapshot made", "snapshot commit", "snapshot committed",
                                  "snapshot removed"])
def test_death_at_any_step_leaves_the_old_or_the_new_state(lab: Lab, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Death is a fork that ends at the step; the parent then opens what it left."""
    pid = os.fork()
    if not pid:
        try:
            monkeypatch.setattr(trace, "step", lambda what, *_: os._exit(9) if what == step else None)
            child = Lab(os.path.dirname(lab.base), type(lab.layout)).snapshots
            lab.write(child.prepare("ns", "active"), "file")
            child.commit("ns", "base", "active")
            child.remove("ns", "base")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    again = Lab(os.path.dirname(lab.base), type(lab.layout)).snapshots
    again.cleanup()
    kinds = [(info.name, info.kind) for info in again.walk("ns")]
    assert kinds == {
        "snapshot fill": [], "snapshot place": [], "snapshot made": [("active", ACTIVE)], "snapshot commit": [("active", ACTIVE)],
        "snapshot committed": [("base", COMMITTED)], "snapshot removed": []}[step]
    assert len(os.listdir(lab.base)) == len(kinds)
    again.prepare("ns", "later")  # its number is nobody else's
    assert len(os.listdir(lab.base)) == len(kinds) + 1


def test_cleanup_leaves_what_is_being_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    making, cleaned = threading.Event(), threading.Event()
    make = lab.layout.make

    def slow(folder: str, kind: int, parent: int | None) -> None:
        making.set()
        assert cleaned.wait(30)
        make(folder, kind, parent)

    monkeypatch.setattr(lab.layout, "make", slow)
    thread = threading.Thread(target=lab.snapshots.prepare, args=("ns", "active"))
    thread.start()
    assert making.wait(30)
    os.mkdir(f"{lab.base}/999")
    lab.snapshots.cleanup()
    cleaned.set()
    thread.join(30)
    assert [info.name for info in lab.snapshots.walk("ns")] == ["active"]
    assert os.listdir(lab.base) == ["1"]


def test_two_at_once_make_one(lab: Lab) -> None:
    outcomes: list[str] = []

    def prepare() -> None:
        try:
            lab.snapshots.prepare("ns", "same")
            outcomes.append("made")
        except AlreadyExists:
            outcomes.append("there")

    threads = [threading.Thread(target=prepare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["made", *["there"] * 7]
    assert len(os.listdir(lab.base)) == 1


def test_mounts_of_overlayfs(tmp_path: Path) -> None:
    lab = Lab(tmp_path, OverlayLayout)
    one = lab.snapshots
    base = lab.base
    (first,) = one.prepare("ns", "a1")
    assert first == Mount(type="bind", source=f"{base}/1/fs", options=("rw", "rbind"))
    one.commit("ns", "c1", "a1")
    (second,) = one.prepare("ns", "a2", "c1")
    assert (second.type, second.source) == ("overlay", "overlay")
    assert [word for word in second.options if word != "index=off"] == [
        f"workdir={base}/2/work", f"upperdir={base}/2/fs", f"lowerdir={base}/1/fs"]
    assert one.view("ns", "v1", "c1") == (Mount(type="bind", source=f"{base}/1/fs", options=("ro", "rbind")),)
    one.commit("ns", "c2", "a2")
    (third,) = one.view("ns", "v2", "c2")
    assert [word for word in third.options if word != "index=off"] == [f"lowerdir={base}/2/fs:{base}/1/fs"]
    assert one.view("ns", "v0") == (Mount(type="bind", source=f"{base}/5/fs", options=("ro", "rbind")),)


def test_mounts_of_native(tmp_path: Path) -> None:
    lab = Lab(tmp_path, NativeLayout)
    one = lab.snapshots
    base = lab.base
    lab.write(one.prepare("ns", "a1"), "file", "one")
    one.commit("ns", "c1", "a1")
    assert one.prepare("ns", "a2", "c1") == (Mount(type="bind", source=f"{base}/2", options=("rbind", "rw")),)
    with open(f"{base}/2/file") as file:
        assert file.read() == "one"
    assert one.view("ns", "v1", "c1") == (Mount(type="bind", source=f"{base}/1", options=("rbind", "ro")),)


def test_a_copied_tree_cannot_be_told_from_the_first(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder/below").mkdir(parents=True)
    target.mkdir()
    (source / "folder/file").write_bytes(b"data")
    os.link(source / "folder/file", source / "second name")
    os.symlink("nowhere", source / "link")
    os.mkfifo(source / "fifo")
    with open(source / "sparse", "wb") as file:
        file.seek(10 << 20)
        file.write(b"end")
        file.truncate(20 << 20)
    os.setxattr(source / "folder", "user.colour", b"red")
    os.chmod(source / "folder/file", 0o4755)
    os.chmod(source / "folder/below", 0o500)
    for path in ("folder/file", "folder", "."):
        os.utime(source / path, ns=(1_111_111_111, 2_222_222_222))
    copy_tree(str(source), str(target))
    for path in (".", "folder", "folder/file", "folder/below", "second name", "link", "fifo", "sparse"):
        one, other = os.lstat(source / path), os.lstat(target / path)
        for field in ("st_mode", "st_uid", "st_gid", "st_size", "st_nlink", "st_mtime_ns"):
            assert getattr(one, field) == getattr(other, field), (path, field)
    assert os.readlink(target / "link") == "nowhere"
    assert os.getxattr(target / "folder", "user.colour") == b"red"
    assert (target / "folder/file").stat().st_ino == (target / "second name").stat().st_ino
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (target / "sparse").stat().st_blocks * 512 < 1 << 20
    assert stat.S_ISFIFO(os.lstat(target / "fifo").st_mode)
