"""kill -9 of wherryd in the middle of what its containerd API does: nothing is lost that was answered, and nothing is left over.

The daemon is killed before one of the changes that a verb makes (`tests/support/dying_wherryd.py`). The next one has all that was there
before; the verb, done again, comes to its end; and when everything that is listed has been removed, the files are those of before.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import signal
import tarfile
from typing import TYPE_CHECKING

import pytest
from api_pair import OURS_COLLECTS_WHEN_ASKED, PATIENCE_S, Ours, ours
from busybox_image import archive
from docker_registry import serve
from dying_counter import Counter, points
from google.protobuf.any_pb2 import Any as AnyMessage

from wherry.oci.platform import host_platform
from wherry.proto import transfer_pb2 as types
from wherry.proto.services import content_pb2 as content
from wherry.proto.services import images_pb2 as images
from wherry.proto.services import leases_pb2 as leases
from wherry.proto.services import snapshots_pb2 as snapshots
from wherry.proto.services import transfer_pb2 as transfer
from wherry.proto.types_pb2 import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api_pair import Answer
    from google.protobuf.message import Message

pytestmark = [
    pytest.mark.root, pytest.mark.peer, pytest.mark.slow,
    pytest.mark.skipif(not all(map(shutil.which, ("ctr", "docker-registry"))), reason="needs ctr and docker-registry"),
]
ADDRESS = "127.0.0.1:5921"
KEPT, LARGE = f"{ADDRESS}/busybox:latest", f"{ADDRESS}/large:latest"
HERE = host_platform()
PLATFORM = Platform(os=HERE.os, architecture=HERE.architecture, variant=HERE.variant)


def layer(name: str, size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = size
        tar.addfile(info, io.BytesIO(hashlib.shake_256(name.encode()).digest(size)))
    return out.getvalue()


class World:
    """The daemon that dies, one image that stays through all of it, and the files of both."""

    def __init__(self, side: Ours, counter: Counter) -> None:
        self.side, self.counter = side, counter
        assert pull(side, KEPT)[0] == "OK"
        self.files = self.seen()

    def seen(self) -> set[str]:
        """Blobs, writes under way, and folders of snapshots."""
        root = self.side.folder / "data/containerd"
        places = (root / "content/blobs/sha256", root / "content/ingest", root / "snapshots/overlayfs")
        return {f"{place.name}/{one.name}" for place in places for one in place.iterdir()}

    def check(self) -> None:
        """What is listed is there, whole; and so is what was there from the start."""
        side = self.side
        for blob in blobs_of(side):
            found = side.call("Content.Read", content.ReadContentRequest(digest=blob))[2]
            assert "sha256:" + hashlib.sha256(b"".join(one.get("data", b"") for one in found)).hexdigest() == blob
        for one in snapshots_of(side):
            assert side.call("Snapshots.Usage", snapshots.UsageRequest(snapshotter="overlayfs", key=one))[0] == "OK"
        for line in side.ctr("images", "check", namespace="test").splitlines()[1:]:
            assert " complete " in line
        assert KEPT in side.ctr("images", "ls", "-q", namespace="test").split()

    def clear(self) -> None:
        """Removes everything that is listed, but the image that stays."""
        side = self.side
        for image in side.ctr("images", "ls", "-q", namespace="test").split():
            if image != KEPT:
                assert side.call("Images.Delete", images.DeleteImageRequest(name=image))[0] == "OK"
        for status in side.call("Content.ListStatuses")[2].get("statuses", ()):
            assert side.call("Content.Abort", content.AbortRequest(ref=status["ref"]))[0] == "OK"
        for lease in side.call("Leases.List")[2].get("leases", ()):
            assert side.call("Leases.Delete", leases.DeleteRequest(id=lease["id"]))[0] == "OK"
        collect(side)
        assert self.seen() == self.files


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("crash")
    registry, counter = serve(folder, ADDRESS), Counter(folder / "counter")
    with ours(*OURS_COLLECTS_WHEN_ASKED, program=counter.program) as side:
        layers = tuple(layer(f"{at}", 3 << 20) for at in range(3))
        for name, data in ((KEPT, archive("busybox:latest")), (LARGE, archive("busybox:latest", layers))):
            side.ctr("images", "import", "-", data=data, namespace="first")
            side.ctr("images", "push", "--plain-http", name, "docker.io/library/busybox:latest", namespace="first")
        side.ctr("images", "rm", "--sync", "docker.io/library/busybox:latest", namespace="first")
        yield World(side, counter)
    registry.terminate()
    registry.wait()


def packed(message: Message) -> AnyMessage:
    return AnyMessage(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


def blobs_of(side: Ours) -> set[str]:
    return {one["digest"] for answer in side.call("Content.List")[2] for one in answer["info"]}


def snapshots_of(side: Ours) -> set[str]:
    listed = side.call("Snapshots.List", snapshots.ListSnapshotsRequest(snapshotter="overlayfs"))[2]
    return {one["name"] for answer in listed for one in answer["info"]}


# -- the verbs, what they find, and what there is when they are done

HELD = b"held"
BY_HAND = ("s", "c")  # snapshots


def pull(side: Ours, name: str = LARGE) -> Answer:
    source = types.OCIRegistry(reference=name, resolver=types.RegistryResolver(default_scheme="http"))
    target = types.ImageStore(name=name, platforms=[PLATFORM], unpacks=[types.UnpackConfiguration(platform=PLATFORM)])
    return side.call("Transfer.Transfer", transfer.TransferRequest(source=packed(source), destination=packed(target)))


def is_pulled(side: Ours) -> bool:
    return LARGE in side.ctr("images", "ls", "-q", namespace="test").split() and len(snapshots_of(side)) == 4


def is_gone(side: Ours) -> bool:
    return len(blobs_of(side)) == 3 and len(snapshots_of(side)) == 1


def write(side: Ours) -> Answer:
    return side.call("Content.Write", [
        content.WriteContentRequest(action=content.WRITE, ref="w", data=HELD[:2]),
        content.WriteContentRequest(action=content.WRITE, ref="w", data=HELD[2:], offset=2),
        content.WriteContentRequest(action=content.COMMIT, ref="w", offset=len(HELD), labels={"containerd.io/gc.root": "1"})])


def prepare(side: Ours) -> Answer:
    (parent,) = snapshots_of(side) - set(BY_HAND)
    return side.call("Snapshots.Prepare", snapshots.PrepareSnapshotRequest(
        snapshotter="overlayfs", key="s", parent=parent, labels={"containerd.io/gc.root": "1"}))


def commit(side: Ours) -> Answer:
    return side.call("Snapshots.Commit", snapshots.CommitSnapshotRequest(
        snapshotter="overlayfs", name="c", key="s", labels={"containerd.io/gc.root": "1"}))


def remove(side: Ours, key: str = "s") -> Answer:
    return side.call("Snapshots.Remove", snapshots.RemoveSnapshotRequest(snapshotter="overlayfs", key=key))


def collect(side: Ours) -> Answer:
    side.call("Leases.Create", leases.CreateRequest(id="x"))
    return side.call("Leases.Delete", leases.DeleteRequest(id="x", sync=True))


def untag(side: Ours) -> Answer:
    return side.call("Images.Delete", images.DeleteImageRequest(name=LARGE, sync=True))


def nothing(_side: Ours) -> None:
    pass


VERBS: dict[str, tuple[Callable[[Ours], object], Callable[[Ours], Answer], Callable[[Ours], bool]]] = {
    "pull": (nothing, pull, is_pulled),
    "write": (nothing, write, lambda side: "sha256:" + hashlib.sha256(HELD).hexdigest() in blobs_of(side)),
    "prepare": (nothing, prepare, lambda side: "s" in snapshots_of(side)),
    "commit": (prepare, commit, lambda side: "c" in snapshots_of(side) and "s" not in snapshots_of(side)),
    "remove": (prepare, remove, is_gone),
    "untag and collect": (pull, untag, is_gone),
}


@pytest.mark.parametrize("verb", VERBS)
def test_killed_in_the_middle(world: World, verb: str) -> None:
    there, act, is_done = VERBS[verb]
    side = world.side

    def clear() -> None:
        for one in snapshots_of(side) & set(BY_HAND):
            assert remove(side, one)[0] == "OK"
        held = "sha256:" + hashlib.sha256(HELD).hexdigest()
        if held in blobs_of(side):
            assert side.call("Content.Delete", content.DeleteContentRequest(digest=held))[0] == "OK"
        world.clear()

    there(side)
    world.counter.kill_at(0)
    assert act(side)[0] == "OK"
    made = world.counter.made
    assert made
    assert is_done(side)
    clear()
    for number in points(made):
        there(side)
        world.counter.kill_at(number)
        answer = act(side)
        if side.process.poll() is None and answer[0] == "OK":
            side.process.send_signal(signal.SIGKILL)  # it made fewer changes this time
        side.process.wait(PATIENCE_S)
        world.counter.kill_at(0)
        side.start()
        where = f"{verb}, killed at change {number} of {made}: {answer}"
        world.check()
        if answer[0] == "OK":
            assert is_done(side), where
        again = act(side)
        assert again[0] in ("OK", "ALREADY_EXISTS", "NOT_FOUND"), (where, again)
        assert is_done(side), (where, again)
        world.check()
        clear()
