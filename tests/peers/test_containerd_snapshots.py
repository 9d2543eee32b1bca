"""Snapshots and Diff of wherryd beside the real containerd: the same calls, codes, texts and answers; and the real ctr's commands."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from api_pair import pair

from wherry.proto import types_pb2 as types
from wherry.proto.services import content_pb2 as content
from wherry.proto.services import diff_pb2 as diff
from wherry.proto.services import leases_pb2 as leases
from wherry.proto.services import snapshots_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_pair import Pair, Side

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not (shutil.which("containerd") and shutil.which("ctr")), reason="needs containerd and ctr (Debian: containerd)"),
]
KEPT = {"containerd.io/gc.root": "true"}
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
PLAIN = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    with pair() as one:
        yield one


def prepare(key: str, parent: str = "", snapshotter: str = "overlayfs", **labels: str) -> api.PrepareSnapshotRequest:
    return api.PrepareSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent, labels={**KEPT, **labels})


def commit(name: str, key: str, snapshotter: str = "overlayfs") -> api.CommitSnapshotRequest:
    return api.CommitSnapshotRequest(snapshotter=snapshotter, name=name, key=key, labels=KEPT)


def named(text: str) -> str:
    """Without what is each server's own: where its folders are, and the long names that containerd has for keys inside."""
    text = re.sub(r"/[^ :\"]*/snapshots/(overlayfs/)?(native/)?\d+", "FOLDER", text)
    return re.sub(r"(life|snaps)/\d+/|\"snaps/", lambda found: '"' if found[0].startswith('"') else "", text)


def plain(value: Any) -> Any:
    """What both servers have to answer alike."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if not key.endswith("_at")}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return named(value) if isinstance(value, str) else value


def same(both: Pair, name: str, request: Any, namespace: str = "snaps") -> Any:
    real, ours = (side.call(name, request, namespace) for side in (both.real, both.wherry))
    assert plain(ours) == plain(real)
    return ours


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
def test_a_life(both: Pair, snapshotter: str) -> None:
    def call(name: str, /, **fields: Any) -> Any:
        kinds = {"Prepare": api.PrepareSnapshotRequest, "View": api.ViewSnapshotRequest, "Commit": api.CommitSnapshotRequest,
                 "Remove": api.RemoveSnapshotRequest, "Stat": api.StatSnapshotRequest, "Mounts": api.MountsRequest, "Usage": api.UsageRequest,
                 "List": api.ListSnapshotsRequest}
        if name in ("Prepare", "View", "Commit"):
            fields.setdefault("labels", KEPT)
        return same(both, f"Snapshots.{name}", kinds[name](snapshotter=snapshotter, **fields), "life")

    steps: list[tuple[str, dict[str, Any]]] = [
        ("Prepare", {"key": "a1"}), ("Mounts", {"key": "a1"}), ("Stat", {"key": "a1"}), ("Prepare", {"key": "a1"}), ("Commit", {"name": "c1", "key": "a1"}),
        ("Stat", {"key": "a1"}), ("Stat", {"key": "c1"}), ("Mounts", {"key": "a1"}), ("Commit", {"name": "c1", "key": "a1"}), ("View", {"key": "v0"}),
        ("Prepare", {"key": "a2", "parent": "c1"}), ("View", {"key": "v1", "parent": "c1"}), ("Commit", {"name": "c1", "key": "a2"}),
        ("Commit", {"name": "c2", "key": "a2"}), ("View", {"key": "v2", "parent": "c2"}), ("Prepare", {"key": "a3", "parent": "c2"}),
        ("Prepare", {"key": "x", "parent": "missing"}), ("View", {"key": "x", "parent": "missing"}), ("Remove", {"key": "c1"}), ("Remove", {"key": "c2"}),
        ("Remove", {"key": "missing"}), ("Usage", {"key": "missing"}), ("Stat", {"key": "missing"}), ("Mounts", {"key": "missing"}),
        ("Commit", {"name": "x", "key": "missing"}), ("Usage", {"key": "v1"}),
        ("Prepare", {"key": "long", "labels": {"k": "v" * 4096}}), ("Prepare", {"key": "ref", "labels": {"containerd.io/snapshot.ref": "c1"}}),
        ("List", {}), ("List", {"filters": ["kind==committed"]}), ("List", {"filters": ["parent==c1"]}), ("List", {"filters": ["name~=^v"]}),
        ("List", {"filters": ['labels."containerd.io/gc.root"==true']}),
        ("Remove", {"key": "v2"}), ("Remove", {"key": "a3"}), ("Remove", {"key": "v1"}), ("Remove", {"key": "v0"}), ("Remove", {"key": "c2"}), ("Remove", {"key": "c1"}), ("List", {}),
    ]
    for name, fields in steps:
        call(name, **fields)


@pytest.mark.parametrize("snapshotter", ["", "nosuch"])
def test_snapshotters_that_are_not_there(both: Pair, snapshotter: str) -> None:
    same(both, "Snapshots.Prepare", prepare("x", "", snapshotter))
    same(both, "Snapshots.List", api.ListSnapshotsRequest(snapshotter=snapshotter))
    same(both, "Snapshots.Remove", api.RemoveSnapshotRequest(snapshotter=snapshotter, key="x"))


def test_no_namespace(both: Pair) -> None:
    same(both, "Snapshots.Prepare", prepare("x"), "")
    same(both, "Snapshots.Stat", api.StatSnapshotRequest(snapshotter="overlayfs", key="x"), "")


def test_labels(both: Pair) -> None:
    same(both, "Snapshots.Prepare", prepare("labelled", a="1"), "labels")
    for paths, labels in (((), {**KEPT, "b": "2"}), (("labels.c",), {"c": "3", "d": "4"}), (("labels.b",), {}), (("labels",), {**KEPT, "e": "5"}), (("kind",), {}),
                          (("labels.k",), {"k": "v" * 4096})):
        request = api.UpdateSnapshotRequest(snapshotter="overlayfs", info=api.Info(name="labelled", labels=labels))
        request.update_mask.paths.extend(paths)
        same(both, "Snapshots.Update", request, "labels")
    same(both, "Snapshots.Update", api.UpdateSnapshotRequest(snapshotter="overlayfs", info=api.Info(name="missing")))
    same(both, "Snapshots.Update", api.UpdateSnapshotRequest(snapshotter="overlayfs", info=api.Info()))


def test_leases_hold_snapshots(both: Pair) -> None:
    same(both, "Leases.Create", leases.CreateRequest(id="mine"), "leased")
    for side in (both.real, both.wherry):
        assert side.call("Snapshots.Prepare", prepare("held"), "leased", containerd_lease="mine")[0] == "OK"
        assert side.call("Snapshots.Prepare", prepare("lost"), "leased", containerd_lease="none")[0] == "NOT_FOUND"
    same(both, "Leases.ListResources", leases.ListResourcesRequest(id="mine"), "leased")
    same(both, "Snapshots.List", api.ListSnapshotsRequest(snapshotter="overlayfs"), "leased")


def layer(files: dict[str, bytes | None]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            info.mode = 0o755 if data is None else 0o644
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size = len(data or b"")
            tar.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def write(both: Pair, data: bytes, kind: str) -> types.Descriptor:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    request = content.WriteContentRequest(action=content.COMMIT, ref=digest, data=data, total=len(data), expected=digest, labels=KEPT)
    same(both, "Content.Write", [request])
    return types.Descriptor(media_type=kind, digest=digest, size=len(data))


def mounts(side: Side, name: str, request: Any) -> list[types.Mount]:
    return list(side.message(f"Snapshots.{name}", request, "snaps").mounts)


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
def test_layers_go_in_and_come_out(both: Pair, snapshotter: str) -> None:
    first = layer({"d": None, "d/kept": b"1", "d/gone": b"1", "changed": b"1"})
    second = layer({"d": None, "d/.wh.gone": b"", "changed": b"2", "new": b"3"})
    answers = []
    for side in (both.real, both.wherry):
        found, parent = [], ""
        for number, (data, kind) in enumerate(((gzip.compress(first, mtime=0), GZIP), (second, PLAIN))):
            blob = write(both, data, kind)
            where = mounts(side, "Prepare", prepare(f"{snapshotter}-{number}", parent, snapshotter))
            found.append(side.message("Diff.Apply", diff.ApplyRequest(diff=blob, mounts=where), "snaps").applied)
            parent = f"{snapshotter}-layer-{number}"
            assert side.call("Snapshots.Commit", commit(parent, f"{snapshotter}-{number}", snapshotter), "snaps")[0] == "OK"
        below = mounts(side, "View", api.ViewSnapshotRequest(snapshotter=snapshotter, key=f"{snapshotter}-l", parent=f"{snapshotter}-layer-0", labels=KEPT))
        above = mounts(side, "View", api.ViewSnapshotRequest(snapshotter=snapshotter, key=f"{snapshotter}-u", parent=parent, labels=KEPT))
        for kind in (PLAIN, "application/json"):
            made = side.call("Diff.Diff", diff.DiffRequest(left=below, right=above, media_type=kind, labels=KEPT), "snaps")
            if kind == PLAIN:
                pieces = side.call("Content.Read", content.ReadContentRequest(digest=made[2]["diff"]["digest"]), "snaps")[2]
                with tarfile.open(fileobj=io.BytesIO(b"".join(piece["data"] for piece in pieces))) as tar:
                    found.append([(one.name, one.type, one.mode, one.size) for one in tar])
            else:
                found.append(made)
        answers.append(found)
    assert answers[1] == answers[0]
    assert [name for name, *_ in answers[1][2]] == ["changed", "d", "d/.wh.gone", "new"]


def test_what_cannot_be_applied(both: Pair) -> None:
    same(both, "Snapshots.Prepare", prepare("bad"))
    blob = write(both, b"this is no tar" * 100, PLAIN)
    for descriptor in (types.Descriptor(media_type="application/json", digest=blob.digest, size=blob.size),
                       types.Descriptor(media_type=PLAIN, digest="sha256:" + "0" * 64, size=5)):
        codes = [side.call("Diff.Apply", diff.ApplyRequest(diff=descriptor, mounts=mounts(side, "Mounts", api.MountsRequest(
            snapshotter="overlayfs", key="bad"))), "snaps")[:2] for side in (both.real, both.wherry)]
        assert codes[1] == codes[0]


def test_ctr_snapshots(both: Pair) -> None:
    for words in (("prepare", "c-active"), ("ls",), ("info", "missing"), ("commit", "c-base", "c-active"), ("view", "c-look", "c-base"), ("tree",),
                  ("label", "c-base", "x=y"), ("rm", "c-base"), ("rm", "c-look"), ("rm", "c-base"), ("usage",), ("ls",)):
        texts = [re.sub(r"\d{4}-\S+?Z", "MOMENT", side.ctr("snapshots", *words, code=None)) for side in (both.wherry, both.real)]
        ours, real = (sorted(re.split(r"[\s,]+", text)) for text in texts)  # Go goes through maps in a random order
        assert ours == real, words
