"""Layers: registered, made again byte for byte, shared, leased, released. Whiteouts need root: tests/system."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from wherry.errors import DataLoss, InvalidArgument, NotFound, Unavailable, Unsupported
from wherry.linux.file import read
from wherry.oci.digest import chain_id
from wherry.store import tarheader
from wherry.store.layers import LayerStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = {"uid": os.getuid(), "gid": os.getgid()}


def tar(*members: tuple[str, bytes], tail: bytes = bytes(1024)) -> bytes:
    out = b""
    for name, data in members:
        kind = tarheader.FOLDER if name.endswith("/") else tarheader.REGULAR
        out += write_header(Entry(name=name, kind=kind, size=len(data), mode=0o755, **ID)) + data
        out += bytes(tarheader.padding(len(data)))
    return out + tail


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


ONE = tar(("a/", b""), ("a/f", b"x" * 1000), ("empty", b""))
TWO = tar(("b", b"second"))


@pytest.fixture
def root(tmp_path: Path) -> Iterator[DataRoot]:
    with DataRoot.open(str(tmp_path / "root")) as opened:
        yield opened


@pytest.fixture
def layers(root: DataRoot) -> LayerStore:
    return LayerStore(root)


def remains(root: DataRoot) -> list[str]:
    """What is in the store beside its empty folders."""
    found = []
    for folder in (root.overlay.path, root.overlay.links, root.half_made, f"{root.layerdb}/sha256", root.temporary):
        found += [f"{folder}/{name}" for name in os.listdir(folder) if name != "l"]
    return found


def test_a_layer_is_on_disk_as_docker_has_it(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        one = lease.register(io.BytesIO(ONE))
        two = lease.register(io.BytesIO(gzip.compress(TWO)), one.chain_id, expected_diff_id=diff_id(TWO))
        assert two.chain_id == chain_id([diff_id(ONE), diff_id(TWO)])
        assert (one.size_bytes, two.size_bytes, layers.size(two.chain_id)) == (1000, 6, 1006)
        assert layers.chain(two.chain_id) == (one, two)
        folder = f"{root.layerdb}/sha256/{two.chain_id[7:]}"
        content = {name: read(f"{folder}/{name}") for name in os.listdir(folder)}
        assert sorted(content) == ["cache-id", "diff", "parent", "size", "tar-split.json.gz"]
        assert content["diff"].decode() == diff_id(TWO)
        assert content["parent"].decode() == one.chain_id
        assert content["size"] == b"6"
        assert content["cache-id"].decode() == two.cache_id
        lower = f"{root.overlay.path}/{one.cache_id}"
        upper = f"{root.overlay.path}/{two.cache_id}"
        assert sorted(os.listdir(lower)) == ["committed", "diff", "link"]
        assert sorted(os.listdir(upper)) == ["diff", "link", "lower", "work"]
        link = read(f"{lower}/link").decode()
        assert read(f"{upper}/lower").decode() == f"l/{link}"
        assert os.readlink(f"{root.overlay.links}/{link}") == f"../{one.cache_id}/diff"
        assert read(f"{upper}/diff/b") == b"second"
    assert remains(root) == []


SPLITS = {
    "plain": ONE,
    "no end": ONE[:-1024],
    "long end": ONE + bytes(9216),
    "something after the end": ONE + b"rubbish" * 1000,
    "empty": b"",
    "only the end": bytes(1024),
    "names twice": tar(("f", b"1" * 10), ("f", b"2" * 20), ("f", b"3" * 2_000_000), ("g", b""), ("g", b"x"), ("./g", b"yy")),
    "folder, file, folder": tar(("d/x/", b""), ("d/x/f", b"1"), ("d/g", b"2"), ("d", b"file"), ("d/", b""), ("d/g", b"3")),
    "through a link": (write_header(Entry(name="l", kind=tarheader.SYMLINK, link="real", **ID))
                       + tar(("real/", b""), ("l/f", b"data"), ("real/f", b"other"))),
    "not UTF-8": tar((os.fsdecode(b"\xff\xfe"), b"1"), ("ü/é", b"2"), ('q"\\\n', b"3")),
    "dots": tar(("./", b""), ("./x", b"1"), ("./y/../z", b"2"), ("/abs", b"3")),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_the_tar_is_made_again_byte_for_byte(root: DataRoot, layers: LayerStore, kind: str) -> None:
    data = SPLITS[kind]
    with layers.lease() as lease:
        layer = lease.register(io.BytesIO(data))
        assert layer.diff_id == diff_id(data)
        assert layers.open_tar(layer.chain_id).read() == data
        assert layers.tar_size(layer.chain_id) == len(data)
        assert layers.open_tar(layer.chain_id).read(3) == data[:3]
        split = gzip.decompress(read(f"{root.layerdb}/sha256/{layer.chain_id[7:]}/tar-split.json.gz"))
        records = [json.loads(line) for line in split.splitlines()]
        assert [record["position"] for record in records] == list(range(len(records)))
        names = [os.path.normpath(record.get("name", record.get("name_raw"))) for record in records if record["type"] == 1]
        assert len(names) == len(set(names)), "readers refuse names that occur twice"
        assert sorted(os.listdir(f"{root.overlay.path}/{layer.cache_id}")) == ["diff", "link"]


def test_a_changed_file_is_noticed(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        layer = lease.register(io.BytesIO(ONE))
        path = f"{root.overlay.path}/{layer.cache_id}/diff/a/f"
        with open(path, "r+b") as file:
            file.write(b"y")
        with pytest.raises(DataLoss, match='file integrity checksum failed for "a/f"'):
            layers.open_tar(layer.chain_id).read()
        os.unlink(path)
        with pytest.raises(DataLoss, match='cannot read "a/f" of the layer: No such file'):
            layers.open_tar(layer.chain_id).read()
        os.symlink("/etc/hostname", path)
        with pytest.raises(DataLoss, match="a/f"):
            layers.open_tar(layer.chain_id).read()


@pytest.mark.parametrize(("data", "error", "message"), [
    (b"no tar at all" * 100, InvalidArgument, "invalid tar header"),
    (tar(("../x", b"1")), InvalidArgument, "outside of"),
    (ONE[:700], DataLoss, "unexpected EOF"),
    (gzip.compress(ONE)[:-20], DataLoss, "invalid gzip data"),
    (b"\x1f\x8b\x08 but then not", DataLoss, "invalid gzip data"),
])
def test_what_is_wrong_leaves_nothing(
    root: DataRoot, layers: LayerStore, data: bytes, error: type[Exception], message: str) -> None:
    with layers.lease() as lease, pytest.raises(error, match=message):
        lease.register(io.BytesIO(data))
    assert remains(root) == []


def test_a_wrong_diff_id_or_parent_leaves_nothing(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        with pytest.raises(DataLoss, match="layer verification failed"):
            lease.register(io.BytesIO(ONE), expected_diff_id=diff_id(TWO))
        with pytest.raises(NotFound, match="layer does not exist"):
            lease.register(io.BytesIO(ONE), diff_id(TWO))
    assert remains(root) == []


def test_layers_stay_while_somebody_needs_them(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        one = lease.register(io.BytesIO(ONE))
        two = lease.register(io.BytesIO(TWO), one.chain_id)
        other = lease.register(io.BytesIO(tar(("c", b"3"))), one.chain_id)
        layers.retain(two.chain_id)  # an image
        layers.retain(other.chain_id)
    assert len(layers.list()) == 3
    with layers.lease() as lease:
        lease.hold(other.chain_id)
        assert layers.release(other.chain_id) == ()
    assert {layer.chain_id for layer in layers.list()} == {one.chain_id, two.chain_id}
    assert layers.release(two.chain_id) == (two, one)
    assert remains(root) == []


def test_the_same_layer_twice_is_one(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        assert lease.register(io.BytesIO(ONE)) == lease.register(io.BytesIO(gzip.compress(ONE)))
        assert len(os.listdir(root.overlay.links)) == 1
        twice = lease.commit((lease.stage(io.BytesIO(ONE)), lease.stage(io.BytesIO(ONE)), lease.stage(io.BytesIO(TWO))))
        assert [layer.diff_id for layer in twice] == [diff_id(ONE), diff_id(ONE), diff_id(TWO)]
        assert len(layers.list()) == 3
    assert remains(root) == []


def test_kept_layers_wait_for_the_next_attempt(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        one = lease.register(io.BytesIO(ONE))
        lease.keep()
        assert layers.collect_unclaimed() == ()
    assert layers.get(one.chain_id) == one
    assert layers.collect_unclaimed() == (one,)
    assert remains(root) == []
    with layers.lease() as lease:
        one = lease.register(io.BytesIO(ONE))
        lease.keep()
    with layers.lease() as lease:
        layers.retain(lease.hold(one.chain_id).chain_id)  # an image came of it
    assert layers.collect_unclaimed() == ()
    assert layers.get(one.chain_id) == one


def test_what_was_staged_and_not_committed_goes(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        lease.stage(io.BytesIO(ONE))
        assert len(remains(root)) == 3
    assert remains(root) == []


def test_many_threads_register_the_same_chain(root: DataRoot, layers: LayerStore) -> None:
    chains = []
    barrier = threading.Barrier(4)

    def work() -> None:
        with layers.lease() as lease:
            barrier.wait()
            one = lease.register(io.BytesIO(ONE))
            two = lease.register(io.BytesIO(TWO), one.chain_id)
            chains.append(layers.chain(two.chain_id))
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(chains)) == 1
    assert remains(root) == []


def test_a_chain_ends_at_docker_s_depth(layers: LayerStore) -> None:
    with layers.lease() as lease:
        staged = [lease.stage(io.BytesIO(tar((f"f{number}", b"")))) for number in range(126)]
        parent = lease.commit(staged[:125])[-1].chain_id
        with pytest.raises(Unsupported, match="max depth exceeded"):
            lease.commit(staged[125:], parent)


def test_a_root_is_used_by_one_at_a_time(root: DataRoot) -> None:
    with pytest.raises(Unavailable, match="in use by another daemon"):
        DataRoot.open(root.path)
    root.close()
    DataRoot.open(root.path).close()


def test_a_root_of_another_driver_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image/btrfs").mkdir(parents=True)
    with pytest.raises(Unsupported, match="storage driver btrfs"):
        DataRoot.open(str(tmp_path))


def test_a_root_that_dockerd_holds_is_refused(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "volumes").mkdir()
    with open(tmp_path / "volumes/metadata.db", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="in use by dockerd"):
            DataRoot.open(str(tmp_path))


def test_damaged_layers_are_named_and_left_alone(root: DataRoot, layers: LayerStore) -> None:
    with layers.lease() as lease:
        lease.register(io.BytesIO(ONE))
        lease.keep()
    folder = f"{root.layerdb}/sha256/{diff_id(ONE)[7:]}"
    os.unlink(f"{folder}/diff")
    again = LayerStore(root)
    assert again.damaged == (folder,)
    assert again.list() == ()
    assert os.path.exists(folder)
