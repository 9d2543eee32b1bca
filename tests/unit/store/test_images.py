"""Images, their names, and what pulls remember: kept on disk as Docker keeps them."""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import pytest

from wherry.errors import Conflict, DataLoss, InvalidArgument, NotFound
from wherry.linux.file import read
from wherry.oci.digest import digest_of
from wherry.oci.reference import parse_name, parse_reference
from wherry.store.distribution import MAX_SOURCES, BlobSource, Distribution
from wherry.store.images import ImageStore
from wherry.store.layers import LayerStore
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, write_header
from wherry.store.timestamps import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def root(tmp_path: Path) -> Iterator[DataRoot]:
    with DataRoot.open(str(tmp_path / "root")) as opened:
        yield opened


def config(*diff_ids: str, created: str = "2024-01-01T00:00:00Z", **more: object) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "created": created,
                       "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}).encode()


def layer(layers: LayerStore, name: str, parent: str = "") -> tuple[str, str]:
    """(diff id, chain id) of a new layer with one empty file, kept."""
    with layers.lease() as lease:
        data = write_header(Entry(name=name, uid=os.getuid(), gid=os.getgid())) + bytes(1024)
        made = lease.register(io.BytesIO(data), parent)
        lease.keep()
    return made.diff_id, made.chain_id


def test_an_image_and_its_layers_live_and_go_together(root: DataRoot) -> None:
    layers = LayerStore(root)
    images = ImageStore(root, layers)
    first, chain = layer(layers, "a")
    second, top = layer(layers, "b", chain)
    raw = config(first, second)
    image_id = images.create(raw)
    assert image_id == digest_of(raw) == images.create(raw)
    assert read(f"{root.imagedb}/content/sha256/{image_id[7:]}") == raw
    base = images.create(config(first))
    with pytest.raises(NotFound, match=r"^layer does not exist$"):
        images.create(config(second))
    assert [one.chain_id for one in images.remove(image_id)] == [top]
    assert [one.chain_id for one in images.remove(base)] == [chain]
    with pytest.raises(NotFound, match=f"^No such image: {base}$"):
        images.get(base)
    assert os.listdir(f"{root.imagedb}/content/sha256") == []
    assert os.listdir(f"{root.overlay.links}") == []


def test_parents_children_and_times_survive_a_restart(root: DataRoot) -> None:
    layers = LayerStore(root)
    images = ImageStore(root, layers)
    parent = images.create(config(author="x"))
    child = images.create(config(author="y"), parent=parent)
    images.set_last_tagged(child, 1_700_000_000_123_456_789)
    folder = f"{root.imagedb}/metadata/sha256/{child[7:]}"
    assert read(f"{folder}/parent").decode() == parent
    assert read(f"{folder}/lastUpdated") == b"2023-11-14T22:13:20.123456789Z"
    with open(f"{folder}/lastUpdated.77.tmp", "wb") as file:  # a killed daemon's draft
        file.write(b"2023")
    again = ImageStore(root, LayerStore(root))
    assert sorted(os.listdir(folder)) == ["lastUpdated", "parent"]
    assert again.get(child) == images.get(child)
    assert again.get(child).last_tagged_ns == 1_700_000_000_123_456_789
    assert again.children(parent) == (child,)
    again.remove(parent)
    assert again.get(child).parent == ""
    assert ImageStore(root, LayerStore(root)).get(child).parent == ""
    with pytest.raises(NotFound):
        again.create(config(author="z"), parent=parent)


def test_short_ids(root: DataRoot) -> None:
    images = ImageStore(root, LayerStore(root))
    ids = [images.create(config(author=str(number))) for number in range(40)]
    hexes = [one[7:] for one in ids]
    assert images.search(hexes[0]) == images.search(ids[0]) == images.search(ids[0][:25]) == ids[0]
    first = next(one[0] for one in hexes if sum(other[0] == one[0] for other in hexes) > 1)
    with pytest.raises(Conflict, match=f"^multiple IDs found with provided prefix: {first}$"):
        images.search(first)
    for nothing in ("", "sha256:", "xyz", "0" * 64):
        with pytest.raises(NotFound, match="No such image"):
            images.search(nothing)


def test_images_are_listed_newest_first(root: DataRoot) -> None:
    images = ImageStore(root, LayerStore(root))
    for created in ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5Z", "2024-01-01T03:00:00+04:00", "", "nonsense"):
        images.create(config(created=created))
    listed = [image.config.created for image in images.list()]
    assert listed[:3] == ["2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00Z", "2024-01-01T03:00:00+04:00"]


def test_damaged_images_are_named_and_left_alone(root: DataRoot) -> None:
    images = ImageStore(root, LayerStore(root))
    good, bad, lost = images.create(config()), images.create(config(author="b")), digest_of(config(A))
    folder = f"{root.imagedb}/content/sha256"
    with open(f"{folder}/{bad[7:]}", "ab") as file:
        file.write(b" ")
    with open(f"{folder}/{lost[7:]}", "wb") as file:
        file.write(config(A))
    with open(f"{folder}/{'1' * 64}.77.tmp", "wb") as file:
        file.write(b"draft")
    again = ImageStore(root, LayerStore(root))
    assert [image.id for image in again.list()] == [good]
    assert again.damaged == tuple(sorted((f"{folder}/{bad[7:]}", f"{folder}/{lost[7:]}")))
    for raw in (b"", b"{}", b"[]"):
        with pytest.raises(InvalidArgument):
            again.create(raw)


def test_references_are_written_as_docker_writes_them(root: DataRoot) -> None:
    references = ReferenceStore(root)
    assert references.tag(parse_name("busybox"), A) == ""
    assert references.tag(parse_name("localhost:5000/a/b:1"), B) == ""
    assert references.tag(parse_name(f"busybox@{B}"), A) == ""
    assert references.tag(parse_reference("busybox:latest"), B) == A
    assert references.tag(parse_reference("busybox:latest"), B) == B
    assert json.loads(read(root.repositories)) == {"Repositories": {
        "busybox": {"busybox:latest": B, f"busybox@{B}": A}, "localhost:5000/a/b": {"localhost:5000/a/b:1": B}}}
    assert os.stat(root.repositories).st_mode & 0o777 == 0o600
    again = ReferenceStore(root)
    assert again.list() == references.list()
    assert [one.familiar() for one in again.of_image(B)] == ["busybox:latest", "localhost:5000/a/b:1"]
    assert [one.familiar() for one in again.of_image(A)] == [f"busybox@{B}"]
    assert [one.image_id for one in again.of_name("docker.io/library/busybox")] == [B, A]
    assert again.lookup(parse_reference(f"busybox:other@{B}")) == A
    assert again.untag(parse_reference("busybox")) == B
    with pytest.raises(NotFound, match=r"^reference does not exist$"):
        again.untag(parse_reference("busybox"))
    again.untag(parse_name(f"busybox@{B}"))
    assert list(json.loads(read(root.repositories))["Repositories"]) == ["localhost:5000/a/b"]


def test_references_that_may_not_be(root: DataRoot) -> None:
    references = ReferenceStore(root)
    references.tag(parse_name("a:1"), A)
    references.tag(parse_name(f"a@{A}"), A)
    with pytest.raises(Conflict, match=f"^Conflict: Tag a:1 is already set to image {'a' * 64}, if you want"):
        references.tag(parse_name("a:1"), B, force=False)
    with pytest.raises(InvalidArgument, match=f"^Cannot overwrite digest {A}$"):
        references.tag(parse_name(f"a@{A}"), B)
    with pytest.raises(InvalidArgument, match="refusing to create an ambiguous tag"):
        references.tag(parse_name("sha256:abc"), A)
    assert references.lookup(parse_name("a:1")) == A


def test_a_damaged_file_of_references_is_not_taken_for_an_empty_one(root: DataRoot) -> None:
    for content in (b"{", b"[]", b'{"Repositories": {"a": 1}}'):
        with open(root.repositories, "wb") as file:
            file.write(content)
        with pytest.raises(DataLoss, match="is damaged"):
            ReferenceStore(root)


def test_blobs_are_remembered_and_forgotten(root: DataRoot) -> None:
    memory = Distribution(root)
    assert memory.diff_id(A) == ""
    assert memory.sources(B) == ()
    memory.add(B, BlobSource(digest=A, repository="docker.io/library/a"))
    memory.add(B, BlobSource(digest=A, repository="localhost/b", hmac="ff"))
    memory.add(B, BlobSource(digest=A, repository="docker.io/library/a"))
    assert memory.diff_id(A) == B
    assert [one.repository for one in memory.sources(B)] == ["localhost/b", "docker.io/library/a"]
    written = json.loads(read(f"{root.distribution}/v2metadata-by-diffid/sha256/{'b' * 64}"))
    assert written[0] == {"Digest": A, "SourceRepository": "localhost/b", "HMAC": "ff"}
    memory.forget(A)
    assert (memory.diff_id(A), memory.sources(B)) == ("", ())
    for number in range(MAX_SOURCES + 5):
        memory.add(B, BlobSource(digest="sha256:" + f"{number:064x}", repository="r"))
    assert len(memory.sources(B)) == MAX_SOURCES


@pytest.mark.parametrize(("text", "at_ns"), [
    ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.000000001Z", 1), ("2026-11-25T01:10:05.48Z", 1795569005_480_000_000),
    ("1969-12-31T23:59:59.5Z", -500_000_000), ("0001-01-01T00:00:00Z", -62135596800_000_000_000)])
def test_points_in_time(text: str, at_ns: int) -> None:
    assert parse_time(text) == at_ns
    assert format_time(at_ns) == text


def test_points_in_time_elsewhere_and_nowhere() -> None:
    assert parse_time("1970-01-01T01:00:00.25+01:00") == 250_000_000
    for text in ("", "yesterday", "2024-01-01", "2024-01-01T00:00:00", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00.Z"):
        with pytest.raises(InvalidArgument, match="parsing time"):
            parse_time(text)
