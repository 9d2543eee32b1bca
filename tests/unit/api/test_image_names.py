"""Under which names a transfer's images are kept."""

from __future__ import annotations

import pytest

from wherry.api.containerd.imagenames import of_entry, of_target
from wherry.oci.image import Descriptor
from wherry.proto.transfer_pb2 import ImageReference, ImageStore
from wherry.transfer.names import IMAGE_NAME, REFERENCE_NAME

DIGEST = "sha256:" + "0" * 64


def entry(**annotations: str) -> Descriptor:
    names = {"full": IMAGE_NAME, "tag": REFERENCE_NAME}
    return Descriptor(media_type="m", digest=DIGEST, size=1, annotations={names[key]: value for key, value in annotations.items()})


def test_one_image_has_its_own_name_and_further_ones() -> None:
    store = ImageStore(name="a", extra_references=[ImageReference(name="b"), ImageReference(name="c", add_digest=True),
                                                   ImageReference(name="p", is_prefix=True)])
    assert of_target(store, entry()) == ["a", "b", f"c@{DIGEST}"]
    assert of_target(ImageStore(), entry()) == []


@pytest.mark.parametrize(("reference", "annotations", "names"), [
    ({}, {"tag": "v1"}, ["r.example/p:v1"]),
    ({}, {"full": "r.example/p:v2"}, ["r.example/p:v2"]),
    ({}, {"full": "other.example/q:v1"}, []),
    ({"allow_overwrite": True}, {"full": "other.example/q:v1"}, ["other.example/q:v1"]),
    ({"allow_overwrite": True}, {"full": "v1"}, []),
    ({"add_digest": True}, {"tag": "v1"}, ["r.example/p:v1", f"r.example/p@{DIGEST}"]),
    ({"add_digest": True, "skip_named_digest": True}, {"tag": "v1"}, ["r.example/p:v1"]),
    ({"add_digest": True, "skip_named_digest": True}, {}, [f"r.example/p@{DIGEST}"]),
    ({"is_prefix": False}, {"tag": "v1"}, []),
])
def test_an_archive_s_images_are_named_by_prefixes(reference: dict[str, bool], annotations: dict[str, str], names: list[str]) -> None:
    store = ImageStore(extra_references=[ImageReference(**{"name": "r.example/p", "is_prefix": True, **reference})])
    assert of_entry(store, entry(**annotations)) == names
