"""Images by Docker's rules, on stores in memory: found, listed, removed, pruned."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine.events import Events
from wherry.engine.filters import Filters
from wherry.engine.image_removal import ImageRemoval, Removed
from wherry.engine.images import Images
from wherry.engine.match import path_match
from wherry.engine.moments import parse_moment
from wherry.errors import Conflict, InvalidArgument, NotFound
from wherry.oci.digest import sha256_hex
from wherry.oci.image import ImageConfig
from wherry.oci.reference import Reference, parse_name, parse_reference
from wherry.store.images import Image
from wherry.store.layers import Layer

if TYPE_CHECKING:
    from collections.abc import Callable


class Pool:
    """Runs at once."""

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    run_long = run


class Store:
    """Images, references and layers of nothing but names."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.names: dict[Reference, str] = {}

    def add(self, label: str, *names: str, layers: int = 1, parent: str = "", created: str = "2024-01-01T00:00:00Z",
            labels: dict[str, str] | None = None) -> str:
        family = label.partition("-")[0]
        diff_ids = tuple("sha256:" + sha256_hex(f"{family}{number}".encode()) for number in range(layers))
        raw = json.dumps({"architecture": "amd64", "os": "linux", "created": created, "config": {"Labels": labels or {"name": label}},
                          "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
                          "history": [{"created": created, "created_by": f"step {number}"} for number in range(layers)]}).encode()
        image_id = f"sha256:{sha256_hex(raw)}"
        self.images[image_id] = Image(id=image_id, config=ImageConfig.from_json(raw), raw=raw, parent=parent)
        for name in names:
            self.names[parse_reference(name)] = image_id
        return image_id

    # ImageStore
    def get(self, image_id: str) -> Image:
        if image_id not in self.images:
            raise NotFound(f"No such image: {image_id}")
        return self.images[image_id]

    def list(self) -> tuple[Image, ...]:
        return tuple(sorted(self.images.values(), key=lambda one: one.config.created, reverse=True))

    def search(self, prefix: str) -> str:
        found = [one for one in self.images if one.removeprefix("sha256:").startswith(prefix.removeprefix("sha256:"))]
        if len(found) != 1:
            raise NotFound("none")
        return found[0]

    def children(self, image_id: str) -> tuple[str, ...]:
        return tuple(one.id for one in self.images.values() if one.parent == image_id)

    def remove(self, image_id: str) -> tuple[Layer, ...]:
        image = self.images.pop(image_id)
        kept = {one for other in self.images.values() for one in other.config.diff_ids}
        return tuple(self.layer(one) for one in reversed(image.config.diff_ids) if one not in kept)

    def size(self, image_id: str) -> int:
        return 100 * len(self.images[image_id].config.diff_ids)

    def set_last_tagged(self, image_id: str, at_ns: int) -> None:
        assert at_ns > 0

    # ReferenceStore
    def lookup(self, reference: Reference) -> str:
        if reference not in self.names:
            raise NotFound("reference does not exist")
        return self.names[reference]

    def of_image(self, image_id: str) -> tuple[Reference, ...]:
        return tuple(sorted((one for one, other in self.names.items() if other == image_id),
                            key=lambda one: (bool(one.digest), one.familiar())))

    def untag(self, reference: Reference) -> str:
        return self.names.pop(reference)

    def tag(self, reference: Reference, image_id: str) -> str:
        before, self.names[reference] = self.names.get(reference, ""), image_id
        return before

    # LayerStore
    def layer(self, diff_id: str) -> Layer:
        return Layer(chain_id=diff_id, diff_id=diff_id, parent="", size_bytes=100, cache_id="c" + diff_id[7:19])

    def collect_unclaimed(self) -> tuple[Layer, ...]:
        return ()

    def all_layers(self) -> tuple[Layer, ...]:
        return tuple({one: self.layer(one) for image in self.images.values() for one in image.config.diff_ids}.values())


class House:
    """The two rooms on one store, and containers that are only said to be there."""

    def __init__(self) -> None:
        self.store = store = Store()
        self.containers: list[tuple[str, str, bool]] = []
        self.events = Events()
        layers = SimpleNamespace(list=store.all_layers, chain=self.chain, collect_unclaimed=store.collect_unclaimed)
        containers = SimpleNamespace(using_image=self.using)
        rooms: dict[str, Any] = {"pool": Pool(), "events": self.events, "containers": containers, "images": store,
                                 "references": store, "layers": layers}
        self.images = Images(**rooms)
        self.removal = ImageRemoval(rooms=self.images, **rooms)

    def chain(self, chain_id: str) -> tuple[Layer, ...]:
        image = next(one for one in self.store.images.values() if one.config.chain_id == chain_id)
        return tuple(self.store.layer(one) for one in image.config.diff_ids)

    def using(self, image_id: str) -> list[Any]:
        return [SimpleNamespace(short_id=name, state=SimpleNamespace(running=running))
                for name, image, running in self.containers if image == image_id]

    def remove(self, name: str, **options: bool) -> list[Removed]:
        return asyncio.run(self.removal.remove(name, **options))

    def rows(self, text: str = "", **options: bool) -> list[str]:
        return [row.id for row in asyncio.run(self.images.rows(Filters.parse(text), **options))]


@pytest.fixture
def house() -> House:
    return House()


DIGEST = "sha256:" + "d" * 64


def test_an_image_is_found_by_all_its_names(house: House) -> None:
    image = house.store.add("a", "busybox", "localhost:5000/x/y:1", f"busybox@{DIGEST}")
    for name in ("busybox", "busybox:latest", "docker.io/library/busybox", "localhost:5000/x/y:1", image, image[7:], image[7:19],
                 image[:20], f"busybox@{DIGEST}"):
        assert house.images.find(name).id == image
    for name, shown in (("nope", "nope:latest"), ("busybox:1", "busybox:1"), ("f" * 64, f"sha256:{'f' * 64}")):
        with pytest.raises(NotFound, match=f"^No such image: {shown}$"):
            house.images.find(name)
    with pytest.raises(InvalidArgument, match="invalid reference format"):
        house.images.find("Upper")


def test_a_name_goes_before_the_image(house: House) -> None:
    image = house.store.add("a", "one", "two:x", layers=2)
    assert house.remove("two:x") == [Removed(untagged="two:x")]
    layers = [Removed(deleted=one) for one in reversed(house.store.images[image].config.diff_ids)]
    assert house.remove("one") == [Removed(untagged="one:latest"), Removed(deleted=image), *layers]
    assert [one.action for one in house.events.past()] == ["untag", "untag", "delete"]


def test_an_id_removes_all_names_of_one_repository(house: House) -> None:
    image = house.store.add("a", "one", f"one@{DIGEST}")
    removed = house.remove(image[7:19])
    assert removed[:3] == [Removed(untagged="one:latest"), Removed(untagged=f"one@{DIGEST}"), Removed(deleted=image)]


def test_the_last_tag_takes_its_digests_along(house: House) -> None:
    image = house.store.add("a", "one", f"one@{DIGEST}", "two")
    assert house.remove("one") == [Removed(untagged="one:latest"), Removed(untagged=f"one@{DIGEST}")]
    assert house.store.of_image(image) == (parse_reference("two"),)


def test_an_id_with_names_in_several_repositories_needs_force(house: House) -> None:
    image = house.store.add("a", "one", "two")
    with pytest.raises(Conflict) as raised:
        house.remove(image)
    assert raised.value.message == (f"conflict: unable to delete {image[7:19]} (must be forced) - image is referenced in multiple "
                                    "repositories")
    assert Removed(deleted=image) in house.remove(image, force=True)


@pytest.mark.parametrize(("running", "by_id", "force", "message"), [
    (False, False, False, 'unable to remove repository reference "one" (must force) - container abc is using its referenced image'),
    (False, True, False, "(must be forced) - image is being used by stopped container abc"),
    (True, True, False, "(cannot be forced) - image is being used by running container abc"),
    (True, True, True, "(cannot be forced) - image is being used by running container abc"),
])
def test_images_in_use(house: House, running: bool, by_id: bool, force: bool, message: str) -> None:
    image = house.store.add("a", "one")
    house.containers = [("abc", image, running)]
    with pytest.raises(Conflict) as raised:
        house.remove(image if by_id else "one", force=force)
    assert message in raised.value.message
    assert house.store.of_image(image)


def test_force_takes_only_the_name_of_an_image_that_runs(house: House) -> None:
    image = house.store.add("a", "one")
    house.containers = [("abc", image, True)]
    assert house.remove("one", force=True) == [Removed(untagged="one:latest")]
    assert image in house.store.images


def test_parents_that_nobody_needs_go_too(house: House) -> None:
    grandparent = house.store.add("a-1", "kept")
    parent = house.store.add("a-2", parent=grandparent)
    child = house.store.add("a-3", "child", parent=parent, layers=2)
    with pytest.raises(Conflict, match="image has dependent child images"):
        house.remove(parent)
    removed = house.remove("child")
    assert [one.deleted for one in removed if one.deleted in (child, parent, grandparent)] == [child, parent]
    assert grandparent in house.store.images


def test_noprune_leaves_parents(house: House) -> None:
    parent = house.store.add("a-1")
    house.store.add("a-2", "child", parent=parent)
    house.remove("child", prune=False)
    assert parent in house.store.images


def test_lists(house: House) -> None:
    old = house.store.add("old", "busybox", "other/name:1", created="2020-01-01T00:00:00Z")
    parent = house.store.add("p", created="2021-01-01T00:00:00Z")
    child = house.store.add("c", "child", parent=parent, created="2022-01-01T00:00:00Z", labels={"x": "y"})
    loose = house.store.add("l", created="2023-01-01T00:00:00Z")
    assert house.rows() == [loose, child, old]
    assert house.rows(show_all=True) == [loose, child, parent, old]
    for text, expected in (
        ('{"dangling":["true"]}', [loose]), ('{"dangling":["false"]}', [child, old]), ('{"label":["x=y"]}', [child]),
        ('{"label":["x=z"]}', []), ('{"reference":["busy*"]}', [old]), ('{"reference":["other/*"]}', [old]), ('{"reference":["o*"]}', []),
        ('{"since":["busybox"]}', [loose, child]), ('{"before":["child"]}', [old]), ('{"until":["2021-06-01T00:00:00Z"]}', [old]),
    ):
        assert house.rows(text) == expected, text
    row = next(one for one in asyncio.run(house.images.rows(Filters.parse('{"reference":["busy*"]}'))))
    assert row.tags == ("busybox:latest",)
    with pytest.raises(InvalidArgument, match="invalid filter 'x'"):
        house.rows('{"x":["y"]}')
    with pytest.raises(NotFound):
        house.rows('{"since":["nope"]}')


def test_prune_takes_what_has_no_tag_or_all_that_nobody_uses(house: House) -> None:
    used = house.store.add("u", "used")
    house.containers = [("abc", used, False)]
    digested = house.store.add("d", f"gone@{DIGEST}")
    loose = house.store.add("l")
    tagged = house.store.add("t", "tagged", labels={"keep": "me"})
    removed, won = asyncio.run(house.removal.prune(Filters.parse("")))
    assert {one.deleted for one in removed} >= {digested, loose}
    assert won == 200
    assert {used, tagged} == set(house.store.images)
    removed, won = asyncio.run(house.removal.prune(Filters.parse('{"dangling":["false"],"label!":["keep"]}')))
    assert (removed, won) == ([], 0)
    removed, won = asyncio.run(house.removal.prune(Filters.parse('{"dangling":["false"]}')))
    assert Removed(deleted=tagged) in removed
    assert set(house.store.images) == {used}


def test_history_names_the_images_that_are_here(house: House) -> None:
    parent = house.store.add("a-1", "base")
    child = house.store.add("a-2", "child", parent=parent, layers=2)
    rows = house.images.history("child")
    assert [(one.id, one.created_by, one.size, one.tags) for one in rows] == [
        (child, "step 1", 100, ["child:latest"]), (parent, "step 0", 100, ["base:latest"])]


def test_shared_size(house: House) -> None:
    house.store.add("a-1", "one", layers=1)
    house.store.add("a-2", "two", layers=2)
    house.store.add("b", "three")
    rows = asyncio.run(house.images.rows(Filters.parse(""), shared_size=True))
    assert {row.tags[0]: (row.size, row.shared_size) for row in rows} == {
        "one:latest": (100, 100), "two:latest": (200, 100), "three:latest": (100, 0)}


def test_tags(house: House) -> None:
    image = house.store.add("a", "one")
    assert asyncio.run(house.images.tag("one", "host:5000/x", "2")) == parse_name("host:5000/x:2")
    assert house.store.lookup(parse_name("host:5000/x:2")) == image
    with pytest.raises(InvalidArgument, match="refusing to create a tag with a digest reference"):
        asyncio.run(house.images.tag("one", f"x@{DIGEST}", ""))


@pytest.mark.parametrize(("pattern", "text", "expected"), [
    ("*", "a/b", False), ("*/b", "a/b", True), ("a?c", "abc", True), ("a?c", "a/c", False), ("[a-c]x", "bx", True), ("[^a]x", "ax", False),
    ("a\\*b", "a*b", True), ("a\\*b", "axb", False), ("", "", True), ("[]]", "]", None), ("[", "a", None), ("a[b", "ab", None),
    ("[a-]", "a", None), ("\\", "a", None), ("a.b", "axb", False),
])
def test_go_s_patterns(pattern: str, text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(InvalidArgument, match="syntax error in pattern"):
            path_match(pattern, text)
    else:
        assert path_match(pattern, text) is expected


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_pattern_matches_or_is_none(pattern: str, text: str) -> None:
    try:
        found = path_match(pattern, text)
    except InvalidArgument:
        return
    assert isinstance(found, bool)


@pytest.mark.parametrize(("text", "ns"), [
    ("0", 0), ("1136073600.5", 1136073600_500000000), ("2006-01-02T15:04:05Z", 1136214245 * 10**9),
    ("2006-01-02T15:04:05.000000001Z", 1136214245 * 10**9 + 1), ("2006-01-02T15:04:05+02:00", 1136207045 * 10**9),
    ("10m", 1000 * 10**9 - 600 * 10**9), ("1h30m", 1000 * 10**9 - 5400 * 10**9), ("1.5s", 1000 * 10**9 - 1_500_000_000), ("-10s", 1010 * 10**9),
])
def test_moments(text: str, ns: int) -> None:
    assert parse_moment(text, 1000 * 10**9) == ns


@given(st.text(max_size=30))
def test_a_moment_is_read_or_refused(text: str) -> None:
    try:
        found = parse_moment(text)
    except InvalidArgument:
        return
    assert isinstance(found, int)
