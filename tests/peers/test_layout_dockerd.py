"""The layout on disk between us and dockerd 20.10: each works on a data root that the other one wrote."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import busybox_image
import pytest
from dockerd_on_root import dockerd

from wherry.errors import Unavailable
from wherry.linux.file import read
from wherry.oci.reference import parse_name
from wherry.store import tarheader
from wherry.store.foreign import volumes
from wherry.store.images import ImageStore
from wherry.store.imagetar import ImageArchive
from wherry.store.layers import LayerStore
from wherry.store.mounts import ContainerLayers
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, padding, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dockerd_on_root import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.peer,
              pytest.mark.skipif(shutil.which("dockerd") is None, reason="needs dockerd")]


class Store:
    """Our stores on a data root."""

    def __init__(self, root: DataRoot) -> None:
        self.root = root
        self.layers = LayerStore(root)
        self.images = ImageStore(root, self.layers)
        self.references = ReferenceStore(root)
        self.containers = ContainerLayers(root, self.layers)
        self.archive = ImageArchive(self.layers, self.images, self.references)

    def image(self, name: str) -> str:
        return self.references.lookup(parse_name(name))

    def check(self) -> None:
        """Every layer is made again byte for byte."""
        assert (self.layers.damaged, self.images.damaged) == ((), ())
        for layer in self.layers.list():
            with self.layers.open_tar(layer.chain_id) as tar:
                assert layer.diff_id == "sha256:" + hashlib.file_digest(io.BytesIO(tar.read()), "sha256").hexdigest()


@contextlib.contextmanager
def ours(data_root: str) -> Iterator[Store]:
    with DataRoot.open(data_root) as root:
        yield Store(root)


@pytest.fixture
def data_root() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="wherry-layout-", dir="/var/tmp")
    yield path
    for place in (f"{path}/overlay2", path):  # a dockerd that fails leaves its mounts
        subprocess.run(["umount", "-l", place], capture_output=True)
    shutil.rmtree(path)


def odd_layer() -> bytes:
    """A layer with everything that is stored in a way of its own."""
    entries = [
        (Entry(name="etc/.wh.group", mode=0o600), b""), (Entry(name="root/.wh..wh..opq", mode=0o600), b""),
        (Entry(name="root/only", mode=0o600), b"this\n"), (Entry(name="twice", mode=0o644), b"first" * 100),
        (Entry(name="twice", mode=0o644), b"second\n"), (Entry(name="ü/" + "long" * 50, mode=0o644), b"x" * 100_000),
        (Entry(name=os.fsdecode(b"\xff\xfe")), b"raw"), (Entry(name="ping", mode=0o4755), b"#!/bin/sh\n"),
        (Entry(name="hard", kind=tarheader.LINK, link="twice"), b""), (Entry(name="soft", kind=tarheader.SYMLINK, link="twice"), b""),
    ]
    out = b"".join(write_header(entry.replace(size=len(data))) + data + bytes(padding(len(data))) for entry, data in entries)
    return out + bytes(10240)


def test_dockerd_lists_runs_saves_and_builds_on_what_we_wrote(data_root: str) -> None:
    archive = busybox_image.archive("team/app:1", (odd_layer(),), Env=["PATH=/bin", "OURS=yes"])
    with ours(data_root) as store:
        [loaded] = store.archive.load(io.BytesIO(archive))
        store.references.tag(parse_name("second:name"), loaded.image_id)
        store.images.set_last_tagged(loaded.image_id, 1_700_000_000_000_000_000)
        size = store.images.size(loaded.image_id)
    with dockerd(data_root) as docker:
        listed = docker("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").split("\n")
        assert sorted(filter(None, listed)) == [f"second:name {loaded.image_id}", f"team/app:1 {loaded.image_id}"]
        inspected = json.loads(docker("image", "inspect", "team/app:1"))[0]
        assert inspected["Size"] == size
        assert inspected["Metadata"]["LastTagTime"].startswith("2023-11-14T")
        script = "cat twice root/only hard; ls etc root; echo $OURS; stat -c %a ping; touch new; rm root/only"
        output = docker("run", "--name", "box", "--network=none", "team/app:1", "sh", "-c", script)
        assert output == "second\nthis\nsecond\n" + "etc:\nhostname\nhosts\nmtab\npasswd\nresolv.conf\n\nroot:\nonly\nyes\n4755\n"
        saved = docker_save(docker, "team/app:1")
        assert len(saved) > len(odd_layer())  # it computes each layer from the tar-split, and checks it
        docker("commit", "box", "committed:1")
        docker("build", "--network=none", "-t", "built:1", "-", data=b"FROM team/app:1\nRUN echo more > /more\n")
        docker("rm", "box")
    with ours(data_root) as store:
        store.check()
        built = store.images.get(store.image("built:1"))
        assert len(built.config.diff_ids) == 3
        assert store.images.get(built.parent).id == loaded.image_id
        for name in ("built:1", "committed:1", "second:name", "team/app:1"):
            image_id = store.references.untag(parse_name(name))
            if not store.references.of_image(image_id):
                store.images.remove(image_id)
        assert store.layers.list() == ()
        assert os.listdir(store.root.overlay.path) == ["l"]
        assert os.listdir(store.root.overlay.links) == []


def docker_save(docker: Dockerd, *names: str) -> bytes:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        docker("save", "-o", f"{folder}/saved", *names)
        return read(f"{folder}/saved", 1 << 30)


def test_we_read_what_dockerd_wrote(data_root: str) -> None:
    script = "echo hi > root/x; rm etc/group; mkdir tmp/d; rm -r usr/bin; mkdir usr/bin; touch usr/bin/new; chmod 700 var; ln -s x l"
    extra = write_header(Entry(name="usr/bin/", kind=tarheader.FOLDER, mode=0o755)) + write_header(Entry(name="usr/bin/a")) + bytes(1024)
    with dockerd(data_root) as docker:
        docker("load", data=busybox_image.archive("base:1", (extra,)))
        docker("run", "--name", "box", "--network=none", "base:1", "sh", "-c", script)
        docker("commit", "box", "committed:1")
        docker("build", "--network=none", "-t", "built:1", "-", data=b"FROM committed:1\nRUN rm -r /home && mkdir /home && touch /home/x\n")
        docker("create", "--name", "never", "--network=none", "built:1", "ls", "/home")
        docker("volume", "create", "--label", "a=b", "v1")
        diff = docker("diff", "box").split("\n")
        container = docker("inspect", "--format", "{{.Id}}", "box").strip()
        graph = json.loads(docker("inspect", "--format", "{{json .GraphDriver.Data}}", "box"))
        size = json.loads(docker("inspect", "--size", "--format", "{{json .SizeRw}}", "box"))
        images = {line.split()[0]: line.split()[1] for line in docker(
            "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()}
        with pytest.raises(Unavailable, match="in use by dockerd"):
            DataRoot.open(data_root)
    with ours(data_root) as store:
        store.check()
        assert {one.reference.familiar(): one.image_id for one in store.references.list()} == images
        kinds = {"C": 0, "A": 1, "D": 2}
        assert {(change.kind, change.path) for change in store.containers.changes(container)} == {
            (kinds[line[0]], line[2:]) for line in diff if line}
        overlay = store.containers.overlay(container)
        assert (":".join(overlay.lower), overlay.upper, overlay.work) == (graph["LowerDir"], graph["UpperDir"], graph["WorkDir"])
        assert overlay.target == graph["MergedDir"]
        assert store.containers.size(container)[0] == size
        merged = store.containers.mount(container)
        assert os.path.isfile(f"{merged}/usr/bin/new")
        assert not os.path.exists(f"{merged}/etc/group")
        store.containers.unmount(container)
        with store.layers.lease() as lease:
            again = lease.register(store.containers.open_diff(container), store.images.get(images["base:1"]).config.chain_id)
            store.containers.create("a" * 64, again.chain_id)
            merged = store.containers.mount("a" * 64)
            assert os.listdir(f"{merged}/usr/bin") == ["new"]
            store.containers.remove("a" * 64)
        assert [(one.name, one.labels) for one in volumes(data_root)] == [("v1", (("a", "b"),))]
        store.containers.remove(container)
    with dockerd(data_root) as docker:  # and dockerd again after us: it misses nothing but what we removed
        assert docker("run", "--rm", "--network=none", "built:1", "ls", "/home") == "x\n"
        assert docker("start", "-a", "never") == "x\n"


def test_dockerd_does_not_start_on_a_root_that_we_use(data_root: str) -> None:
    with ours(data_root), pytest.raises(AssertionError, match=r"volume store metadata database: timeout"), dockerd(data_root):
        pass
    with dockerd(data_root) as docker:
        assert docker("images", "-q") == ""


def test_the_init_layer_is_the_one_that_dockerd_makes(data_root: str) -> None:
    with dockerd(data_root) as docker:
        docker("load", data=busybox_image.archive("base:1"))
        docker("run", "--name", "box", "--network=none", "base:1", "true")
        container = docker("inspect", "--format", "{{.Id}}", "box").strip()
    with ours(data_root) as store:
        store.containers.create("b" * 64, store.images.get(store.image("base:1")).config.chain_id)
        trees = []
        for one in (container, "b" * 64):
            overlay = store.containers.overlay(one)
            init = os.path.dirname(overlay.lower[0])
            trees.append({path: described(f"{init}/diff/{path}") for path in found(f"{init}/diff")})
            assert {"diff", "link", "lower", "work", "committed"} == set(os.listdir(init))
            assert {"diff", "link", "lower", "work"} == set(os.listdir(os.path.dirname(overlay.upper)))
        assert trees[0] == trees[1]


def found(folder: str) -> list[str]:
    return [os.path.relpath(os.path.join(top, name), folder) for top, folders, files in os.walk(folder) for name in folders + files]


def described(path: str) -> tuple[int, int, int, str]:
    status = os.lstat(path)
    return status.st_mode, status.st_uid, status.st_gid, os.readlink(path) if os.path.islink(path) else ""
