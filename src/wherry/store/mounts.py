"""Container layers: a writable folder on top of an image's layers, and the tree that both make."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.store.layers import LayerStore
    from wherry.store.root import DataRoot
    from wherry.store.stream import ByteStream

MODIFIED, ADDED, DELETED = 0, 1, 2


class Change(Record):
    """A difference between a container and its image. `kind`: 0 modified, 1 added, 2 deleted; `path` is absolute."""

    kind: int
    path: str


class Overlay(Record):
    """The folders of one overlay mount, absolute; `lower` topmost first. `target` is where `mount` attaches it."""

    lower: tuple[str, ...]
    upper: str
    work: str
    target: str


class ContainerLayers:
    """The writable layers of a data root. Operations on one container are serialised by its caller."""

    def __init__(self, root: DataRoot, layers: LayerStore) -> None:
        raise NotImplementedError

    def create(self, container_id: str, chain_id: str = "") -> None:
        """Makes the writable layer of a container over an image's chain ("" for an empty one).

        Raises NotFound for an unknown chain, Conflict when the container has one.
        """
        raise NotImplementedError

    def list(self) -> tuple[str, ...]:
        """Ids of the containers that have a writable layer."""
        raise NotImplementedError

    def overlay(self, container_id: str) -> Overlay:
        """What to mount, for callers that mount it themselves. Raises NotFound."""
        raise NotImplementedError

    def mount(self, container_id: str) -> str:
        """Mounts the container's tree; its path (`overlay2/<id>/merged`). Mounts are counted: each needs its unmount.

        Raises NotFound for an unknown container.
        """
        raise NotImplementedError

    def unmount(self, container_id: str) -> None:
        """Undoes one mount; the last one takes the tree away. Harmless when it is not mounted."""
        raise NotImplementedError

    def remove(self, container_id: str) -> None:
        """Removes the writable layer with everything in it (unmounts it first). Raises NotFound."""
        raise NotImplementedError

    def changes(self, container_id: str) -> tuple[Change, ...]:
        """What `docker diff` shows, sorted by path. Raises NotFound."""
        raise NotImplementedError

    def open_diff(self, container_id: str) -> ByteStream:
        """The writable layer as a layer's tar, with whiteouts: what `commit` registers. Raises NotFound."""
        raise NotImplementedError

    def open_export(self, container_id: str) -> ByteStream:
        """The container's whole tree as a tar: what `export` writes. Mounts it while it is read. Raises NotFound."""
        raise NotImplementedError

    def size(self, container_id: str) -> tuple[int, int]:
        """(bytes in the writable layer, bytes in it and all below): `ps -s`. Raises NotFound."""
        raise NotImplementedError
