"""Archives between us and the family: what we save, docker, podman and skopeo load, and the other way round."""

from __future__ import annotations

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

from wherry.oci.digest import hex_of
from wherry.oci.reference import parse_name
from wherry.store.images import ImageStore
from wherry.store.imagetar import ImageArchive
from wherry.store.layers import LayerStore
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, padding, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer]


class Place:
    """A store of ours with one image, its archive, and room for the others."""

    def __init__(self, path: str, root: DataRoot) -> None:
        self.path = path
        self.layers = LayerStore(root)
        self.images = ImageStore(root, self.layers)
        self.references = ReferenceStore(root)
        self.archive = ImageArchive(self.layers, self.images, self.references)
        data = b"more\n" * 5000
        layer = write_header(Entry(name="more", size=len(data))) + data + bytes(padding(len(data))) + bytes(1024)
        [loaded] = self.archive.load(io.BytesIO(busybox_image.archive("localhost/team/app:1", (layer, layer))))
        self.image_id = loaded.image_id
        self.saved = f"{path}/ours.tar"
        with open(self.saved, "wb") as file:
            file.writelines(self.archive.save({self.image_id: loaded.references}))

    def take_back(self, path: str) -> tuple[str, list[str]]:
        """Loads an archive of another's making after ours was forgotten; image id and names."""
        for one in self.references.list():
            self.references.untag(one.reference)
        for image in self.images.list():
            self.images.remove(image.id)
        assert self.layers.list() == ()
        with open(path, "rb") as file:
            [loaded] = self.archive.load(file)
        return loaded.image_id, [one.familiar() for one in loaded.references]


@pytest.fixture
def place() -> Iterator[Place]:
    path = tempfile.mkdtemp(prefix="wherry-archives-", dir="/var/tmp")
    with DataRoot.open(f"{path}/root") as root:
        yield Place(path, root)
    shutil.rmtree(path)


def run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr.decode()
    return str(done.stdout.decode())


def test_docker(place: Place) -> None:
    if shutil.which("dockerd") is None:
        pytest.skip("needs dockerd")
    with dockerd(f"{place.path}/docker") as docker:
        assert docker("load", "-i", place.saved) == "Loaded image: localhost/team/app:1\n"
        assert docker("images", "-q", "--no-trunc").strip() == place.image_id
        size = docker("inspect", "--format", "{{.Size}}", place.image_id)
        assert int(size) == place.images.size(place.image_id)
        assert docker("run", "--rm", "--network=none", "localhost/team/app:1", "tail", "-n1", "/more") == "more\n"
        docker("save", "-o", f"{place.path}/theirs.tar", "localhost/team/app:1")
    assert place.take_back(f"{place.path}/theirs.tar") == (place.image_id, ["localhost/team/app:1"])


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
@pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman")
def test_podman(place: Place, form: str) -> None:
    podman = ("podman", "--root", f"{place.path}/podman", "--runroot", "/run/podman-layout", "--storage-driver", "vfs")
    assert "localhost/team/app:1" in run(*podman, "load", "-i", place.saved)
    assert run(*podman, "images", "-q", "--no-trunc").strip() == place.image_id
    theirs = f"{place.path}/theirs.tar"
    run(*podman, "save", "--format", form, "-o", theirs, "localhost/team/app:1")
    image_id, names = place.take_back(theirs)
    assert names == ["localhost/team/app:1"]
    assert image_id == place.image_id


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_skopeo(place: Place) -> None:
    skopeo = ("skopeo", "--insecure-policy")
    layout = f"{place.path}/unpacked"
    os.mkdir(layout)
    run("tar", "-xf", place.saved, "-C", layout)
    for source in (f"docker-archive:{place.saved}", f"oci:{layout}:1", f"oci-archive:{place.saved}:1"):
        config = run(*skopeo, "inspect", "--config", "--raw", source)
        assert json.loads(config) == json.loads(place.images.get(place.image_id).raw)
    for target in ("oci-archive", "docker-archive"):
        theirs = f"{place.path}/{target}.tar"
        run(*skopeo, "copy", f"oci:{layout}:1", f"{target}:{theirs}:localhost/from/skopeo:2")
        assert place.take_back(theirs)[0] == place.image_id
        assert [one.reference for one in place.references.list()] == [parse_name("localhost/from/skopeo:2")]
    assert len(hex_of(place.image_id)) == 64
