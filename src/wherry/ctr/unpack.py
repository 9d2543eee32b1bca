"""From layers in the content store to a chain of snapshots; containerd applies them, the client says in which order.

Each layer is applied on an active snapshot of the chain below it, verified by its diff id and committed under its chain id:
cut off anywhere, the next attempt goes on behind the last chain id that is there.
"""

from __future__ import annotations

import os

from wherry import errors
from wherry.ctr import manifests
from wherry.ctr.blobs import Blobs
from wherry.ctr.lease import held
from wherry.oci.digest import chain_id
from wherry.oci.image import ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.client import Client
    from wherry.oci.image import Descriptor, Platform

DEFAULT_SNAPSHOTTER = "overlayfs"
DEFAULT_LABEL = "containerd.io/defaults/snapshotter"
UNCOMPRESSED_LABEL = "containerd.io/uncompressed"


def snapshotter_name(client: Client, name: str) -> str:
    """The snapshotter to use: the one named, else the namespace's default, else containerd's."""
    if name:
        return name
    try:
        return client.namespaces.Get(name=client.namespace).namespace.labels.get(DEFAULT_LABEL) or DEFAULT_SNAPSHOTTER
    except errors.NotFound:
        return DEFAULT_SNAPSHOTTER


def has_snapshot(client: Client, snapshotter: str, key: str) -> bool:
    """Whether a snapshot is there."""
    try:
        client.snapshots.Stat(snapshotter=snapshotter, key=key)
    except errors.NotFound:
        return False
    return True


def is_unpacked(client: Client, target: Descriptor, snapshotter: str) -> bool:
    """Whether the topmost layer of the image for this machine is a snapshot already."""
    return has_snapshot(client, snapshotter, manifests.config(Blobs(client).document, target).chain_id)


def unpack(client: Client, target: Descriptor, snapshotter: str, platform: Platform | None = None) -> str:
    """Unpacks what is not yet; the chain id of the topmost layer. Raises NotFound where content is missing."""
    blobs = Blobs(client)
    manifest = manifests.find(blobs.document, target, platform).manifest
    diff_ids = ImageConfig.from_json(blobs.document(manifest.config)).diff_ids
    if len(diff_ids) != len(manifest.layers):
        raise errors.InvalidArgument("mismatched image rootfs and manifest layers")
    with held(client):
        for position, layer in enumerate(manifest.layers):
            chain = chain_id(diff_ids[:position + 1])
            if not has_snapshot(client, snapshotter, chain):
                _apply(client, snapshotter, layer, diff_ids[position], (chain_id(diff_ids[:position]), chain))
                blobs.set_labels(layer.digest, {UNCOMPRESSED_LABEL: diff_ids[position]})
        top = chain_id(diff_ids)
        blobs.set_labels(manifest.config.digest, {f"containerd.io/gc.ref.snapshot.{snapshotter}": top})
    return top


def _apply(client: Client, snapshotter: str, layer: Descriptor, diff_id: str, chain: tuple[str, str]) -> None:
    """Applies one layer on the first chain id and commits it as the second."""
    below, top = chain
    key = f"extract-{os.urandom(8).hex()} {top}"
    mounts = client.snapshots.Prepare(snapshotter=snapshotter, key=key, parent=below).mounts
    try:
        applied = client.diffs.Apply(diff=manifests.to_message(layer), mounts=mounts).applied
        if applied.digest != diff_id:
            raise errors.DataLoss(f'wrong diff id calculated on extraction "{applied.digest}"')
        client.snapshots.Commit(snapshotter=snapshotter, name=top, key=key)
    except errors.AlreadyExists:
        client.snapshots.Remove(snapshotter=snapshotter, key=key)  # somebody else was faster
    except errors.WherryError:
        client.snapshots.Remove(snapshotter=snapshotter, key=key)
        raise
