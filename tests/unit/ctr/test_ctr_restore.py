"""`containers restore` leaves nothing behind when it fails, and says what a checkpoint lacks."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from wherry.ctr import unpack
from wherry.ctr.command import CommandFailed
from wherry.ctr.commands import checkpoint
from wherry.errors import AlreadyExists
from wherry.oci.image import Index
from wherry.transfer.names import REFERENCE_NAME

ANNOTATIONS = {REFERENCE_NAME: "image", checkpoint.SNAPSHOTTER: "overlayfs", checkpoint.RUNTIME: "runc"}


@pytest.fixture
def call(monkeypatch):
    pytest.importorskip("google.protobuf", reason="needs the extra containerd")
    monkeypatch.setattr(unpack, "unpack", lambda *_: "chain")
    return SimpleNamespace(client=MagicMock(), options=SimpleNamespace(on=lambda _: False))


def test_the_snapshot_of_a_container_that_cannot_be_made_is_removed(call):
    call.client.containers.Create.side_effect = AlreadyExists("container c")
    with pytest.raises(AlreadyExists):
        checkpoint._restore(call, "c", Index(manifests=(), annotations=ANNOTATIONS), b"")
    call.client.snapshots.Remove.assert_called_once_with(snapshotter="overlayfs", key="c")


@pytest.mark.parametrize("missing", ANNOTATIONS)
def test_an_index_without_what_a_checkpoint_says(call, missing):
    index = Index(manifests=(), annotations={key: value for key, value in ANNOTATIONS.items() if key != missing})
    with pytest.raises(CommandFailed, match=f"does not say its {missing}"):
        checkpoint._restore(call, "c", index, b"")
    call.client.snapshots.Prepare.assert_not_called()
