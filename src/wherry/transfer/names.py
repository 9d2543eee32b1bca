"""Images' names in archives: the annotations that carry them, and what a tag alone becomes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_NAME = "io.containerd.image.name"
REFERENCE_NAME = "org.opencontainers.image.ref.name"


def as_annotations(name: str) -> dict[str, str]:
    """What an archive says of an image's name: all of it, and the tag or digest alone."""
    return {IMAGE_NAME: name, REFERENCE_NAME: _object(name)}


def _object(name: str) -> str:
    """What is behind the repository: the tag, or the digest; the whole name where there is neither."""
    _, at, digest = name.rpartition("@")
    if at:
        return digest
    repository, colon, tag = name.rpartition(":")
    return tag if colon and repository and "/" not in tag else name


def of_annotations(found: Mapping[str, str], base: str, *, only_base: bool) -> str:
    """The name to give to an archive's image; "" for none.

    A tag alone is put behind `base`; with `only_base` a full name counts only where it is one of that repository's.
    """
    if found.get(IMAGE_NAME):
        return found[IMAGE_NAME]
    name = found.get(REFERENCE_NAME, "")
    if not name:
        return ""
    if any(sign in name for sign in "/:@"):
        is_of_base = name.startswith(base) and name[len(base):len(base) + 1] in ("", "/", ":", "@")
        return name if is_of_base or not only_base else ""
    return f"{base}:{name}"
