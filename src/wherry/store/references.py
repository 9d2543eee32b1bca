"""References: which name means which image; `repositories.json`, in Docker's familiar names."""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.oci.reference import Reference
    from wherry.store.root import DataRoot


class Association(Record):
    """One name of an image: a tagged reference, or a digested one (from a pull or push)."""

    reference: Reference
    image_id: str


class ReferenceStore:
    """All names of a data root. Safe to use from several threads."""

    def __init__(self, root: DataRoot) -> None:
        raise NotImplementedError

    def tag(self, reference: Reference, image_id: str, *, force: bool = True) -> str:
        """Makes the reference (a tag or a digest, `latest` if neither) mean the image; the id it meant before, or "".

        Raises InvalidArgument for a digest that is moved (`Cannot overwrite digest …`) or a name that reads as a digest (`refusing to create an
        ambiguous tag …`), Conflict when it means another image and `force` is not given.
        """
        raise NotImplementedError

    def untag(self, reference: Reference) -> str:
        """Forgets the reference; the image id that it meant. Raises NotFound: `reference does not exist`."""
        raise NotImplementedError

    def lookup(self, reference: Reference) -> str:
        """The image id. A reference with both is looked up by its digest. Raises NotFound: `reference does not exist`."""
        raise NotImplementedError

    def of_image(self, image_id: str) -> tuple[Reference, ...]:
        """All references that mean the image: tags first, then digests, each sorted."""
        raise NotImplementedError

    def of_name(self, name: str) -> tuple[Association, ...]:
        """All associations of a repository (`docker.io/library/busybox`), sorted."""
        raise NotImplementedError

    def list(self) -> tuple[Association, ...]:
        """Everything, sorted."""
        raise NotImplementedError
