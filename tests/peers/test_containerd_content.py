"""The content service of wherryd beside the real containerd: writes in all their forms, reads, labels, what is left after faults."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from api_pair import PATIENCE_S, ours, pair

from wherry.proto import types_pb2 as types
from wherry.proto.services import content_pb2 as api
from wherry.proto.services import images_pb2 as images
from wherry.proto.services import leases_pb2 as leases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_pair import Answer, Ours, Pair, Side

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not (shutil.which("containerd") and shutil.which("ctr")), reason="needs containerd and ctr (Debian: containerd)"),
]
STAT, WRITE, COMMIT = api.STAT, api.WRITE, api.COMMIT
HELLO, WORLD, KNOWN = b"hello", b"world", b"known from the start"
BOTH = HELLO + WORLD
KEPT = {"containerd.io/gc.root": "true"}


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    with pair() as one:
        one.same("Content.Write", write("known", KNOWN))
        yield one


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def message(action: int = WRITE, ref: str = "", data: bytes = b"", **fields: object) -> api.WriteContentRequest:
    return api.WriteContentRequest(action=action, ref=ref, data=data, **{"labels": KEPT, **fields})


def write(ref: str, data: bytes, **fields: object) -> list[api.WriteContentRequest]:
    return [message(COMMIT, ref, data, total=len(data), expected=digest_of(data), **fields)]


@pytest.mark.parametrize("messages", [
    [],
    [message(STAT)],
    [message(WRITE, "", b"x")],
    [message(STAT, "w-stat")],
    [message(STAT, "w-stat-twice"), message(STAT)],
    [message(WRITE, "w-write", b"abc")],
    [message(WRITE, "w-more", b"abc"), message(WRITE, "", b"def", offset=3), message(STAT)],
    [message(WRITE, "w-again", b"abc"), message(WRITE, "", b"de"), message(STAT)],  # offset 0: from the beginning
    [message(WRITE, "w-beyond", b"abc"), message(WRITE, "", b"def", offset=4)],
    [message(WRITE, "w-behind", b"abc"), message(WRITE, "", b"def", offset=2)],
    [message(WRITE, "w-below", b"abc", offset=-1)],
    [message(WRITE, "w-start", b"abc", offset=7)],
    [message(COMMIT, "w-commit", b"w-commit", labels={"a": "b", "c": ""})],
    [message(COMMIT, "w-commit-again", KNOWN)],
    [message(WRITE, "w-whole", b"w-whole"), message(COMMIT, "", offset=7, total=7, expected=digest_of(b"w-whole"))],
    [message(COMMIT, "w-wrong-digest", b"w-wrong-digest", expected=digest_of(b"another"))],
    [message(COMMIT, "w-wrong-size", b"w-wrong-size", total=99)],
    [message(COMMIT, "w-no-digest", b"w-no-digest", expected="md5:00")],
    [message(COMMIT, "w-sha512", b"w-sha512", expected="sha512:" + hashlib.sha512(b"w-sha512").hexdigest())],
    [message(COMMIT, "w-nonsense", b"w-nonsense", expected="nonsense")],
    [message(COMMIT, "w-empty")],
    [message(COMMIT, "w-long-label", b"w-long-label", labels={"k": "v" * 4096})],
    [message(STAT, "w-known", expected=digest_of(KNOWN))],
    [message(WRITE, "w-known-later", b"x"), message(WRITE, "", b"y", offset=1, expected=digest_of(KNOWN))],
    [message(WRITE, "w-total", b"abc", total=5), message(STAT), message(COMMIT, "", b"de", offset=3, expected=digest_of(b"abcde"))],
    [message(WRITE, "w/slash:colon@x y", b"abc")],
    [message(7, "w-unknown-action", b"abc")],  # type: ignore[arg-type]
    [message(WRITE, "w-data-then-stat", b"abc"), message(STAT, "", b"ignored")],
], ids=lambda messages: messages[0].ref if messages else "nothing")
def test_writes(both: Pair, messages: list[api.WriteContentRequest]) -> None:
    both.same("Content.Write", messages)
    for one in messages[:1]:
        both.same("Content.ListStatuses", api.ListStatusesRequest(filters=[f'ref=="{one.ref}"']))
        both.same("Content.Status", api.StatusRequest(ref=one.ref))


def test_a_write_goes_on_where_another_stopped(both: Pair) -> None:
    both.same("Content.Write", [message(WRITE, "r", HELLO, total=10)])
    both.same("Content.Status", api.StatusRequest(ref="r"))
    both.same("Content.Write", [message(STAT, "r")])
    both.same("Content.Write", [message(STAT, "r", total=10)])
    both.same("Content.Write", [message(COMMIT, "r", WORLD, offset=5, total=10, expected=digest_of(b"no"))])
    both.same("Content.Status", api.StatusRequest(ref="r"))
    both.same("Content.Write", [message(STAT, "r")])
    both.same("Content.Write", [message(COMMIT, "r", offset=10, total=10, expected=digest_of(BOTH))])
    both.same("Content.Status", api.StatusRequest(ref="r"))
    both.same("Content.Info", api.InfoRequest(digest=digest_of(BOTH)))


def test_another_total_is_another_write(both: Pair) -> None:
    both.same("Content.Write", [message(WRITE, "o", HELLO, total=10)])
    both.same("Content.Write", [message(STAT, "o", total=11), message(COMMIT, "", b"hello world", total=11)])
    both.same("Content.Info", api.InfoRequest(digest=digest_of(b"hello world")))


def test_abort(both: Pair) -> None:
    both.same("Content.Write", [message(WRITE, "a", HELLO)])
    for ref in ("a", "a", "", "none"):
        both.same("Content.Abort", api.AbortRequest(ref=ref))
    both.same("Content.Write", [message(STAT, "a")])


def test_what_another_namespace_has_needs_no_bytes(both: Pair) -> None:
    data = b"shared by two"
    both.same("Content.Write", write("s", data))
    both.same("Content.Info", api.InfoRequest(digest=digest_of(data)), "other")
    both.same("Content.Write", [message(STAT, "s", total=len(data), expected=digest_of(data))], "other")
    both.same("Content.Write", [message(STAT, "s2", total=4, expected=digest_of(data))], "other")
    assert {side.call("Content.Status", api.StatusRequest(ref="s"), "other")[0] for side in (both.real, both.wherry)} == {"NOT_FOUND"}
    both.same("Content.ListStatuses", namespace="other")
    both.same("Content.Write", [message(COMMIT, "s", offset=len(data), total=3, expected=digest_of(data))], "other")
    both.same("Content.Write", [message(STAT, "s", expected=digest_of(data)),
                                message(COMMIT, "", offset=len(data), expected=digest_of(b"x"))], "other")
    both.same("Content.Write", [message(STAT, "s", expected=digest_of(data)), message(COMMIT, "", offset=len(data))], "other")
    both.same("Content.Info", api.InfoRequest(digest=digest_of(data)), "other")
    # And one that takes the bytes and changes them.
    both.same("Content.Write", [message(STAT, "t", expected=digest_of(data)), message(WRITE, "", b"!", offset=len(data)), message(STAT)], "third")
    both.same("Content.Write", [message(STAT, "u", expected=digest_of(data)), message(WRITE, "", b"anew"), message(STAT)], "third")
    both.same("Content.Write", [message(COMMIT, "u", b"", offset=4)], "third")
    both.same("Content.List", namespace="third")


def test_reads(both: Pair) -> None:
    data = bytes(range(256)) * 9000
    both.same("Content.Write", write("read", data))
    for offset, size in ((0, 0), (0, 5), (5, 0), (250, 20), (len(data) - 3, 0), (len(data) - 3, 100), (len(data), 0), (len(data) + 1, 0),
                         (-5, 3), (0, -1), (1 << 62, 0), (0, len(data))):
        request = api.ReadContentRequest(digest=digest_of(data), offset=offset, size=size)
        answers = [side.call("Content.Read", request) for side in (both.real, both.wherry)]
        assert joined(answers[0]) == joined(answers[1])
    for digest in ("", "x", "sha256:abc", digest_of(b"never"), "sha512:" + "0" * 128):
        both.same("Content.Read", api.ReadContentRequest(digest=digest))


def joined(answer: Answer) -> tuple[str, str, bytes]:
    return answer[0], answer[1], b"".join(one.get("data", b"") for one in answer[2])


def test_infos_labels_and_deletes(both: Pair) -> None:
    data = b"labelled"
    digest = digest_of(data)
    both.same("Content.Write", write("l", data, labels={"a": "b"}), "labels")

    def update(*paths: str, digest: str = digest, **labels: str) -> api.UpdateRequest:
        request = api.UpdateRequest(info=api.Info(digest=digest, labels=labels))
        request.update_mask.paths.extend(paths)
        return request

    for request in (update(c="d"), update("labels", e="f"), update("labels.g", g="h", i="j"), update("labels.g"), update("size"), update("nope.x"),
                    update(), update("labels.k", k="v" * 4096), update(digest="x"), update(digest=digest_of(b"none")), update("labels", a="b")):
        both.same("Content.Update", request, "labels")
        both.same("Content.Info", api.InfoRequest(digest=digest), "labels")
    for filters in ((), ("labels.a",), ("labels.a==c",), (f"digest=={digest}",), ("digest~=^sha",), ("size==8",), ("digest=",)):
        both.same("Content.List", api.ListContentRequest(filters=filters), "labels")
        both.same("Content.ListStatuses", api.ListStatusesRequest(filters=filters), "labels")
    for one in ("", "x", "sha256:abc", digest_of(b"none")):
        both.same("Content.Info", api.InfoRequest(digest=one), "labels")
        both.same("Content.Delete", api.DeleteContentRequest(digest=one), "labels")
    both.same("Content.Delete", api.DeleteContentRequest(digest=digest), "labels")
    both.same("Content.Delete", api.DeleteContentRequest(digest=digest), "labels")
    both.same("Content.List", namespace="labels")
    for name in ("Content.List", "Content.ListStatuses"):
        both.same(name, namespace="")
    both.same("Content.Write", write("l", data), namespace="")


def test_leases_hold_what_is_written(both: Pair) -> None:
    both.same("Leases.Create", leases.CreateRequest(id="c"))
    both.same("Content.Write", [message(WRITE, "leased", HELLO)], containerd_lease="c")
    both.same("Leases.ListResources", leases.ListResourcesRequest(id="c"))
    both.same("Content.Write", write("leased-2", b"leased"), containerd_lease="c")
    both.same("Content.Abort", api.AbortRequest(ref="leased"), containerd_lease="c")
    both.same("Leases.ListResources", leases.ListResourcesRequest(id="c"))
    both.same("Leases.Create", leases.CreateRequest(id="d"))
    both.same("Content.Write", [message(STAT, "leased-3", expected=digest_of(b"leased"))], containerd_lease="d")
    both.same("Leases.ListResources", leases.ListResourcesRequest(id="d"))
    both.same("Content.Delete", api.DeleteContentRequest(digest=digest_of(b"leased")), containerd_lease="d")
    both.same("Leases.ListResources", leases.ListResourcesRequest(id="d"))
    both.same("Content.Write", write("unknown-lease", b"unknown lease"), containerd_lease="none")
    both.same("Content.Info", api.InfoRequest(digest=digest_of(b"unknown lease")))


def test_one_ref_has_one_writer(both: Pair) -> None:
    for side in (both.real, both.wherry):
        begun, end = threading.Event(), threading.Event()

        def messages(begun: threading.Event = begun, end: threading.Event = end) -> Iterator[api.WriteContentRequest]:
            yield message(WRITE, "one", HELLO)
            begun.set()
            end.wait(PATIENCE_S)

        first = threading.Thread(target=side.call, args=("Content.Write", messages()))
        first.start()
        assert begun.wait(PATIENCE_S)
        wait_for_status(side, "one", len(HELLO))
        code, text, _ = side.call("Content.Write", [message(STAT, "one")])
        end.set()
        first.join()
        assert code == "UNAVAILABLE"
        assert re.fullmatch(r"ref test/.*one locked for \S+ \(since .*\): unavailable", text)
        assert side.call("Content.Write", [message(STAT, "one")])[0] == "OK"


def wait_for_status(side: Side, ref: str, offset: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while side.call("Content.Status", api.StatusRequest(ref=ref))[2] == [] or \
            side.call("Content.Status", api.StatusRequest(ref=ref))[2]["status"].get("offset") != offset:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ctr_content(both: Pair) -> None:
    data = b"by ctr\n"
    target = types.Descriptor(digest=digest_of(data), media_type="m", size=len(data))
    both.same("Images.Create", images.CreateImageRequest(image=images.Image(name="keeps it", target=target)))
    both.ctr("content", "ingest", "by-ctr", data=data)
    both.ctr("content", "ingest", "--expected-digest", digest_of(b"x"), "--expected-size", "9", "wrong", data=data, code=1)
    both.ctr("content", "get", digest_of(data))
    both.ctr("content", "label", digest_of(data), "a=b")
    both.ctr("content", "label", digest_of(data), "a=")
    both.ctr("content", "ls", f"digest=={digest_of(data)}")
    both.ctr("content", "active")
    both.ctr("content", "rm", digest_of(data))
    both.ctr("content", "get", digest_of(data), code=1)


# -- garbage


def wait_for_none(side: Ours, digest: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while side.call("Content.Info", api.InfoRequest(digest=digest))[0] == "OK":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_removal_has_garbage_collected_in_a_while(alone: Ours) -> None:
    unheld = write("unheld", HELLO, labels={})
    assert alone.call("Content.Write", write("held", WORLD))[0] == "OK"
    assert alone.call("Content.Write", unheld)[0] == "OK"
    assert alone.call("Content.Delete", api.DeleteContentRequest(digest=digest_of(WORLD)))[0] == "OK"
    wait_for_none(alone, digest_of(HELLO))


def test_so_have_many_changes() -> None:
    with ours("--containerd-gc=startup_delay=0s", "--containerd-gc=mutation_threshold=40") as one:
        assert one.call("Content.Write", write("unheld", HELLO, labels={}))[0] == "OK"
        assert one.call("Content.Info", api.InfoRequest(digest=digest_of(HELLO)))[0] == "OK"
        for at in range(40):
            assert one.call("Content.Write", write(f"held-{at}", b"%d" % at))[0] == "OK"
        wait_for_none(one, digest_of(HELLO))
        assert one.call("Content.Info", api.InfoRequest(digest=digest_of(b"7")))[0] == "OK"


# -- faults


@pytest.fixture
def alone() -> Iterator[Ours]:
    with ours() as one:
        yield one


def test_a_client_that_vanishes_leaves_a_write_that_goes_on(alone: Ours) -> None:
    program = ("import sys, time, grpc\nfrom wherry.proto.services import content_pb2 as api\n"
               "def messages():\n yield api.WriteContentRequest(action=1, ref='gone', data=b'hello')\n time.sleep(600)\n"
               "channel = grpc.insecure_channel('unix:' + sys.argv[1])\n"
               "call = channel.stream_stream('/containerd.services.content.v1.Content/Write', api.WriteContentRequest.SerializeToString)\n"
               "for answer in call(messages(), metadata=[('containerd-namespace', 'test')]): print('answered', flush=True)\n")
    with subprocess.Popen([sys.executable, "-c", program, alone.socket], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"answered\n"
        client.kill()
    deadline = time.monotonic() + PATIENCE_S
    while (answer := alone.call("Content.Write", [message(COMMIT, "gone", WORLD, offset=5, expected=digest_of(BOTH))]))[0] == "UNAVAILABLE":
        assert time.monotonic() < deadline
    assert answer[0] == "OK"
    assert open_files(alone) == []


def open_files(side: Ours) -> list[str]:
    """What it has open below its data root's content."""
    folder = f"/proc/{side.process.pid}/fd"
    links = []
    for name in os.listdir(folder):
        try:
            links.append(os.readlink(f"{folder}/{name}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return [one for one in links if "/content/" in one]


def test_what_was_answered_survives_kill_9(alone: Ours) -> None:
    assert alone.call("Leases.Create", leases.CreateRequest(id="l"))[0] == "OK"
    for at in range(5):
        assert alone.call("Content.Write", write(f"k{at}", b"%d" % at), containerd_lease="l")[0] == "OK"
    assert alone.call("Content.Write", [message(WRITE, "half", HELLO)], containerd_lease="l")[0] == "OK"
    alone.stop(signal.SIGKILL)
    alone.start()
    found = {one["digest"] for answer in alone.call("Content.List")[2] for one in answer["info"]}
    assert found == {digest_of(b"%d" % at) for at in range(5)}
    assert len(alone.call("Leases.ListResources", leases.ListResourcesRequest(id="l"))[2]["resources"]) == 6
    assert joined(alone.call("Content.Read", api.ReadContentRequest(digest=digest_of(b"3"))))[2] == b"3"
    code, _, answers = alone.call("Content.Write", [message(COMMIT, "half", WORLD, offset=5, expected=digest_of(BOTH))])
    assert (code, answers[0]["digest"]) == ("OK", digest_of(BOTH))
