"""Pull and push against Debian's docker-registry, with skopeo as the other client and the real store behind."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import busybox_image
import pytest
from docker_registry import SECRET, serve

from wherry import errors
from wherry.oci.platform import host_platform, parse_platform
from wherry.oci.reference import parse_reference
from wherry.registry.endpoint import Credentials, RegistryConfig
from wherry.registry.pull import Stores
from wherry.registry.service import Registries
from wherry.store.distribution import Distribution
from wherry.store.images import ImageStore
from wherry.store.layers import LayerStore
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.peer,
              pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry"),
              pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")]
OPEN, CLOSED = "127.0.0.1:5055", "127.0.0.1:5056"
WHO = Credentials(username="ann", password="secret")


def layer(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            busybox_image._add(tar, name, data)
    return out.getvalue()


@pytest.fixture(scope="module")
def registry() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-registry-"))
    running = [serve(folder, OPEN), serve(folder, CLOSED, f"ann:{SECRET}\n")]
    (folder / "app.tar").write_bytes(busybox_image.archive("app:1", (layer(a=b"a" * 100_000), layer(b=b"b"))))
    for target, options in ((f"{OPEN}/app:docker", []), (f"{OPEN}/app:oci", ["--format", "oci"]),
                            (f"{OPEN}/app:zstd", ["--format", "oci", "--dest-compress-format", "zstd"]),
                            (f"{CLOSED}/private:1", ["--dest-creds", "ann:secret"])):
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", *options, f"docker-archive:{folder}/app.tar",
                        f"docker://{target}"], check=True)
    yield folder
    for process in running:
        process.terminate()
        process.wait(10)
    shutil.rmtree(folder)


class Client:
    """A data root of ours, and what it pulls."""

    def __init__(self, folder: Path) -> None:
        self.root = DataRoot.open(str(folder))
        self.layers = LayerStore(self.root)
        self.images = ImageStore(self.root, self.layers)
        self.references = ReferenceStore(self.root)
        self.said: list[Any] = []
        self.service = Registries(RegistryConfig(), Stores(
            layers=self.layers, images=self.images, references=self.references, distribution=Distribution(self.root),
            ingest=str(folder / "tmp/ingest")), "wherry-test")

    def pull(self, name: str, credentials: Credentials | None = None, platform: str = "") -> Any:
        return self.service.pull(parse_reference(name), parse_platform(platform) if platform else host_platform(),
                                 credentials or Credentials(), self.said.append, threading.Event())

    def push(self, name: str, credentials: Credentials | None = None) -> Any:
        return self.service.push(parse_reference(name), credentials or Credentials(), self.said.append, threading.Event())


@pytest.fixture
def client(registry: Path) -> Iterator[Client]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-root-"))
    client = Client(folder)
    yield client
    client.service.close()
    client.root.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("tag", ["docker", "oci", "zstd"])
def test_pull_of_each_format_and_layers_come_back_byte_for_byte(client: Client, tag: str) -> None:
    pulled = client.pull(f"{OPEN}/app:{tag}")
    image = client.images.get(pulled.image_id)
    chain = client.layers.chain(image.config.chain_id)
    assert len(chain) == 3
    with client.layers.open_tar(chain[0].chain_id) as stream:
        assert stream.read() == busybox_image.rootfs_tar()
    assert client.pull(f"{OPEN}/app@{pulled.digest}").image_id == pulled.image_id


def test_private_repository(client: Client) -> None:
    with pytest.raises(errors.Unauthorized, match="no basic auth credentials"):
        client.pull(f"{CLOSED}/private:1")
    with pytest.raises(errors.Unauthorized, match="unauthorized: authentication required"):
        client.pull(f"{CLOSED}/private:1", WHO.replace(password="wrong"))
    assert client.references.list() == ()
    client.pull(f"{CLOSED}/private:1", WHO)


def test_missing_tag_and_repository(client: Client) -> None:
    with pytest.raises(errors.NotFound, match=f"manifest for {OPEN}/app:nope not found: manifest unknown: manifest unknown"):
        client.pull(f"{OPEN}/app:nope")
    with pytest.raises(errors.NotFound):
        client.pull(f"{OPEN}/nothing:1")


def test_pushed_image_is_read_by_skopeo(client: Client, registry: Path) -> None:
    image_id = client.pull(f"{OPEN}/app:docker").image_id
    client.references.tag(parse_reference(f"{OPEN}/mine/app:2"), image_id)
    pushed = client.push(f"{OPEN}/mine/app:2")
    seen = json.loads(subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{OPEN}/mine/app:2"],
                                     check=True, capture_output=True, text=True).stdout)
    assert seen["Digest"] == pushed.digest
    assert any(one.status.startswith("Mounted from app") for one in client.said)
    subprocess.run(["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{OPEN}/mine/app:2", f"dir:{registry}/copied"], check=True)
    client.said.clear()
    client.push(f"{OPEN}/mine/app:2")
    assert sum(one.status == "Layer already exists" for one in client.said) == 3


def test_push_compresses_what_the_registry_has_not(client: Client, registry: Path) -> None:
    image_id = client.pull(f"{OPEN}/app:docker").image_id
    client.references.tag(parse_reference(f"{CLOSED}/fresh:1"), image_id)
    with pytest.raises(errors.Unauthorized):
        client.push(f"{CLOSED}/fresh:1")
    client.push(f"{CLOSED}/fresh:1", WHO)
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="wherry-root-"))
    try:
        other = Client(folder)
        assert other.pull(f"{CLOSED}/fresh:1", WHO).image_id == image_id
        other.root.close()
    finally:
        shutil.rmtree(folder)


def test_login(client: Client) -> None:
    assert client.service.check(WHO.replace(server_address=CLOSED)) == ""
    with pytest.raises(errors.Unauthorized, match="401 Unauthorized"):
        client.service.check(WHO.replace(server_address=CLOSED, password="wrong"))


def test_basic_header() -> None:
    from wherry.registry.token import basic

    assert base64.b64decode(basic(WHO).removeprefix("Basic ")) == b"ann:secret"
