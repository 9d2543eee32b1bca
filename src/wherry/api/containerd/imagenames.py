"""Under which names content becomes images, by what a client says of the image store. Pure; the rules are containerd's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.transfer import names

if TYPE_CHECKING:
    from wherry.oci.image import Descriptor
    from wherry.proto.transfer_pb2 import ImageReference, ImageStore


def of_target(store: ImageStore, target: Descriptor) -> list[str]:
    """The names of what came as one image: the store's own, and further references that are no prefixes."""
    further = [f"{one.name}@{target.digest}" if one.add_digest else one.name
               for one in store.extra_references if not one.is_prefix]
    return [*([store.name] if store.name else ()), *further]


def of_entry(store: ImageStore, entry: Descriptor) -> list[str]:
    """The names of one of an archive's images, by the prefixes and what its annotations say."""
    found = []
    for reference in store.extra_references:
        if reference.is_prefix:
            name = _annotated(reference, entry)
            if name:
                found.append(name)
            if reference.add_digest and not (name and reference.skip_named_digest):
                found.append(f"{reference.name}@{entry.digest}")
    return found


def _annotated(reference: ImageReference, entry: Descriptor) -> str:
    """A full name counts where it is of that prefix, or any may be; a tag alone is put behind the prefix."""
    only_base = not reference.allow_overwrite
    full = entry.annotations.get(names.IMAGE_NAME, "")
    annotations = {names.REFERENCE_NAME: full} if full else entry.annotations
    name = names.of_annotations(annotations, reference.name, only_base=only_base)
    return "" if full and name != full else name
