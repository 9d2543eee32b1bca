"""`images check`: what of each image is in the store, and whether it is unpacked."""

from __future__ import annotations

from wherry import errors
from wherry.console.table import columns
from wherry.ctr import log
from wherry.ctr.blobs import Blobs
from wherry.ctr.command import Command, Flag
from wherry.ctr.main import SNAPSHOTTER
from wherry.ctr.unpack import is_unpacked, snapshotter_name
from wherry.ctr.values import size
from wherry.record import Record
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation
    from wherry.oci.image import Descriptor


class Parts(Record):
    """What an image needs and what of it is here; None for an image whose manifest is not."""

    needed: tuple[Descriptor, ...] | None
    here: tuple[Descriptor, ...]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.needed is not None and len(self.here) == len(self.needed)


def parts(blobs: Blobs, target: Descriptor) -> Parts:
    """Looks for configuration and layers of this machine's platform."""
    try:
        manifest = manifests.find(blobs.document, target).manifest
    except errors.NotFound:
        return Parts(needed=None, here=())
    needed = (manifest.config, *manifest.layers)
    return Parts(needed=needed, here=tuple(one for one in needed if blobs.has(one.digest)))


def check(call: Invocation) -> None:
    """Prints a line for each image, or the names of those that are whole and unpacked."""
    client = call.client
    blobs = Blobs(client)
    snapshotter = snapshotter_name(client, call.options.text("snapshotter"))
    failure: errors.WherryError | None = None
    rows: list[tuple[str, ...]] = []
    found = client.images.List(filters=call.arguments).images
    if not found:
        return
    for image in found:
        target = manifests.from_message(image.target)
        try:
            present: Parts | None = parts(blobs, target)
        except errors.WherryError as problem:
            failure = errors.Internal(f"unable to check {image.name}: {problem.message}")
            log.write("error", f"unable to check {image.name}", error=problem.message)
            present = None
        unpacked = False
        try:
            unpacked = is_unpacked(client, target, snapshotter)
        except errors.WherryError as problem:
            failure = failure or errors.Internal(f"unable to check unpack for {image.name}: {problem.message}")
            log.write("error", f"unable to check unpack for {image.name}", error=problem.message)
        rows.append((image.name, target.media_type, target.digest, *_words(present), "true" if unpacked else "false"))
        if call.options.on("quiet") and present is not None and present.is_complete:
            call.streams.line(image.name)
    if not call.options.on("quiet"):
        call.streams.out(columns([("REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED", ""), *rows], 1, 1))
    if failure is not None:
        raise failure


def _words(present: Parts | None) -> tuple[str, str]:
    if present is None:
        return "error", "-"
    here = size(sum(one.size for one in present.here))
    if present.needed is None:
        return f"unavailable ({len(present.here)}/?)", f"{here}/?"
    status = "complete" if present.is_complete else "incomplete"
    return f"{status} ({len(present.here)}/{len(present.needed)})", f"{here}/{size(sum(one.size for one in present.needed))}"


CHECK = Command(usage="[flags] [<filter>, ...]", action=check, description="tell whether all content of images is here", flags=(
    Flag(names=("quiet", "q"), help="print only the names of images that are here whole"), SNAPSHOTTER))
