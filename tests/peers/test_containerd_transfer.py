"""Transfers that the server makes for its client: registries, archives, names; what comes of them is looked at with the real ctr.

The containerd beside has no such service: what is compared is what its ctr has done by itself with the same images.
"""

from __future__ import annotations

import io
import queue
import shutil
import tarfile
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from api_pair import PATIENCE_S, ours
from busybox_image import archive
from docker_registry import serve
from google.protobuf.any_pb2 import Any as AnyMessage

from wherry.oci.platform import host_platform
from wherry.proto import transfer_pb2 as types
from wherry.proto.services import events_pb2 as events
from wherry.proto.services import leases_pb2 as leases
from wherry.proto.services import snapshots_pb2 as snapshots
from wherry.proto.services import streaming_pb2 as streaming
from wherry.proto.services import transfer_pb2 as api
from wherry.proto.types_pb2 import Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_pair import Answer, Ours
    from google.protobuf.message import Message

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not all(map(shutil.which, ("ctr", "docker-registry"))), reason="needs ctr and docker-registry"),
]
ADDRESS = "127.0.0.1:5919"
BUSYBOX = "docker.io/library/busybox:latest"
REMOTE = f"{ADDRESS}/busybox:latest"
HERE = host_platform()
PLATFORM = Platform(os=HERE.os, architecture=HERE.architecture, variant=HERE.variant)
UNPACKED = types.UnpackConfiguration(platform=PLATFORM)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    process = serve(tmp_path_factory.mktemp("registry"), ADDRESS)
    yield
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def side(registry: None) -> Iterator[Ours]:
    with ours() as one:
        one.ctr("images", "import", "-", data=archive("busybox:latest"))
        one.ctr("images", "push", "--plain-http", REMOTE, BUSYBOX)
        yield one


def packed(message: Message) -> AnyMessage:
    return AnyMessage(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString())


class Opened:
    """A stream that a client has opened."""

    def __init__(self, side: Ours, name: str, namespace: str) -> None:
        self._to_send: queue.Queue[AnyMessage | None] = queue.Queue()
        self._to_send.put(packed(streaming.StreamInit(id=name)))
        self.call = side.open("Streaming.Stream", iter(self._to_send.get, None), namespace)
        assert next(self.call).type_url.endswith("google.protobuf.Empty")

    def send(self, message: Message | None) -> None:
        self._to_send.put(None if message is None else packed(message))

    def received(self, kind: Any) -> Iterator[Any]:
        """Until the server ends it, or this client."""
        try:
            for one in self.call:
                assert one.type_url.endswith(kind.DESCRIPTOR.full_name)
                yield kind.FromString(one.value)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.CANCELLED  # noqa: PT017


@contextmanager
def opened(side: Ours, name: str, namespace: str) -> Iterator[Opened]:
    one = Opened(side, name, namespace)
    try:
        yield one
    finally:
        one.send(None)
        one.call.cancel()


def transfer(side: Ours, source: Message, target: Message, namespace: str, **options: str) -> Answer:
    request = api.TransferRequest(source=packed(source), destination=packed(target), options=api.TransferOptions(**options))
    return side.call("Transfer.Transfer", request, namespace)


def registry_at(reference: str, **resolver: Any) -> types.OCIRegistry:
    return types.OCIRegistry(reference=reference, resolver=types.RegistryResolver(default_scheme="http", **resolver))


def leases_left(side: Ours, namespace: str) -> object:
    return side.call("Leases.List", leases.ListRequest(), namespace)


def test_a_pull_that_is_unpacked(side: Ours) -> None:
    with opened(side, "p", "pulled") as progress:
        told: list[types.Progress] = []
        thread = threading.Thread(target=lambda: told.extend(progress.received(types.Progress)))
        thread.start()
        store = types.ImageStore(name=REMOTE, labels={"a": "b"}, platforms=[PLATFORM], unpacks=[UNPACKED])
        assert transfer(side, registry_at(REMOTE), store, "pulled", progress_stream="p")[:2] == ("OK", "")
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    words = [one.event for one in told]
    assert words[0] == f"Resolving from OCI Registry ({REMOTE})"
    assert words[-2:] == ["saved", f"Completed pull from OCI Registry ({REMOTE})"]
    layer = [one for one in told if one.name.startswith("layer-")]
    assert [one.event for one in layer][-1] == "complete"
    assert layer[-1].progress == layer[-1].total == layer[-1].desc.size > 0
    assert leases_left(side, "pulled") == ("OK", "", {})
    assert "complete" in side.ctr("images", "check", namespace="pulled")
    assert "a=b" in side.ctr("images", "ls", namespace="pulled")
    assert side.ctr("run", "--rm", REMOTE, "one", "echo", "hello", namespace="pulled") == "hello\n"
    # What ctr pulls itself is the same: digests, and labels that hold content and snapshots.
    side.ctr("images", "pull", "--plain-http", REMOTE, namespace="by-ctr")
    ours, theirs = (stored(side, space) for space in ("pulled", "by-ctr"))
    assert ours == theirs
    # Once more: all is there.
    assert transfer(side, registry_at(REMOTE), store, "pulled")[:2] == ("OK", "")


def stored(side: Ours, namespace: str) -> dict[str, object]:
    """Blobs by digest with their labels, snapshots by name with their parents."""
    blobs = {one["digest"]: one.get("labels") for answer in side.call("Content.List", namespace=namespace)[2] for one in answer["info"]}
    listed = side.call("Snapshots.List", snapshots.ListSnapshotsRequest(snapshotter="overlayfs"), namespace)[2]
    return {**blobs, **{one["name"]: one.get("parent") for answer in listed for one in answer["info"]}}


def test_garbage_collection_leaves_what_was_pulled(side: Ours) -> None:
    store = types.ImageStore(name="kept", platforms=[PLATFORM], unpacks=[types.UnpackConfiguration(snapshotter="native")])
    assert transfer(side, registry_at(REMOTE), store, "kept-one")[:2] == ("OK", "")
    before = side.call("Content.List", namespace="kept-one")
    side.call("Leases.Create", leases.CreateRequest(id="x"), "kept-one")
    assert side.call("Leases.Delete", leases.DeleteRequest(id="x", sync=True), "kept-one")[0] == "OK"
    assert side.call("Content.List", namespace="kept-one") == before
    assert len(side.call("Snapshots.List", snapshots.ListSnapshotsRequest(snapshotter="native"), "kept-one")[2]) == 1


def test_a_push_and_a_tag(side: Ours) -> None:
    assert transfer(side, types.ImageStore(name=BUSYBOX), types.ImageStore(name="other:tag", labels={"c": "d"}), "of-ctr")[:2] == ("OK", "")
    pushed = f"{ADDRESS}/pushed:v1"
    with opened(side, "push", "of-ctr") as progress:
        assert transfer(side, types.ImageStore(name="other:tag"), registry_at(pushed), "of-ctr", progress_stream="push")[:2] == ("OK", "")
        words = [one.event for one in progress.received(types.Progress)]
    assert words[0] == f"Pushing to OCI Registry ({pushed})"
    assert words[-1] == f"Completed push to OCI Registry ({pushed})"
    side.ctr("images", "pull", "--plain-http", pushed, namespace="pull-again")
    assert "complete" in side.ctr("images", "check", namespace="pull-again")


def sent_archive(side: Ours, data: bytes, store: types.ImageStore, namespace: str, piece: int = 32 << 10, **fields: Any) -> Answer:
    with opened(side, "import", namespace) as stream:
        def send() -> None:
            granted, at = 0, 0
            grants = stream.received(types.WindowUpdate)
            while at < len(data):
                while granted <= 0:
                    granted += next(grants).update
                part = data[at:at + min(piece, granted)]
                stream.send(types.Data(data=part))
                granted, at = granted - len(part), at + len(part)
            stream.send(None)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        return transfer(side, types.ImageImportStream(stream="import", **fields), store, namespace)


def test_an_archive_comes_in_and_goes_out(side: Ours) -> None:
    prefix = types.ImageReference(name="docker.io/library/busybox", is_prefix=True, allow_overwrite=True, add_digest=True)
    store = types.ImageStore(name="the-index", extra_references=[prefix], unpacks=[UNPACKED])
    assert sent_archive(side, archive("busybox:latest"), store, "archived", force_compress=True)[:2] == ("OK", "")
    names = side.ctr("images", "ls", "-q", namespace="archived").split()
    assert [name.partition("@")[0] for name in names] == ["docker.io/library/busybox:latest", "docker.io/library/busybox", "the-index"]
    assert side.ctr("run", "--rm", BUSYBOX, "one", "echo", "hello", namespace="archived") == "hello\n"
    with opened(side, "export", "archived") as stream:
        answers: list[Answer] = []
        target = types.ImageExportStream(stream="export", platforms=[PLATFORM])
        thread = threading.Thread(target=lambda: answers.append(transfer(side, types.ImageStore(name=BUSYBOX), target, "archived")))
        thread.start()
        out = io.BytesIO()
        stream.send(types.WindowUpdate(update=100_000))
        for one in stream.received(types.Data):
            out.write(one.data)
            stream.send(types.WindowUpdate(update=len(one.data)))
        thread.join(PATIENCE_S)
        assert answers == [("OK", "", {})]
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        assert {"index.json", "oci-layout", "manifest.json"} <= set(tar.getnames())
    side.ctr("images", "import", "-", data=out.getvalue(), namespace="again")
    assert side.ctr("run", "--rm", BUSYBOX, "one", "echo", "hello", namespace="again") == "hello\n"


def test_events_of_names(side: Ours) -> None:
    stream = side.stream("Events.Subscribe", events.SubscribeRequest(filters=["namespace==told"]))
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(next(stream).topic for _ in range(2)), daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < 2:
        assert time.monotonic() < deadline
        transfer(side, registry_at(REMOTE), types.ImageStore(name="told", platforms=[PLATFORM]), "told")
        thread.join(0.1)
    assert set(found) <= {"/images/create", "/images/update"}
    stream.cancel()


NONE = types.ImageStore(name="none")


@pytest.mark.parametrize(("source", "target", "code", "text"), [
    (registry_at(f"{ADDRESS}/none:v1"), NONE, "NOT_FOUND", "failed to resolve reference"),
    (registry_at(ADDRESS), NONE, "INVALID_ARGUMENT", "object required"),
    (registry_at("127.0.0.1:1/none:v1"), NONE, "UNAVAILABLE", "connection refused"),
    (registry_at(REMOTE), types.ImageStore(), "NOT_FOUND", "no image name found: not found"),
    (registry_at(REMOTE), types.ImageStore(name="n", manifest_limit=1), "UNIMPLEMENTED", "a limit of manifests"),
    (registry_at(REMOTE), types.ImageStore(name="n", platforms=[PLATFORM, PLATFORM]), "UNIMPLEMENTED", "several platforms"),
    (registry_at(REMOTE), types.ImageStore(name="n", unpacks=[types.UnpackConfiguration(snapshotter="zfs")]), "INVALID_ARGUMENT", "zfs"),
    (registry_at(REMOTE, auth_stream="nothing"), NONE, "NOT_FOUND", 'stream "nothing"'),
    (NONE, types.ImageStore(name="n"), "NOT_FOUND", 'image "none": not found'),
    (NONE, registry_at(REMOTE), "NOT_FOUND", 'image "none": not found'),
    (types.ImageImportStream(stream="nothing"), NONE, "NOT_FOUND", 'stream "nothing"'),
    (NONE, types.ImageExportStream(stream="nothing"), "NOT_FOUND", 'stream "nothing"'),
    (registry_at(REMOTE), registry_at(REMOTE), "UNIMPLEMENTED", "method Transfer not implemented for containerd.types.transfer.OCIRegistry to "),
    (types.Progress(), NONE, "UNIMPLEMENTED", "method Transfer not implemented for containerd.types.transfer.Progress to "),
], ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20])
def test_what_cannot_be(side: Ours, source: Message, target: Message, code: str, text: str) -> None:
    answer = transfer(side, source, target, "refused")
    assert (answer[0], text in answer[1]) == (code, True), answer
    assert leases_left(side, "refused") == ("OK", "", {})
    assert side.ctr("images", "ls", "-q", namespace="refused") == ""


def test_bad_messages_and_streams(side: Ours) -> None:
    broken = AnyMessage(type_url="types.containerd.io/containerd.types.transfer.ImageStore", value=b"\xff")
    answer = side.call("Transfer.Transfer", api.TransferRequest(source=broken, destination=packed(NONE)), "refused")
    assert answer[0] == "INVALID_ARGUMENT"
    assert transfer(side, NONE, NONE, "")[:2] == ("FAILED_PRECONDITION", "namespace is required: failed precondition")
    assert transfer(side, NONE, NONE, "refused", progress_stream="nothing")[0] == "NOT_FOUND"
    answer = sent_archive(side, b"no archive", types.ImageStore(name="n"), "refused")
    assert answer[0] == "INVALID_ARGUMENT"


def test_a_client_that_goes_leaves_nothing_to_do(side: Ours) -> None:
    with opened(side, "import", "gone") as stream:
        source = types.ImageImportStream(stream="import")
        request = api.TransferRequest(source=packed(source), destination=packed(types.ImageStore(name="n")))
        call = side.open("Transfer.Transfer", request, "gone")
        assert next(stream.received(types.WindowUpdate)).update > 0
        stream.send(types.Data(data=archive("busybox:latest")[:100_000]))
        call.cancel()
    deadline = time.monotonic() + PATIENCE_S
    while leases_left(side, "gone") != ("OK", "", {}):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sent_archive(side, archive("busybox:latest"), types.ImageStore(name="n"), "gone")[0] == "OK"


def test_who_the_client_is_is_asked_for(side: Ours) -> None:
    with opened(side, "auth", "asked") as stream:
        def answer() -> None:
            for question in stream.received(types.AuthRequest):
                asked.append((question.host, question.reference))
                stream.send(types.AuthResponse(authType=types.CREDENTIALS, username="u", secret="s"))

        asked: list[tuple[str, str]] = []
        threading.Thread(target=answer, daemon=True).start()
        source = registry_at(REMOTE, auth_stream="auth", headers={"X-Own": "y"})
        assert transfer(side, source, types.ImageStore(name="n", platforms=[PLATFORM]), "asked")[:2] == ("OK", "")
    assert asked == [(ADDRESS, REMOTE)]
