"""The labels by which content holds the content below it, so that the garbage collection leaves it."""

from __future__ import annotations

from wherry import errors
from wherry.oci import image as oci
from wherry.oci.platform import matches
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.oci.image import Descriptor, Platform
    from wherry.transfer.content import Content

PREFIX = "containerd.io/gc.ref.content."


def labels_of(parent: Descriptor, below: tuple[Descriptor, ...]) -> dict[str, str]:
    """The labels for one blob's children: `config`, `l.0`, `l.1` … of a manifest, `m.0` … of an index."""
    if parent.media_type in oci.MANIFESTS:
        config, *layers = below
        return {PREFIX + "config": config.digest, **{f"{PREFIX}l.{at}": one.digest for at, one in enumerate(layers)}}
    return {f"{PREFIX}m.{at}" if one.media_type in oci.INDEXES | oci.MANIFESTS else f"{PREFIX}{at}": one.digest
            for at, one in enumerate(below)}


def hold(blobs: Content, target: Descriptor, platform: Platform | None = None,
         fetch: Callable[[Descriptor], None] | None = None) -> None:
    """Sets the labels of a target and of all below it, parents first; `platform` leaves out what is for others.

    `fetch` brings each blob before it is looked into. What is not there is passed over where there is no `fetch`.
    """
    for descriptor in manifests.walk(blobs.document, target, wanted=platform, skip_missing=fetch is None, fetch=fetch):
        if descriptor.media_type not in oci.INDEXES | oci.MANIFESTS:
            continue
        try:
            below = manifests.children(blobs.document, descriptor)
        except errors.NotFound:
            continue
        if descriptor.media_type in oci.INDEXES and platform is not None:
            below = tuple(one for one in below if one.platform is None or matches(platform, one.platform))
        blobs.set_labels(descriptor.digest, labels_of(descriptor, below))
