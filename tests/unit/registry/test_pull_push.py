"""Pull and push against a registry that misbehaves to order."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import registry_fakes as fakes

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.image import Platform
from wherry.oci.reference import parse_reference
from wherry.registry import blob as blob_module
from wherry.registry.endpoint import Credentials, RegistryConfig
from wherry.registry.pull import Stores
from wherry.registry.service import Registries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AMD64 = Platform(os="linux", architecture="amd64")
LAYERS = [b"lowest " * 20_000, b"upper " * 30_000, os.urandom(300_000)]


class World:
    """One registry, one data root in memory."""

    def __init__(self, address: str, registry: Any, folder: Path) -> None:
        self.address, self.registry = address, registry
        self.layers, self.images = fakes.Layers(), fakes.Images()
        self.references, self.distribution = fakes.References(), fakes.Distribution()
        self.ingest = folder / "ingest"
        self.said: list[Any] = []
        self.cancelled = threading.Event()
        self.service = Registries(RegistryConfig(), Stores(
            layers=self.layers, images=self.images, references=self.references, distribution=self.distribution,
            ingest=str(self.ingest)), "wherry-test")

    def reference(self, rest: str) -> Any:
        return parse_reference(f"{self.address}/{rest}")

    def pull(self, rest: str, credentials: Credentials | None = None, platform: Platform = AMD64) -> Any:
        return self.service.pull(self.reference(rest), platform, credentials or Credentials(), self.said.append, self.cancelled)

    def statuses(self) -> list[str]:
        return [one.status for one in self.said]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_module, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr("wherry.registry.client.FIRST_PAUSE_S", 0.0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    registry = fakes.Registry()
    with fakes.serve(registry) as address:
        world = World(address, registry, tmp_path)
        yield world
        world.service.close()


def test_pull_brings_layers_image_and_names(world: World) -> None:
    digest, image_id = world.registry.add_image("app", "1", LAYERS)
    pulled = world.pull("app:1")
    assert (pulled.digest, pulled.image_id, pulled.up_to_date) == (digest, image_id, False)
    assert world.layers.content[fakes.top_chain(LAYERS)] == LAYERS[2]
    assert world.references.names == {f"{world.address}/app:1": image_id, f"{world.address}/app@{digest}": image_id}
    assert list(world.ingest.iterdir()) == []
    statuses = world.statuses()
    assert statuses[0] == "Pulling from app"
    assert world.said[0].id == "1"
    assert statuses.count("Pull complete") == 3
    assert statuses[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {world.address}/app:1"]
    assert world.pull("app:1").up_to_date
    assert world.statuses()[-1] == f"Status: Image is up to date for {world.address}/app:1"
    assert world.statuses().count("Pulling from app") == 2
    assert "Already exists" not in world.statuses()  # what is the same image needs no look at its layers


def test_pull_by_digest_names_only_the_digest(world: World) -> None:
    digest, image_id = world.registry.add_image("app", "1", LAYERS)
    world.pull(f"app@{digest}")
    assert world.references.names == {f"{world.address}/app@{digest}": image_id}


def test_index_chooses_the_platform(world: World) -> None:
    amd, amd_id = world.registry.add_image("app", "amd", LAYERS)
    arm, arm_id = world.registry.add_image("app", "arm", [b"arm"], "arm64")
    index = json.dumps({"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": [
        {"mediaType": oci.DOCKER_MANIFEST, "digest": arm, "size": 1,
         "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"mediaType": oci.DOCKER_MANIFEST, "digest": amd, "size": 1,
         "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()
    world.registry.manifests["app", "all"] = (oci.OCI_INDEX, index)
    assert world.pull("app:all").image_id == amd_id
    assert world.pull("app:all", platform=Platform(os="linux", architecture="arm64")).image_id == arm_id
    with pytest.raises(errors.NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        world.pull("app:all", platform=Platform(os="linux", architecture="s390x"))


def test_missing_tag(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    with pytest.raises(errors.NotFound, match=r"^manifest for .*/app:2 not found: manifest unknown: manifest unknown$"):
        world.pull("app:2")
    assert world.references.names == {}


def test_token_authentication_asks_once_for_each_scope(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    world.registry.challenge = f'Bearer realm="http://{world.address}/token",service="here"'
    world.pull("app:1", Credentials(username="ann", password="secret"))
    asked = [(path, who) for _, path, who in world.registry.requests if path.startswith("/token")]
    assert len(asked) == 1
    assert "scope=repository%3Aapp%3Apull" in asked[0][0]
    assert asked[0][1] == "Basic YW5uOnNlY3JldA=="


def test_wrong_password(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    world.registry.challenge = f'Bearer realm="http://{world.address}/token",service="here"'
    world.registry.token_status = 401
    with pytest.raises(errors.Unauthorized, match="incorrect username or password"):
        world.pull("app:1", Credentials(username="ann", password="wrong"))


def test_basic_authentication(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    world.registry.challenge = 'Basic realm="here"'
    world.registry.accepts.add("Basic YW5uOnNlY3JldA==")
    with pytest.raises(errors.Unauthorized, match="no basic auth credentials"):
        world.pull("app:1")
    with pytest.raises(errors.Unauthorized, match="unauthorized: authentication required"):
        world.pull("app:1", Credentials(username="ann", password="wrong"))
    world.pull("app:1", Credentials(username="ann", password="secret"))


def test_busy_registry_is_asked_again(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    world.registry.busy = 2
    world.pull("app:1")


def test_wrong_content_is_refused_and_nothing_is_left(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    manifest = json.loads(world.registry.manifests["app", "1"][1])
    victim = manifest["layers"][2]["digest"]
    data = bytearray(world.registry.blobs[victim])
    data[len(data) // 2] ^= 1
    world.registry.blobs[victim] = bytes(data)
    with pytest.raises(errors.DataLoss, match=f"filesystem layer verification failed for digest {victim}"):
        world.pull("app:1")
    assert world.references.names == {}
    assert world.images.raw == {}
    assert not any(victim.removeprefix("sha256:") in path.name for path in world.ingest.iterdir())


def test_cut_connection_goes_on_where_it_stopped(world: World) -> None:
    world.registry.add_image("app", "1", [LAYERS[2]])
    digest = json.loads(world.registry.manifests["app", "1"][1])["layers"][0]["digest"]
    world.registry.cut_after[digest] = [100_000, 50_000]
    world.pull("app:1")
    assert world.layers.content[fakes.top_chain([LAYERS[2]])] == LAYERS[2]


def test_registry_without_ranges_is_read_from_the_beginning(world: World) -> None:
    world.registry.add_image("app", "1", [LAYERS[2]])
    digest = json.loads(world.registry.manifests["app", "1"][1])["layers"][0]["digest"]
    world.registry.ranges = False
    world.registry.cut_after[digest] = [100_000]
    world.pull("app:1")
    assert world.layers.content[fakes.top_chain([LAYERS[2]])] == LAYERS[2]


def test_always_cut_is_an_error_and_the_next_pull_resumes(world: World) -> None:
    world.registry.add_image("app", "1", [LAYERS[2]])
    digest = json.loads(world.registry.manifests["app", "1"][1])["layers"][0]["digest"]
    world.registry.cut_after[digest] = [100_000] + [0] * 10
    with pytest.raises(errors.Unavailable, match="unexpected EOF"):
        world.pull("app:1")
    assert (world.ingest / f"{digest.removeprefix('sha256:')}.part").stat().st_size == 100_000
    assert world.references.names == {}
    world.registry.cut_after.clear()
    world.registry.requests.clear()
    world.pull("app:1")
    assert list(world.ingest.iterdir()) == []


def test_cancel_keeps_what_was_verified(world: World) -> None:
    world.registry.add_image("app", "1", LAYERS)
    world.cancelled.set()
    with pytest.raises(errors.Cancelled):
        world.pull("app:1")
    assert world.layers.kept
    world.cancelled.clear()
    world.pull("app:1")


def test_two_pulls_at_once(world: World) -> None:
    _, image_id = world.registry.add_image("app", "1", LAYERS)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(world.pull("app:1").image_id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [image_id] * 4
    assert list(world.ingest.iterdir()) == []


def test_nobody_listens(world: World) -> None:
    world.address = "127.0.0.1:1"
    with pytest.raises(errors.Unavailable, match="connect: connection refused"):
        world.pull("app:1")


def test_push_sends_layers_config_manifest(world: World) -> None:
    layer = LAYERS[2]
    _, image_id = world.registry.add_image("app", "1", [layer])
    world.pull("app:1")
    world.registry.blobs.clear()
    world.registry.manifests.clear()
    world.distribution.known.clear()
    world.references.names[f"{world.address}/copy:2"] = image_id
    pushed = world.service.push(world.reference("copy:2"), Credentials(), world.said.append, world.cancelled)
    kind, data = world.registry.manifests["copy", "2"]
    assert kind == oci.DOCKER_MANIFEST
    assert fakes.sha(data) == pushed.digest
    assert all(one["digest"] in world.registry.blobs for one in json.loads(data)["layers"])
    assert world.references.names[f"{world.address}/copy@{pushed.digest}"] == image_id
    assert world.statuses()[-2] == f"2: digest: {pushed.digest} size: {pushed.size}"
    world.said.clear()
    world.service.push(world.reference("copy:2"), Credentials(), world.said.append, world.cancelled)
    assert "Layer already exists" in world.statuses()


def test_push_of_an_unknown_name(world: World) -> None:
    with pytest.raises(errors.NotFound, match=r"An image does not exist locally with the tag: .*/copy"):
        world.service.push(world.reference("copy:2"), Credentials(), world.said.append, world.cancelled)


def test_login_check(world: World) -> None:
    world.registry.challenge = 'Basic realm="here"'
    world.registry.accepts.add("Basic YW5uOnNlY3JldA==")
    good = Credentials(username="ann", password="secret", server_address=world.address)
    assert world.service.check(good) == ""
    with pytest.raises(errors.Unauthorized, match="failed with status: 401 Unauthorized"):
        world.service.check(good.replace(password="wrong"))


def test_inspect(world: World) -> None:
    digest, _ = world.registry.add_image("app", "1", LAYERS)
    seen = world.service.inspect(world.reference("app:1"), Credentials())
    assert seen.descriptor.digest == digest
    assert [str(one) for one in seen.platforms] == ["linux/amd64"]
