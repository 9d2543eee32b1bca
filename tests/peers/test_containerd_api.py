"""containerd's API of wherryd beside the real containerd: the same calls by one client, and the same commands by the real ctr."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import grpc
import pytest
from api_pair import PATIENCE_S, pair

from wherry.proto.services import namespaces_pb2 as namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api_pair import Pair

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not (shutil.which("containerd") and shutil.which("ctr")), reason="needs containerd and ctr (Debian: containerd)"),
]


@pytest.fixture(scope="module")
def both() -> Iterator[Pair]:
    with pair() as one:
        yield one


# -- the server itself


@pytest.mark.parametrize("path", ["/no.such.Service/X", "/containerd.services.version.v1.Version/Nope", "/", "/a",
                                  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"])
def test_unknown_services_and_methods(both: Pair, path: str) -> None:
    answers = []
    for side in (both.real, both.wherry):
        with pytest.raises(grpc.RpcError) as failed:
            side.channel.unary_unary(path)(b"", timeout=PATIENCE_S)
        answers.append((failed.value.code(), failed.value.details()))
    assert answers[0] == answers[1]


def test_health(both: Pair) -> None:
    for side in (both.real, both.wherry):
        check = side.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=PATIENCE_S) == b"\x08\x01"
        with pytest.raises(grpc.RpcError) as failed:
            check(b"\n\x01x", timeout=PATIENCE_S)
        assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "unknown service")


def test_bytes_that_are_no_message(both: Pair) -> None:
    for name in ("Version.Version", "Namespaces.Create"):
        codes = [side.call(name, b"\xff\xff\xff")[:2] for side in (both.real, both.wherry)]
        assert {code for code, _ in codes} == {"INTERNAL"}
        assert all(text.startswith("grpc: error unmarshalling request: ") for _, text in codes)


# -- namespaces


def test_namespaces(both: Pair) -> None:
    def create(name: str, **labels: str) -> namespaces.CreateNamespaceRequest:
        return namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name=name, labels=labels))

    def update(name: str, *paths: str, **labels: str) -> namespaces.UpdateNamespaceRequest:
        request = namespaces.UpdateNamespaceRequest(namespace=namespaces.Namespace(name=name, labels=labels))
        request.update_mask.paths.extend(paths)
        return request

    for name in ("ns-one", "ns-one", "", "a b", "-a", "a-", "a..b", "a_b.c-d", "x" * 76, "x" * 77, "ä"):
        both.same("Namespaces.Create", create(name, a="b"))
        both.same("Namespaces.Get", namespaces.GetNamespaceRequest(name=name))
    both.same("Namespaces.Create", create("ns-long", k="v" * 4096))
    both.same("Namespaces.Create", create("ns-longest", k="v" * 4095))
    for request in (update("ns-one", c="d"), update("ns-one", "labels", e="f"), update("ns-one", "labels.g", g="h", i="j"),
                    update("ns-one", "labels.g"), update("ns-one", "name"), update("ns-none", x="y"), update("ns-one", e="")):
        both.same("Namespaces.Update", request)
        both.same("Namespaces.Get", namespaces.GetNamespaceRequest(name="ns-one"))
    for name in ("ns-one", "ns-one", "", "ns-none", "a_b.c-d"):
        both.same("Namespaces.Delete", namespaces.DeleteNamespaceRequest(name=name))
    both.ctr("namespaces", "create", "ns-ctr", "one=two")
    both.ctr("namespaces", "label", "ns-ctr", "three=four", "one=")
    both.ctr("namespaces", "remove", "ns-ctr")
    both.ctr("namespaces", "remove", "ns-ctr")
