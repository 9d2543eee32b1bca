"""What options and images change in a container's configuration; names in archives; who a user is. Pure."""

from __future__ import annotations

import pytest

from wherry.ctr.create import parse_id_map
from wherry.ctr.spec import changes, user
from wherry.ctr.spec.default import default, ordered
from wherry.errors import AlreadyExists, InvalidArgument, NotFound, WherryError
from wherry.proto.failure import from_status
from wherry.transfer import names
from wherry.transfer.hosts import Remote

PASSWD = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:2::/:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:50:daemon,root\n"


def test_the_environment_keeps_its_order():
    assert changes.replaced(["A=1", "B=2"], ["B=3", "C=4", "A"]) == ["B=3", "C=4"]


@pytest.mark.parametrize(("text", "message"), [
    ("foo", "invalid mount specification: expected key=val"), ("foo=bar", 'mount option "foo" not supported')])
def test_mounts_that_are_none(text, message):
    with pytest.raises(InvalidArgument, match=message):
        changes.parse_mount(text)


def test_a_mount():
    assert changes.parse_mount("type=bind,src=/a,dst=/b,options=rbind:ro") == {
        "destination": "/b", "type": "bind", "source": "/a", "options": ["rbind", "ro"]}


def test_privileged_takes_everything_off():
    spec = default("ns", "x")
    spec["linux"]["seccomp"] = {}
    changes.privileged(spec, ("CAP_SYS_ADMIN",))
    assert not {"maskedPaths", "readonlyPaths", "seccomp"} & spec["linux"].keys()
    assert spec["process"]["capabilities"]["bounding"] == ["CAP_SYS_ADMIN"]
    assert [mount["options"][-1] for mount in spec["mounts"] if mount["type"] == "sysfs"] == ["rw"]


def test_namespaces_are_joined_in_their_place():
    spec = default("ns", "x")
    changes.join_namespaces(spec, ["network:/n", "cgroup:/c"])
    assert [one for one in spec["linux"]["namespaces"] if "path" in one] == [
        {"type": "network", "path": "/n"}, {"type": "cgroup", "path": "/c"}]
    assert len(spec["linux"]["namespaces"]) == 6
    with pytest.raises(InvalidArgument, match="not valid: foo"):
        changes.join_namespaces(spec, ["foo:/x"])


def test_fields_come_in_the_specifications_order():
    spec = default("ns", "x")
    spec["linux"] = {"maskedPaths": [], "cgroupsPath": "/x", **spec["linux"]}
    spec["process"]["args"] = ["ls"]
    found = ordered(spec)
    assert list(found["process"])[:3] == ["user", "args", "cwd"]
    assert list(found["linux"])[:2] == ["resources", "cgroupsPath"]


@pytest.mark.parametrize(("text", "found"), [
    ("daemon", {"uid": 1, "gid": 2}), ("1", {"uid": 1, "gid": 2}), ("7", {"uid": 7, "gid": 0}), ("1:50", {"uid": 1, "gid": 50}),
    ("daemon:staff", {"uid": 1, "gid": 50})])
def test_users(text, found):
    assert user.resolved(text, PASSWD, GROUP) == found


def test_users_that_are_not_there():
    for text in ("nope", "daemon:nope"):
        with pytest.raises(NotFound):
            user.resolved(text, PASSWD, GROUP)
    assert user.of_image("daemon", PASSWD, GROUP)["additionalGids"] == [2, 50]
    assert user.of_image("", PASSWD, GROUP) == {"uid": 0, "gid": 0, "additionalGids": [0, 50]}


def test_names_in_archives():
    assert names.as_annotations("docker.io/library/busybox:latest")["org.opencontainers.image.ref.name"] == "latest"
    assert names.of_annotations({names.REFERENCE_NAME: "v1"}, "foo/bar", only_base=True) == "foo/bar:v1"
    assert names.of_annotations({names.REFERENCE_NAME: "other/x:v1"}, "foo/bar", only_base=True) == ""
    assert names.of_annotations({names.REFERENCE_NAME: "foo/bar:v1"}, "foo/bar", only_base=True) == "foo/bar:v1"
    assert names.of_annotations({}, "foo/bar", only_base=False) == ""


def test_remotes():
    assert Remote.parse("localhost:5000/a/b:v1") == Remote(host="localhost:5000", path="a/b", object="v1")
    assert Remote.parse(f"r/a:v1@sha256:{'0' * 64}").object == f"sha256:{'0' * 64}"
    with pytest.raises(WherryError, match='failed to resolve reference "nope": object required'):
        Remote.parse("nope")


def test_id_maps():
    assert parse_id_map("0:100000:65536") == {"containerID": 0, "hostID": 100000, "size": 65536}
    for text in ("0:1", "0:x:1", "0:1:4294967296"):
        with pytest.raises(WherryError):
            parse_id_map(text)


@pytest.mark.parametrize(("code", "details", "kind", "text"), [
    ("NOT_FOUND", 'image "x": not found', NotFound, 'image "x": not found'),
    ("NOT_FOUND", "not found", NotFound, "not found"),
    ("ALREADY_EXISTS", 'image "x"', AlreadyExists, 'image "x": already exists'),
    ("INTERNAL", "boom", WherryError, "boom: unknown"),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", WherryError, "context deadline exceeded"),
])
def test_errors_in_containerds_words(code, details, kind, text):
    found = from_status(code, details)
    assert isinstance(found, kind)
    assert found.message == text
