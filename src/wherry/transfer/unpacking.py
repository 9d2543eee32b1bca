"""From layers in the content store to a chain of snapshots, each under the chain id of its layers.

Each layer is applied on an active snapshot of the chain below it, verified by its diff id and committed under its chain id:
cut off anywhere, the next attempt goes on behind the last chain id that is there.
"""

from __future__ import annotations

import os

from wherry import errors
from wherry.oci.digest import chain_id
from wherry.oci.image import ImageConfig
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol, TypeVar

    from wherry.oci.image import Descriptor, Platform
    from wherry.transfer.content import Content

    M = TypeVar("M")

    class Snapshots(Protocol[M]):
        """One snapshotter. What its mounts are is its own business: they go from `prepare` to `apply`."""

        @property
        def name(self) -> str:
            """The snapshotter's."""

        def has(self, key: str) -> bool:
            """Whether a snapshot is there."""

        def prepare(self, key: str, parent: str) -> M:
            """An active snapshot, on another one or "". Raises AlreadyExists, NotFound."""

        def apply(self, layer: Descriptor, mounts: M) -> str:
            """Unpacks a layer; its diff id."""

        def commit(self, name: str, key: str) -> None:
            """Raises AlreadyExists."""

        def remove(self, key: str) -> None:
            """Raises NotFound."""


UNCOMPRESSED_LABEL = "containerd.io/uncompressed"


def unpack(content: Content, snapshots: Snapshots[M], target: Descriptor, platform: Platform | None = None) -> str:
    """Unpacks what is not yet; the chain id of the topmost layer. Raises NotFound where content is missing."""
    manifest = manifests.find(content.document, target, platform).manifest
    diff_ids = ImageConfig.from_json(content.document(manifest.config)).diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise errors.InvalidArgument("mismatched image rootfs and manifest layers")
    for position, layer in enumerate(manifest.layers):
        chain = chain_id(diff_ids[:position + 1])
        if not snapshots.has(chain):
            _apply(snapshots, layer, diff_ids[position], (chain_id(diff_ids[:position]), chain))
            content.set_labels(layer.digest, {UNCOMPRESSED_LABEL: diff_ids[position]})
    top = chain_id(diff_ids)
    content.set_labels(manifest.config.digest, {f"containerd.io/gc.ref.snapshot.{snapshots.name}": top})
    return top


def _apply(snapshots: Snapshots[M], layer: Descriptor, diff_id: str, chain: tuple[str, str]) -> None:
    """Applies one layer on the first chain id and commits it as the second."""
    below, top = chain
    key = f"extract-{os.urandom(8).hex()} {top}"
    mounts = snapshots.prepare(key, below)
    try:
        applied = snapshots.apply(layer, mounts)
        if applied != diff_id:
            raise errors.DataLoss(f'wrong diff id calculated on extraction "{applied}"')
        snapshots.commit(top, key)
    except errors.AlreadyExists:
        snapshots.remove(key)  # somebody else was faster
    except BaseException:
        snapshots.remove(key)
        raise
