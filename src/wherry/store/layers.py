"""Layers: unpacked once, named by what they contain, kept while an image, a container, a child or a lease needs them."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from wherry.store.root import DataRoot
    from wherry.store.stream import ByteStream, Readable


class Layer(Record):
    """A committed layer. `parent` is a chain id, "" for the lowest; `size_bytes` counts this layer's files alone."""

    chain_id: str
    diff_id: str
    parent: str
    size_bytes: int
    cache_id: str


class Lease:
    """Protects layers for as long as its `with` block runs: what is registered or held through it stays.

    At the end, layers that were taken through it and that nothing else needs are removed again (an image created
    meanwhile needs its layers); after `keep()` they stay for the next attempt, until `LayerStore.collect()`.
    """

    def register(self, stream: Readable, parent: str = "", *, expected_diff_id: str = "") -> Layer:
        """Unpacks a layer's tar (plain, gzip, zstd, bzip2 or xz, by its first bytes) on top of the chain `parent`.

        Hashes, unpacks and notes the tar-split in one pass; synced to disk when it returns; when the same layer is
        there already, that one is returned. The stream is read to its end, so a caller can check a digest of his own.
        Raises NotFound for an unknown parent, InvalidArgument for what is not a tar or leaves the layer's folder, DataLoss when
        the content is cut or not `expected_diff_id`, OSError when the disk is full. Nothing is left behind then.
        """
        raise NotImplementedError

    def hold(self, chain_id: str) -> Layer:
        """The layer, protected. Raises NotFound."""
        raise NotImplementedError

    def keep(self) -> None:
        """Leaves unneeded layers in place at the end."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError


class LayerStore:
    """All layers of a data root. Safe to use from several threads."""

    def __init__(self, root: DataRoot) -> None:
        raise NotImplementedError

    def lease(self) -> Lease:
        """A new lease, to be used with `with`."""
        raise NotImplementedError

    def get(self, chain_id: str) -> Layer:
        """Raises NotFound: `layer does not exist`."""
        raise NotImplementedError

    def list(self) -> tuple[Layer, ...]:
        """All committed layers."""
        raise NotImplementedError

    def chain(self, chain_id: str) -> tuple[Layer, ...]:
        """The layer and all below it, lowest first; none for "". Raises NotFound."""
        raise NotImplementedError

    def size(self, chain_id: str) -> int:
        """Bytes in the files of the whole chain: an image's size."""
        raise NotImplementedError

    def retain(self, chain_id: str) -> None:
        """One more user of the chain (an image or a container). Raises NotFound."""
        raise NotImplementedError

    def release(self, chain_id: str) -> tuple[Layer, ...]:
        """One user less; removes and returns the layers that nobody needs any longer, topmost first."""
        raise NotImplementedError

    def collect(self) -> tuple[Layer, ...]:
        """Removes and returns all layers that nobody needs."""
        raise NotImplementedError

    def open_tar(self, chain_id: str) -> ByteStream:
        """The layer's tar, byte for byte as it was registered. Raises DataLoss while reading when the files were changed."""
        raise NotImplementedError
