"""containerd's API of wherryd beside the real containerd: the same calls by one client, and the same commands by the real ctr."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from api_pair import PATIENCE_S, pair, told
from busybox_image import archive
from google.protobuf.any_pb2 import Any
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from wherry.proto.services import containers_pb2 as containers
from wherry.proto.services import events_pb2 as events
from wherry.proto.services import images_pb2 as images
from wherry.proto.services import introspection_pb2 as introspection
from wherry.proto.services import leases_pb2 as leases
from wherry.proto.services import namespaces_pb2 as namespaces
from wherry.proto.services import sandbox_pb2 as sandbox
from wherry.proto.services import streaming_pb2 as streaming
from wherry.proto.types_pb2 import Descriptor, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from api_pair import Pair, Side

pytestmark = [
    pytest.mark.root, pytest.mark.peer,
    pytest.mark.skipif(not (shutil.which("containerd") and shutil.which("ctr")), reason="needs containerd and ctr (Debian: containerd)"),
]

SOME = Any(type_url="containerd.events.NamespaceDelete", value=b"\n\x01x")  # the real one panics where there is none, and somebody filters


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
        for service, status in ((b"", b"\x08\x01"), (b"\n\x01x", b"\x08\x03")):
            watched = side.channel.unary_stream("/grpc.health.v1.Health/Watch")(service)
            assert next(watched) == status
            watched.cancel()


@pytest.mark.parametrize("name", [
    "Version.Version", "Namespaces.Create", "Containers.Create", "Containers.ListStream", "Content.Info", "Content.Read", "Content.Write", "Diff.Apply",
    "Events.Publish", "Events.Subscribe", "Images.Create", "Introspection.Plugins", "Leases.Create", "Snapshots.Prepare", "Snapshots.List",
    "Tasks.Create", "Tasks.Wait",
])
@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x7fcut"], ids=["no field", "cut off"])
def test_bytes_that_are_no_message(both: Pair, name: str, data: bytes) -> None:
    answers = [side.call(name, [data] if name == "Content.Write" else data) for side in (both.real, both.wherry)]
    assert {code for code, _, _ in answers} == {"INTERNAL"}
    assert len({" ".join(text.split()[:4]) for _, text, _ in answers}) == 1, answers  # what is wrong with the bytes is each library's word


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


# -- what all calls but those on namespaces need


def test_the_namespace_is_needed_and_checked(both: Pair) -> None:
    for name in ("Containers.List", "Images.List", "Leases.List"):
        for namespace in ("", "a b", "x" * 77, "a-b.c_d"):
            both.same(name, namespace=namespace)


FILTERS = ("", "name==one", "name!=one", "name~=^o", "name~=/o.e/", "name~=|o\\||", "labels.a", "labels.a==b", 'labels."a.b"==c', "labels.a.b",
           "labels.a,name==one", "labels.a,name==two", " name == one", "name==one ", "name ==one,labels.a", "name=one", "name===one",
           "name==", "name", "name.", ".name", "name,", ",", "name==one,,", "name==a=b", "name=='one'", 'name=="o\\x6ee"', 'name=="one',
           'name=="o\\qne"', 'name=="o\\x6"', "name==/one/", "/name/==one", "name~=[", "name~~one", "name==one two", "nope", "nope!=x",
           "target.digest~=^sha256", "target.mediatype==m", "annotations.x==y", "id==one", "labels", "labels==", "na$me==x", "name==$one",
           "name==.x", "name==!x", "name\t==\tone", "0name==x", "-==x", "name==ä", "labels.a-b", "a-b==c", "labels.a_b", 'labels."a"."b"==c', "name~=o,name~=n",
           'name~="o\\.e"', "runtime.name==r", "runtime", "image==i")


@pytest.mark.parametrize("text", FILTERS)
def test_filters(both: Pair, text: str, named: None) -> None:
    both.same("Images.List", images.ListImagesRequest(filters=[text]), "filters")
    both.same("Containers.List", containers.ListContainersRequest(filters=[text]), "filters")
    both.same("Leases.List", leases.ListRequest(filters=[text]), "filters")
    both.same("Images.List", images.ListImagesRequest(filters=["name==two", text]), "filters")
    both.same("Containers.ListStream", containers.ListContainersRequest(filters=[text]), "filters")


def image(name: str, digest: str = "a" * 64, size: int = 5, media_type: str = "m", annotations: dict[str, str] | None = None,
          **labels: str) -> images.Image:
    target = Descriptor(media_type=media_type, digest=f"sha256:{digest}" if digest else "", size=size, annotations=annotations or {})
    return images.Image(name=name, target=target, labels=labels)


def container(name: str, runtime: str = "r", spec: bytes | None = b"{}", **fields: object) -> containers.Container:
    packed = None if spec is None else Any(type_url="types.containerd.io/opencontainers/runtime-spec/1/Spec", value=spec)
    return containers.Container(id=name, runtime=containers.Container.Runtime(name=runtime), spec=packed, **fields)


@pytest.fixture(scope="module")
def named(both: Pair) -> None:
    for one in (image("one", annotations={"x": "y"}, a="b"), image("two"), image("o.e|", media_type="other")):
        one.labels["a.b"] = "c"
        both.same("Images.Create", images.CreateImageRequest(image=one), "filters")
    for name in ("one", "two"):
        both.same("Containers.Create", containers.CreateContainerRequest(
            container=container(name, image="i", labels={"a": "b"} if name == "one" else {"a.b": "c"})), "filters")
        both.same("Leases.Create", leases.CreateRequest(id=name, labels={"a": "b", "a.b": "c"}), "filters")


# -- images


def test_images(both: Pair) -> None:
    def update(one: images.Image, *paths: str) -> images.UpdateImageRequest:
        request = images.UpdateImageRequest(image=one)
        request.update_mask.paths.extend(paths)
        return request

    for one in (image("a"), image("a"), image(""), image("b", digest=""), image("b", digest="abc"), image("b", size=0), image("b", size=-1),
                image("b", media_type=""), image("c", k="v" * 4096), image("d", k=""), image("ü /:@", a="b")):
        both.same("Images.Create", images.CreateImageRequest(image=one))
        both.same("Images.Get", images.GetImageRequest(name=one.name))
    for request in (update(image("a", "b" * 64, a="b")), update(image("a", "c" * 64, c="d"), "labels"), update(image("a"), "labels.c"),
                    update(image("a", e="f", g="h"), "labels.e"), update(image("a", "d" * 64, annotations={"x": "y"}), "target"),
                    update(image("a"), "name"), update(image("a"), "target.size"), update(image("none")), update(image("")),
                    update(image("a", size=0)), update(image("a", e="v" * 4096), "labels"), update(image("a"), "labels", "nope")):
        both.same("Images.Update", request)
        both.same("Images.Get", images.GetImageRequest(name="a"))
    both.same("Images.Get", images.GetImageRequest(name=""))
    both.same("Images.List")
    for name in ("a", "a", "", "none"):
        both.same("Images.Delete", images.DeleteImageRequest(name=name))
    both.same("Images.List")
    both.same("Images.List", namespace="another")


# -- containers


def test_containers(both: Pair) -> None:
    def update(one: containers.Container, *paths: str) -> containers.UpdateContainerRequest:
        request = containers.UpdateContainerRequest(container=one)
        request.update_mask.paths.extend(paths)
        return request

    packed = Any(type_url="x/y", value=b"z")
    full = container("full", image="i", labels={"a": "b", "e": ""}, snapshotter="native", snapshot_key="k",
                     extensions={"x": packed})
    full.runtime.options.CopyFrom(packed)
    for one in (container("a"), container("a"), container(""), container("a b"), container("x" * 77), container("b", runtime=""),
                container("b", spec=None), container("b", snapshot_key="k"), container("b", extensions={"": packed}),
                container("b", labels={"k": "v" * 4096}), full, containers.Container(), container("nosnap", snapshotter="overlayfs")):
        both.same("Containers.Create", containers.CreateContainerRequest(container=one))
        both.same("Containers.Get", containers.GetContainerRequest(id=one.id))
    for request in (update(container("full", snapshotter="native", labels={"c": "d"}, extensions={"x": packed})), update(container("full")),
                    update(container("full", runtime="s", snapshotter="native")), update(container("full", labels={"x": "y"}), "labels"),
                    update(container("full", labels={"x": "1", "z": "2"}), "labels.z"), update(container("full"), "labels.z"),
                    update(container("full", extensions={"n": packed}), "extensions.n"), update(container("full"), "extensions.n"),
                    update(container("full", image="j"), "image"),
                    update(container("full", snapshot_key="l"), "snapshotkey"), update(container("full", snapshot_key="l"), "snapshot_key"),
                    update(container("full", spec=b"[]"), "spec"), update(container("full", spec=None), "spec"),
                    update(container("full"), "runtime"), update(container("none")), update(container("")),
                    update(container("full", labels={"k": "v" * 4096}), "labels"), update(container("full"), "nope.x")):
        both.same("Containers.Update", request)
        both.same("Containers.Get", containers.GetContainerRequest(id="full"))
    both.same("Containers.List")
    both.same("Containers.ListStream")
    for name in ("a", "a", "", "none", "full"):
        both.same("Containers.Delete", containers.DeleteContainerRequest(id=name))
    both.same("Containers.List")
    both.same("Containers.Get", containers.GetContainerRequest(id="a"), namespace="never-seen")


# -- leases


def test_leases(both: Pair) -> None:
    for request in (leases.CreateRequest(id="l", labels={"a": "b"}), leases.CreateRequest(id="l"), leases.CreateRequest(id="a b"),
                    leases.CreateRequest(id="k", labels={"k": "v" * 4096})):
        both.same("Leases.Create", request)
    digest = "sha256:" + "a" * 64
    for name, kind in ((digest, "content"), (digest, "content"), ("nope", "content"), ("sha256:abc", "content"), ("md5:00", "content"),
                       (digest, "content/x"), ("ref", "ingests"), ("ref", "ingests/x"), ("key", "snapshots/overlayfs"),
                       ("key", "snapshots"), ("key", "snapshots/a/b"), ("key", "snapshots/unknown"), ("i", "images"), ("x", ""), ("x", "y")):
        resource = leases.Resource(id=name, type=kind)
        both.same("Leases.AddResource", leases.AddResourceRequest(id="l", resource=resource))
        both.same("Leases.ListResources", leases.ListResourcesRequest(id="l"))
    for name, kind in ((digest, "content"), (digest, "content"), ("ref", "ingests"), ("nope", "content"), ("x", "y"),
                       ("key", "snapshots/none"), ("key", "snapshots/overlayfs")):
        resource = leases.Resource(id=name, type=kind)
        both.same("Leases.DeleteResource", leases.DeleteResourceRequest(id="l", resource=resource))
        both.same("Leases.ListResources", leases.ListResourcesRequest(id="l"))
    resource = leases.Resource(id=digest, type="content")
    both.same("Leases.AddResource", leases.AddResourceRequest(id="none", resource=resource))
    both.same("Leases.AddResource", leases.AddResourceRequest(id="none", resource=resource), namespace="never-seen")
    both.same("Leases.DeleteResource", leases.DeleteResourceRequest(id="none", resource=resource))
    both.same("Leases.ListResources", leases.ListResourcesRequest(id="none"))
    both.same("Leases.List")
    for name in ("l", "l", "", "none"):
        both.same("Leases.Delete", leases.DeleteRequest(id=name))
    both.same("Leases.Delete", leases.DeleteRequest(id="k"), namespace="never-seen")
    for side in (both.real, both.wherry):
        code, _, answer = side.call("Leases.Create", leases.CreateRequest(labels={"own": "name"}))
        assert code == "OK"
        number, _, rest = answer["lease"]["id"].partition("-")
        assert number.isdecimal()
        assert len(rest) == 4


# -- events


def test_events_that_are_none(both: Pair) -> None:
    event = Any(type_url="x", value=b"y")
    for topic in ("", "x", "/", "//", "/a//b", "/a b", "/a/", "/ok/fine", "/" + "x" * 77):
        both.same("Events.Publish", events.PublishRequest(topic=topic, event=event))
        both.same("Events.Forward", events.ForwardRequest(envelope=events.Envelope(topic=topic, namespace="n", event=event,
                                                                                    timestamp=Timestamp(seconds=1))))
    both.same("Events.Publish", events.PublishRequest(topic="/a", event=event), namespace="")
    both.same("Events.Publish", events.PublishRequest(topic="/a", event=event), namespace="a b")
    both.same("Events.Forward", events.ForwardRequest(envelope=events.Envelope(topic="/a", namespace="n", event=event)))
    both.same("Events.Forward", events.ForwardRequest(envelope=events.Envelope(topic="/a", timestamp=Timestamp(seconds=1))))


def test_where_our_code_says_more(both: Pair) -> None:
    """Containerd forgets the code of these errors, and says UNKNOWN."""
    update = namespaces.UpdateNamespaceRequest(namespace=namespaces.Namespace(name="more", labels={"k": "v" * 4096}))
    resource = leases.AddResourceRequest(id="more", resource=leases.Resource(type="ingests"))
    both.same("Leases.Create", leases.CreateRequest(id="more"))
    for name, request in (("Namespaces.Update", update), ("Leases.AddResource", resource),
                          ("Events.Subscribe", events.SubscribeRequest(filters=["topic="]))):
        theirs, mine = both.real.call(name, request), both.wherry.call(name, request)
        assert theirs[0] == "UNKNOWN"
        assert mine == ("INVALID_ARGUMENT", *theirs[1:])


# -- the real ctr


def test_ctr_images(both: Pair, tmp_path: Path) -> None:
    busybox = "docker.io/library/busybox:latest"
    both.ctr("images", "import", "--no-unpack", "-", data=archive("busybox:latest"))
    both.ctr("images", "import", "--no-unpack", "--base-name", "docker.io/library/other", "--digests", "-", data=archive("busybox:latest"))
    both.ctr("images", "ls")
    both.ctr("images", "ls", "-q", "name~=busybox")
    both.ctr("images", "check")
    both.ctr("images", "tag", busybox, "example.org/a:b")
    both.ctr("images", "tag", busybox, "example.org/a:b", code=1)
    both.ctr("images", "tag", "--force", busybox, "example.org/a:b")
    both.ctr("images", "tag", "example.org/none:none", "example.org/c:d", code=1)
    both.ctr("images", "label", "example.org/a:b", "x=y")
    both.ctr("images", "label", "-r", "example.org/a:b", "z=")
    both.ctr("images", "label", "example.org/none:none", "x=y", code=1)
    both.ctr("images", "import", "--no-unpack", "-", data=b"no archive", code=1)
    archives = []
    for side in (both.real, both.wherry):
        path = tmp_path / f"{len(archives)}.tar"
        side.ctr("images", "export", str(path), busybox)
        with tarfile.open(path) as found:
            archives.append({one.name: one.size for one in found if one.isfile()})
    assert archives[0] == archives[1]
    both.ctr("images", "rm", "example.org/a:b", "example.org/none:none")
    both.ctr("images", "rm", busybox)
    both.ctr("images", "ls", "-q")


def test_ctr_containers_and_leases(both: Pair) -> None:
    both.ctr("containers", "create", "--rootfs", "--label", "c=b", "/nowhere", "named", "sh")
    both.ctr("containers", "create", "--rootfs", "/nowhere", "named", "sh", code=1)
    both.ctr("containers", "create", "--rootfs", "/nowhere", "no name", "sh", code=1)
    both.ctr("containers", "ls")
    both.ctr("containers", "ls", "-q", "labels.c==b")
    both.ctr("containers", "ls", "labels.a=b", code=1)
    both.ctr("containers", "label", "named", "c=d")
    both.ctr("containers", "label", "none", "c=d", code=1)
    both.ctr("containers", "info", "none", code=1)
    theirs, mine = ({**json.loads(side.ctr("containers", "info", "named")), "CreatedAt": "", "UpdatedAt": ""}
                    for side in (both.real, both.wherry))
    assert mine == theirs
    both.ctr("containers", "rm", "named")
    both.ctr("containers", "rm", "named", code=1)
    both.ctr("leases", "create", "--id", "by-ctr", "a=b")
    both.ctr("leases", "create", "--id", "by-ctr", code=1)
    both.ctr("leases", "ls", "-q", "labels.a==b")
    both.ctr("leases", "rm", "by-ctr")
    both.ctr("leases", "rm", "by-ctr", code=1)
    both.ctr("plugins", "ls", "id==overlayfs")


# -- what 1.6 has not


def test_records_of_sandboxes(both: Pair) -> None:
    ours = both.wherry
    one = Sandbox(sandbox_id="pod", runtime=Sandbox.Runtime(name="r"), labels={"a": "b"}, spec=SOME, extensions={"x": SOME})
    made = ours.message("Store.Create", sandbox.StoreCreateRequest(sandbox=one)).sandbox
    assert ours.message("Store.Get", sandbox.StoreGetRequest(sandbox_id="pod")).sandbox == made
    assert (made.runtime.name, made.spec, dict(made.extensions)) == ("r", SOME, {"x": SOME})
    assert ours.call("Store.Create", sandbox.StoreCreateRequest(sandbox=one))[0] == "ALREADY_EXISTS"
    one.labels["c"] = "d"
    assert ours.message("Store.Update", sandbox.StoreUpdateRequest(sandbox=one, fields=["labels.c"])).sandbox.labels == {"a": "b", "c": "d"}
    assert [found.sandbox_id for found in ours.message("Store.List", sandbox.StoreListRequest(filters=["labels.c==d"])).list] == ["pod"]
    ours.message("Store.Delete", sandbox.StoreDeleteRequest(sandbox_id="pod"))
    assert ours.call("Store.Get", sandbox.StoreGetRequest(sandbox_id="pod")) == ("NOT_FOUND", 'sandbox "pod": not found', [])
    assert ours.call("Controller.Start", sandbox.ControllerStartRequest(sandbox_id="pod"))[:2] == (
        "NOT_FOUND", "sandbox pod: not found")


def test_streams_are_opened_under_an_id(both: Pair) -> None:
    init = Any(type_url="containerd.services.streaming.v1.StreamInit", value=streaming.StreamInit(id="s").SerializeToString())
    call = both.wherry.channel.stream_stream("/containerd.services.streaming.v1.Streaming/Stream", Any.SerializeToString, Any.FromString)
    end = threading.Event()

    def messages() -> Iterator[Any]:
        yield init
        end.wait(PATIENCE_S)

    answers = call(messages(), metadata=[("containerd-namespace", "test")])
    assert next(answers).type_url == "google.protobuf.Empty"
    assert both.wherry.call("Streaming.Stream", [init])[0] == "ALREADY_EXISTS"
    assert both.wherry.call("Streaming.Stream", [SOME])[0] == "INVALID_ARGUMENT"
    assert both.wherry.call("Streaming.Stream", [])[0] == "INVALID_ARGUMENT"
    answers.cancel()
    end.set()
    again = call(iter([init]), metadata=[("containerd-namespace", "other")])
    assert next(again).type_url == "google.protobuf.Empty"
    again.cancel()


# -- introspection


@pytest.mark.parametrize("text", ["type==io.containerd.snapshotter.v1,id==overlayfs", "type==io.containerd.grpc.v1,id==version",
                                  "id==nope", "type~=snapshotter,id!=overlayfs,id!=native,id!=aufs,id!=btrfs,id!=devmapper,id!=zfs", "id="])
def test_plugins_that_clients_look_for(both: Pair, text: str) -> None:
    request = introspection.PluginsRequest(filters=[text])
    both.same("Introspection.Plugins", request, ignoring="exports")


def test_what_there_is(both: Pair) -> None:
    theirs, mine = ({(one.type, one.id) for one in side.message("Introspection.Plugins", introspection.PluginsRequest()).plugins}
                    for side in (both.real, both.wherry))
    assert {one for one in theirs if one[0] in ("io.containerd.grpc.v1", "io.containerd.content.v1", "io.containerd.runtime.v2")} - mine == {
        ("io.containerd.grpc.v1", "healthcheck")}  # `health` here, after its service
    server = both.wherry.message("Introspection.Server", Empty())
    assert server.pid == both.wherry.process.pid
    assert server.uuid == both.wherry.message("Introspection.Server", Empty()).uuid
    assert len(server.uuid) == 36
    both.wherry.ctr("plugins", "ls", "-d")
    found = both.wherry.message("Introspection.PluginInfo", introspection.PluginInfoRequest(type="io.containerd.content.v1", id="content"))
    assert found.plugin.exports["root"].endswith("/content")
    assert both.wherry.call("Introspection.PluginInfo", introspection.PluginInfoRequest(type="x", id="y"))[0] == "NOT_FOUND"


# -- events as they come


def test_events_of_what_is_done(both: Pair) -> None:
    def do(side: Side) -> None:
        side.call("Namespaces.Create", namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name="told", labels={"a": "b"})), "told")
        side.call("Images.Create", images.CreateImageRequest(image=image("i", a="b")), "told")
        side.call("Images.Update", images.UpdateImageRequest(image=image("i", c="d")), "told")
        side.call("Containers.Create", containers.CreateContainerRequest(container=container("c", image="i")), "told")
        side.call("Containers.Update", containers.UpdateContainerRequest(container=container("c", labels={"e": "f"}, image="j")), "told")
        side.call("Containers.Create", containers.CreateContainerRequest(container=container("c")), "told")  # there already: no event
        side.call("Containers.Delete", containers.DeleteContainerRequest(id="c"), "told")
        side.call("Images.Delete", images.DeleteImageRequest(name="i"), "told")
        side.call("Events.Publish", events.PublishRequest(topic="/own/topic", event=Any(type_url="own", value=b"x")), "told")
        side.call("Events.Forward", events.ForwardRequest(envelope=events.Envelope(
            topic="/forwarded", namespace="told", event=Any(type_url="own"), timestamp=Timestamp(seconds=5))), "told")
        side.call("Namespaces.Update", namespaces.UpdateNamespaceRequest(namespace=namespaces.Namespace(name="told", labels={"g": "h"})), "told")
        side.call("Namespaces.Delete", namespaces.DeleteNamespaceRequest(name="told"))
        side.call("Events.Publish", events.PublishRequest(topic="/end", event=SOME), "told")

    for filters in ((), ("namespace==told",), ('topic=="/images/create"', "topic~=|^/containers/|"), ("event.id==c",), ("event.image==j",),
                    ("event.labels.a==b",), ("event.runtime.name==r",), ("event",), ("topic",), ("event.name", "nope"), ("namespace!=told",)):
        theirs, mine = (told_of(side, filters, do) for side in (both.real, both.wherry))
        assert mine == theirs, filters
        assert mine[-1][0] == "/end"


def told_of(side: Side, filters: tuple[str, ...], do: Callable[[Side], None]) -> list[tuple[str, str, str, bytes]]:
    """What a subscription with filters is given while something is done, up to `/end`."""
    return [(one.topic, one.namespace, one.event.type_url, one.event.value) for one in told(side, filters, do, "told", "/end")]
