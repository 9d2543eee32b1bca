"""Manifests, indexes and image configs: read, written, and what is wrong with bad ones."""

from __future__ import annotations

import json

import pytest

from wherry.errors import InvalidArgument
from wherry.oci.digest import chain_id, digest_of
from wherry.oci.image import (
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    descriptor,
)

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64

MANIFEST = {
    "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
    "config": {"mediaType": OCI_CONFIG, "digest": A, "size": 7},
    "layers": [{"mediaType": DOCKER_LAYER_GZIP, "digest": B, "size": 9, "urls": ["https://example.com/x"]}],
    "annotations": {"k": "v"}, "subject": {"kept": True},
}
CONFIG = {
    "architecture": "arm64", "variant": "v8", "os": "linux", "created": "2024-01-01T00:00:00Z", "author": "me",
    "config": {"Env": ["A=1"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}}, "docker_version": "20.10",
    "rootfs": {"type": "layers", "diff_ids": [A, B]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "RUN é <x>"}, {"empty_layer": True, "more": 1}],
}


def test_a_manifest_survives_reading_and_writing_with_what_is_not_known() -> None:
    manifest = Manifest.from_json(json.dumps(MANIFEST).encode())
    assert manifest.layers[0].urls == ("https://example.com/x",)
    assert manifest.unknown == {"subject": {"kept": True}}
    assert json.loads(manifest.to_json()) == MANIFEST


def test_an_index_survives_with_platforms() -> None:
    value = {
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": A, "size": 1, "artifactType": "x/y",
                       "platform": {"architecture": "arm", "os": "linux", "variant": "v7", "os.features": ["f"]}}],
    }
    index = Index.from_json(json.dumps(value).encode())
    assert index.manifests[0].platform == Platform(architecture="arm", os="linux", variant="v7", os_features=("f",))
    assert str(index.manifests[0].platform) == "linux/arm/v7"
    assert json.loads(index.to_json()) == value


def test_an_image_config_survives_with_docker_s_fields() -> None:
    config = ImageConfig.from_json(json.dumps(CONFIG).encode())
    assert config.diff_ids == (A, B)
    assert config.chain_id == chain_id([A, B])
    assert config.config is not None
    assert config.config["Env"] == ["A=1"]
    assert config.history[1].empty_layer
    assert config.platform == Platform(architecture="arm64", os="linux", variant="v8")
    assert config.unknown == {"docker_version": "20.10"}
    assert json.loads(config.to_json()) == CONFIG


def test_null_fields_are_absent_fields() -> None:
    value = {**CONFIG, "config": None, "history": None, "author": None}
    config = ImageConfig.from_json(json.dumps(value).encode())
    assert (config.config, config.history, config.author) == (None, (), "")


@pytest.mark.parametrize(("changes", "message"), [
    ({"schemaVersion": 1}, "schemaVersion is not 2"),
    ({"config": None}, "manifest.config: not an object"),
    ({"config": {"mediaType": "x", "digest": A}}, "manifest.config has no size"),
    ({"config": {"mediaType": "x", "digest": A, "size": -1}}, "manifest.config has no size"),
    ({"config": {"mediaType": "x", "digest": "sha256:../../x", "size": 1}}, "invalid checksum digest length"),
    ({"layers": {}}, '"layers" has the wrong type'),
    ({"layers": ["x"]}, "manifest.layers: not an object"),
    ({"annotations": {"a": 1}}, "something other than text"),
])
def test_a_bad_manifest_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message.replace(".", r"\.")):
        Manifest.from_json(json.dumps({**MANIFEST, **changes}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null", b'{"rootfs": 1}'])
def test_what_is_no_image_config_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        ImageConfig.from_json(data)


def test_an_image_config_without_layers_of_the_known_type_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no RootFS key"):
        ImageConfig.from_json(b"{}")
    with pytest.raises(InvalidArgument, match='rootfs of the type "windows"'):
        ImageConfig.from_json(b'{"rootfs": {"type": "windows"}}')


def test_describing_bytes() -> None:
    assert descriptor(b"abc", OCI_CONFIG) == Descriptor(media_type=OCI_CONFIG, digest=digest_of(b"abc"), size=3)
