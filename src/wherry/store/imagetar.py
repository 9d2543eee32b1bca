"""Images in a tar file: `save`, `load`, `import`."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from wherry.oci.image import Platform
    from wherry.oci.reference import Reference
    from wherry.store.images import ImageStore
    from wherry.store.layers import LayerStore
    from wherry.store.references import ReferenceStore
    from wherry.store.stream import ByteStream, Readable


class Progress(Record):
    """A layer on its way: `id` is the short diff id; bytes so far and in all (0 when not known)."""

    id: str
    current_bytes: int
    total_bytes: int


class Loaded(Record):
    """One image of an archive: its id, and the references it now has from there (none: `Loaded image ID: …`)."""

    image_id: str
    references: tuple[Reference, ...]


class ImageArchive:
    """Save, load and import over the stores of one data root."""

    def __init__(self, layers: LayerStore, images: ImageStore, references: ReferenceStore) -> None:
        raise NotImplementedError

    def save(self, images: Mapping[str, Sequence[Reference]]) -> ByteStream:
        """

         tar of these images (id → references to write with it; none is allowed), that Docker of any age, podman and
        skopeo load.

        Raises NotFound for an unknown id, before the first byte.
        """
        raise NotImplementedError

    def load(self, stream: Readable, progress: Callable[[Progress], None] | None = None) -> tuple[Loaded, ...]:
        """Takes in every image of a docker-archive or OCI layout (plain, gzip, zstd, bzip2 or xz).

        Raises InvalidArgument or DataLoss when the archive or something in it is not what it says; images that came
        before it in the archive stay.
        """
        raise NotImplementedError

    def import_(
        self,
        stream: Readable,
        *,
        config: Mapping[str, Any] | None = None,
        platform: Platform,
        message: str = "",
        created: str,
    ) -> str:
        """Makes an image of one layer from a tar (compressed or not); its id.

        `config` is the image's section of defaults; `created` RFC 3339.

        Raises as Lease.register does.
        """
        raise NotImplementedError
