"""Save, load and import: what is written, what is read, and what is wrong with bad archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from wherry.errors import DataLoss, InvalidArgument, NotFound, WherryError
from wherry.oci.digest import digest_of
from wherry.oci.image import Index, Manifest, Platform
from wherry.oci.reference import parse_name, parse_reference
from wherry.store.images import ImageStore
from wherry.store.imagetar import ImageArchive
from wherry.store.layers import LayerStore
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, padding, write_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wherry.store.imageload import Progress

AMD64 = Platform(architecture="amd64", os="linux")


class Store:
    """All stores of one root."""

    def __init__(self, root: DataRoot) -> None:
        self.root = root
        self.layers = LayerStore(root)
        self.images = ImageStore(root, self.layers)
        self.references = ReferenceStore(root)
        self.archive = ImageArchive(self.layers, self.images, self.references)

    def load(self, data: bytes) -> tuple[str, ...]:
        return tuple(one.image_id for one in self.archive.load(io.BytesIO(data)))

    def is_empty(self) -> bool:
        root = self.root
        folders = (root.overlay.links, root.half_made, f"{root.layerdb}/sha256", f"{root.imagedb}/content/sha256", root.temporary)
        return not any(os.listdir(folder) for folder in folders) and not self.references.list()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with DataRoot.open(str(tmp_path / "root")) as root:
        yield Store(root)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with DataRoot.open(str(tmp_path / "other")) as root:
        yield Store(root)


def layer(*names: str) -> bytes:
    owner = {"uid": os.getuid(), "gid": os.getgid()}
    return b"".join(write_header(Entry(name=name, size=3, **owner)) + b"abc" + bytes(509) for name in names) + bytes(1024)


def archive(members: dict[str, bytes]) -> bytes:
    out = b"".join(
        write_header(Entry(name=name, size=len(data))) + data + bytes(padding(len(data))) for name, data in members.items())
    return out + bytes(1024)


def config(*layers: bytes, **more: object) -> bytes:
    diff_ids = [digest_of(one) for one in layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}).encode()


ONE, TWO = layer("a", "b"), layer("c")
CONFIG = config(ONE, TWO)


def docker_archive(**changes: bytes) -> dict[str, bytes]:
    """As docker save of 20.10: the table of contents comes last."""
    manifest = [{"Config": "c.json", "RepoTags": ["app:1", "other:latest"], "Layers": ["x/layer.tar", "y/layer.tar"]}]
    return {"x/layer.tar": ONE, "y/layer.tar": TWO, "c.json": CONFIG, "manifest.json": json.dumps(manifest).encode(), **changes}


def blob(data: bytes) -> str:
    return "blobs/sha256/" + hashlib.sha256(data).hexdigest()


def described(data: bytes, kind: str, **more: object) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data), **more}


def oci_layout(pack: Callable[[bytes], bytes] = gzip.compress) -> dict[str, bytes]:
    blobs = [pack(ONE), pack(TWO)]
    manifest = json.dumps({
        "schemaVersion": 2, "config": described(CONFIG, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(one, "application/vnd.oci.image.layer.v1.tar+gzip") for one in blobs]}).encode()
    index = json.dumps({"schemaVersion": 2, "manifests": [
        described(manifest, "application/vnd.oci.image.manifest.v1+json",
                  annotations={"io.containerd.image.name": "docker.io/library/app:1", "org.opencontainers.image.ref.name": "1"}),
        described(manifest, "application/vnd.oci.image.manifest.v1+json",
                  annotations={"org.opencontainers.image.ref.name": "localhost/x:2"})]}).encode()
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, blob(manifest): manifest, blob(CONFIG): CONFIG,
            **{blob(one): one for one in blobs}}


def test_a_docker_archive_is_loaded(store: Store) -> None:
    seen: list[Progress] = []
    [loaded] = store.archive.load(io.BytesIO(archive(docker_archive())), seen.append)
    assert loaded.image_id == digest_of(CONFIG)
    assert [one.familiar() for one in loaded.references] == ["app:1", "other:latest"]
    assert loaded.replaced == ()
    assert store.references.lookup(parse_name("app:1")) == loaded.image_id
    assert {(one.id, one.total_bytes) for one in seen} == {(digest_of(ONE)[7:19], len(ONE)), (digest_of(TWO)[7:19], len(TWO))}
    assert seen[-1].current_bytes == seen[-1].total_bytes
    [again] = store.archive.load(io.BytesIO(archive(docker_archive())))
    assert again == loaded
    for reference in loaded.references:
        store.references.untag(reference)
    store.images.remove(loaded.image_id)
    assert store.is_empty()


def test_a_name_that_moves_is_told(store: Store) -> None:
    [first] = store.load(archive(docker_archive()))
    changed = config(ONE, TWO, author="x")
    [loaded] = store.archive.load(io.BytesIO(archive(docker_archive(**{"c.json": changed}))))
    assert [(one.familiar(), old) for one, old in loaded.replaced] == [("app:1", first), ("other:latest", first)]


def test_layers_may_be_links_and_compressed_and_so_may_the_archive(store: Store) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in docker_archive(**{"x/layer.tar": gzip.compress(ONE)}).items():
            if name == "y/layer.tar":
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, "../real/layer.tar"
                tar.addfile(info)
                name = "real/layer.tar"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert store.load(out.getvalue()) == (digest_of(CONFIG),)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_oci_layout_is_loaded(store: Store, pack: Callable[[bytes], bytes]) -> None:
    [loaded] = store.archive.load(io.BytesIO(archive(oci_layout(pack))))
    assert loaded.image_id == digest_of(CONFIG)
    assert [one.familiar() for one in loaded.references] == ["app:1", "localhost/x:2"]


def test_an_index_of_platforms_gives_this_machine_s_image(store: Store) -> None:
    members = oci_layout()
    top = json.loads(members["index.json"])["manifests"][0]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    nested = json.dumps({"schemaVersion": 2, "manifests": [
        {**described(b"elsewhere", top["mediaType"]), "platform": {"architecture": "s390x", "os": "linux"}},
        {**top, "platform": {"architecture": machine, "os": "linux"}}]}).encode()
    index = {"schemaVersion": 2, "manifests": [described(
        nested, "application/vnd.oci.image.index.v1+json", annotations={"io.containerd.image.name": "app:multi"})]}
    members |= {blob(nested): nested, "index.json": json.dumps(index).encode()}
    [loaded] = store.archive.load(io.BytesIO(archive(members)))
    assert (loaded.image_id, [one.familiar() for one in loaded.references]) == (digest_of(CONFIG), ["app:multi"])


def manifest(value: object) -> dict[str, bytes]:
    return {"manifest.json": json.dumps(value).encode()}


IMAGE = {"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["x/layer.tar", "y/layer.tar"]}


@pytest.mark.parametrize(("data", "message"), [
    (b"not a tar" * 100, "invalid tar header"),
    (archive({"readme": b"x"}), "does not contain a manifest.json"),
    (b"", "does not contain a manifest.json"),
    (archive(docker_archive())[:-9000], "does not contain|unexpected EOF"),
    (archive(docker_archive(**{"manifest.json": b"{"})), "manifest.json"),
    (archive(docker_archive(**manifest({}))), "manifest.json is not a list"),
    (archive(docker_archive(**manifest([{}]))), "without a config"),
    (archive(docker_archive(**manifest([{**IMAGE, "Layers": [1, 2]}]))), "names that are not text"),
    (archive(docker_archive(**manifest([{**IMAGE, "Layers": ["x/layer.tar"]}]))), "layers length mismatch: expected 2, got 1"),
    (archive(docker_archive(**manifest([{**IMAGE, "Layers": ["x/layer.tar", "z"]}]))), '"z" is missing'),
    (archive(docker_archive(**manifest([{**IMAGE, "Layers": ["x/layer.tar", "../../../etc/passwd"]}]))), "is missing"),
    (archive(docker_archive(**manifest([{**IMAGE, "Config": "nothing"}]))), '"nothing" is missing'),
    (archive(docker_archive(**manifest([{**IMAGE, "RepoTags": ["App"]}]))), "must be lowercase"),
    (archive(docker_archive(**manifest([{**IMAGE, "RepoTags": ["app"]}]))), 'invalid tag "app"'),
    (archive(docker_archive(**{"c.json": b"{}"})), "no RootFS key"),
    (archive(docker_archive(**{"y/layer.tar": layer("wrong")})), "invalid diffID for layer 1: expected"),
    (archive(docker_archive(**{"y/layer.tar": b"no tar" * 200})), "invalid tar header"),
    (archive(docker_archive(**manifest([IMAGE, {**IMAGE, "Config": "nothing"}]))), '"nothing" is missing'),
    (archive({**oci_layout(), blob(gzip.compress(TWO)): gzip.compress(TWO, 1) + b"\0"}), "not what its digest says"),
    (archive({**oci_layout(), blob(CONFIG): config(ONE, TWO, author="x")}), "not what its digest says"),
    (archive({**oci_layout(), "index.json": b'{"schemaVersion":2,"manifests":[]}'}), "names no image"),
])
def test_a_wrong_archive_is_told_and_leaves_nothing(store: Store, data: bytes, message: str) -> None:
    with pytest.raises((InvalidArgument, DataLoss), match=message):
        store.load(data)
    assert store.is_empty()


def test_what_is_saved_is_one_of_each_kind_and_comes_back(store: Store, other: Store) -> None:
    [image] = store.load(archive(docker_archive()))
    bare = store.images.create(config())
    references = [parse_name("app:1"), parse_reference("localhost:5000/team/app:v2")]
    data = store.archive.save({image: references, bare: ()}).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}  # type: ignore[union-attr]
        assert tar.getnames()[-4:] == ["index.json", "manifest.json", "oci-layout", "repositories"]
    for name, blob_content in content.items():
        if name.startswith("blobs/"):
            assert blob(blob_content) == name
    docker = json.loads(content["manifest.json"])
    assert docker[0] == {"Config": blob(CONFIG), "RepoTags": ["app:1", "localhost:5000/team/app:v2"], "Layers": [blob(ONE), blob(TWO)]}
    assert docker[1]["RepoTags"] is None
    assert json.loads(content["repositories"]).keys() == {"app", "localhost:5000/team/app"}
    index = Index.from_json(content["index.json"])
    assert [one.annotations.get("io.containerd.image.name") for one in index.manifests] == [
        "docker.io/library/app:1", "localhost:5000/team/app:v2", None]
    first = Manifest.from_json(content["blobs/sha256/" + index.manifests[0].digest[7:]])
    assert [one.size for one in first.layers] == [len(ONE), len(TWO)]
    assert other.load(data) == (image, bare)
    as_oci = {name: blob_content for name, blob_content in content.items() if name not in ("manifest.json", "repositories")}
    assert other.load(archive(as_oci)) == (image, bare)


def test_an_image_stays_while_it_is_being_saved(store: Store) -> None:
    [image] = store.load(archive(docker_archive()))
    stream = store.archive.save({image: ()})
    first = stream.read(10)
    store.images.remove(image)
    data = first + stream.read()
    assert store.layers.list() == ()
    assert store.load(data) == (image,)
    with pytest.raises(NotFound, match="No such image"):
        store.archive.save({"sha256:" + "0" * 64: ()})


def test_an_import_is_an_image_of_one_layer(store: Store) -> None:
    image_id = store.archive.import_(io.BytesIO(gzip.compress(ONE)), platform=AMD64, message="Imported from -",
                                     created="2024-01-01T00:00:00Z", config={"Cmd": ["sh"]})
    image = store.images.get(image_id)
    assert image.config.diff_ids == (digest_of(ONE),)
    assert image.config.history[0].comment == "Imported from -"
    assert image.config.config == {"Cmd": ["sh"]}
    assert json.loads(image.raw)["comment"] == "Imported from -"
    store.images.remove(image_id)
    with pytest.raises(WherryError):
        store.archive.import_(io.BytesIO(b"rubbish" * 100), platform=AMD64, created="2024-01-01T00:00:00Z")
    assert store.is_empty()
