"""Snapshots of images: whether they are there, and layers unpacked into them, which is containerd's work in an order of ours."""

from __future__ import annotations

from wherry import errors
from wherry.ctr.blobs import Blobs
from wherry.ctr.lease import held
from wherry.transfer import manifests, unpacking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.client import Client
    from wherry.oci.image import Descriptor, Platform

DEFAULT_SNAPSHOTTER = "overlayfs"
DEFAULT_LABEL = "containerd.io/defaults/snapshotter"


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
    with held(client):
        return unpacking.unpack(Blobs(client), _Snapshots(client, snapshotter), target, platform)


class _Snapshots:
    """A snapshotter of the client's containerd, as unpacking wants it."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def has(self, key: str) -> bool:
        return has_snapshot(self._client, self.name, key)

    def prepare(self, key: str, parent: str) -> Any:
        return self._client.snapshots.Prepare(snapshotter=self.name, key=key, parent=parent).mounts

    def apply(self, layer: Descriptor, mounts: Any) -> str:
        return str(self._client.diffs.Apply(diff=manifests.to_message(layer), mounts=mounts).applied.digest)

    def commit(self, name: str, key: str) -> None:
        self._client.snapshots.Commit(snapshotter=self.name, name=name, key=key)

    def remove(self, key: str) -> None:
        self._client.snapshots.Remove(snapshotter=self.name, key=key)
