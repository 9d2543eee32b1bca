"""Images: configurations by their id, with the parent (classic builder, commit) and time of the last tag beside them."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.image import ImageConfig
    from wherry.store.layers import Layer, LayerStore
    from wherry.store.root import DataRoot


class Image(Record):
    """An image. `id` is `sha256:…` of `raw`; `parent` an image id or ""; `last_tagged_ns` 0 when never tagged."""

    id: str
    config: ImageConfig
    raw: bytes
    parent: str = ""
    last_tagged_ns: int = 0


class ImageStore:
    """All images of a data root. Safe to use from several threads."""

    def __init__(self, root: DataRoot, layers: LayerStore) -> None:
        raise NotImplementedError

    def create(self, config: bytes, *, parent: str = "") -> str:
        """Keeps the configuration and its layers; its id. The layers must be there (hold a lease until this returned).

        The same configuration again is the same image. Raises InvalidArgument for what is not an image config, NotFound for a missing layer
        or parent.
        """
        raise NotImplementedError

    def get(self, image_id: str) -> Image:
        """Raises NotFound: `No such image: <id>`."""
        raise NotImplementedError

    def list(self) -> tuple[Image, ...]:
        """All images, newest `created` first."""
        raise NotImplementedError

    def remove(self, image_id: str) -> tuple[Layer, ...]:
        """Forgets the image; the layers that went with it, topmost first. Its children lose their parent. Raises NotFound.

        Whether a reference or a container still uses it is for the engine to ask first.
        """
        raise NotImplementedError

    def search(self, prefix: str) -> str:
        """The full id for a short one (hexadecimal, with or without `sha256:`). Raises NotFound, or Conflict when ambiguous."""
        raise NotImplementedError

    def children(self, image_id: str) -> tuple[str, ...]:
        """Ids of the images whose parent is this one."""
        raise NotImplementedError

    def set_parent(self, image_id: str, parent: str) -> None:
        """Raises NotFound."""
        raise NotImplementedError

    def set_last_tagged(self, image_id: str, at_ns: int) -> None:
        """Notes when the image was last tagged (nanoseconds since 1970). Raises NotFound."""
        raise NotImplementedError

    def size(self, image_id: str) -> int:
        """Bytes in the files of all its layers."""
        raise NotImplementedError
