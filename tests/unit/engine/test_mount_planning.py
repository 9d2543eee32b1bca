"""Binds, volumes and `--mount`: what is planned by destination, and what is refused in Docker's words."""

from __future__ import annotations

import pytest

from wherry.engine.model import BindOptions, ContainerConfig, Empty, HostConfig, Mount, VolumeOptions
from wherry.engine.mounts import from_mount, is_anonymous, parse_bind, parse_volumes_from, plan
from wherry.errors import InvalidArgument, NotFound, Unsupported


def nobody(reference: str):
    raise NotFound(f"No such container: {reference}")


def planned(config: ContainerConfig | None = None, **host: object):
    names = iter(("anon0", "anon1"))
    return plan(config or ContainerConfig(), HostConfig(**host), nobody, lambda: next(names))


@pytest.mark.parametrize(("text", "expected"), [
    ("/a:/b", ("bind", "/a", "/b", True, "rprivate")),
    ("/a/../c:/b/:ro", ("bind", "/c", "/b", False, "rprivate")),
    ("/a:/b:rshared,z", ("bind", "/a", "/b", True, "rshared")),
    ("vol:/b:nocopy,ro", ("volume", "", "/b", False, "")),
    ("/b", ("volume", "", "/b", True, "")),
])
def test_binds(text, expected) -> None:
    mount = parse_bind(text)
    assert (mount.type, mount.source, mount.destination, mount.rw, mount.propagation) == expected


@pytest.mark.parametrize(("text", "words"), [
    ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
    ("/a:/b:foo", "invalid mode: foo"),
    ("/a:/b:ro,rw", "invalid mode: ro,rw"),
    ("/a:/b:nocopy", "field VolumeOptions must not be specified"),
    ("vol:/b:rshared", "field BindOptions must not be specified"),
    ("vol:b", "invalid mount path: 'b' mount path must be absolute"),
    ("/x:/", "invalid specification: destination can't be '/'"),
    ("/x:/a/..", "invalid specification: destination can't be '/'"),
    ("v:/b", "create v: volume name is too short, names should be at least two alphanumeric characters"),
    ("./x:/b", '"./x" includes invalid characters for a local volume name'),
])
def test_binds_that_make_no_sense(text, words) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_bind(text)
    assert words in caught.value.message


@pytest.mark.parametrize(("mount", "words"), [
    (Mount(type="bind", source="/a"), "field Target must not be empty"),
    (Mount(type="bind", target="/a"), "field Source must not be empty"),
    (Mount(type="bind", source="a", target="/a"), "invalid mount path: 'a' mount path must be absolute"),
    (Mount(type="bind", source="/a", target="/a", volume_options=VolumeOptions()), "field VolumeOptions must not be specified"),
    (Mount(type="bind", source="/a", target="/a", bind_options=BindOptions(propagation="x")), "invalid propagation mode: x"),
    (Mount(type="tmpfs", source="/a", target="/a"), "field Source must not be specified"),
    (Mount(type="what", target="/a"), "mount type unknown"),
])
def test_mounts_that_make_no_sense(mount, words) -> None:
    with pytest.raises(InvalidArgument) as caught:
        from_mount(mount)
    assert caught.value.message == f'invalid mount config for type "{mount.type}": {words}'


@pytest.mark.parametrize("kind", ["image", "cluster"])
def test_kinds_that_are_not_done_are_refused_by_name(kind) -> None:
    with pytest.raises(Unsupported, match=kind):
        from_mount(Mount(type=kind, source="x", target="/a"))


def test_a_plan_by_destination_with_anonymous_volumes_for_the_image() -> None:
    points = planned(ContainerConfig(volumes={"/img": Empty(), "/b": Empty()}), binds=("/a:/b", "/only"))
    assert {destination: (one.type, one.name) for destination, one in points.items()} == {
        "/b": ("bind", ""), "/only": ("volume", "anon0"), "/img": ("volume", "anon1")}
    assert is_anonymous(points["/img"])
    assert is_anonymous(points["/only"])
    assert not is_anonymous(parse_bind("v1:/x"))


def test_two_on_one_destination_are_refused() -> None:
    for host in ({"binds": ("/a:/x", "/b:/x/")}, {"binds": ("/a:/x",), "tmpfs": {"/x": ""}},
                 {"binds": ("/a:/x",), "mounts": (Mount(type="tmpfs", target="/x"),)}):
        with pytest.raises(InvalidArgument, match="Duplicate mount point: /x"):
            planned(**host)


def test_volumes_of_another_container_are_taken_over_read_only_where_asked() -> None:
    theirs = {"/data": parse_bind("vol:/data"), "/etc/x": parse_bind("/h:/etc/x:ro")}
    points = plan(ContainerConfig(), HostConfig(volumes_from=("other:ro",), binds=("/mine:/data",)), lambda _: theirs)
    assert (points["/data"].source, points["/data"].rw) == ("/mine", True)
    assert points["/etc/x"].rw is False
    assert parse_volumes_from("a") == ("a", "")
    for wrong in ("", ":ro", "a:rx"):
        with pytest.raises(InvalidArgument):
            parse_volumes_from(wrong)
