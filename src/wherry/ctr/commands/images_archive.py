"""`images import` and `export`."""

from __future__ import annotations

import os
import time

from wherry import errors
from wherry.ctr.blobs import Blobs
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.lease import held
from wherry.ctr.main import SNAPSHOTTER
from wherry.oci.image import Index
from wherry.oci.platform import host_platform, matches, parse_platform
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.client import Client
    from wherry.ctr.command import Invocation
    from wherry.oci.image import Descriptor, Platform


def put_image(client: Client, name: str, target: Descriptor, labels: dict[str, str] | None = None) -> None:
    """Gives a name to content, also where the name means something else."""
    image = {"name": name, "target": manifests.to_message(target), "labels": labels or {}}
    try:
        client.images.Create(image=image)
    except errors.AlreadyExists:
        paths = ["target", *(("labels",) if labels else ())]
        client.images.Update(image=image, update_mask={"paths": paths})


def chosen_platform(call: Invocation) -> Platform | None:
    """By `--platform` and `--all-platforms`; None for all."""
    if call.options.on("all-platforms"):
        return None
    text = call.options.text("platform")
    return parse_platform(text) if text else host_platform()


def import_(call: Invocation) -> None:
    """Stores an archive's images, names them, unpacks them."""
    from wherry.ctr.unpack import snapshotter_name, unpack
    from wherry.transfer.holding import hold
    from wherry.transfer.importing import Named, named_images, read_archive

    options, client = call.options, call.client
    blobs, platform = Blobs(client), chosen_platform(call)
    base = options.text("base-name") or f"import-{time.strftime('%Y-%m-%d')}"
    with held(client):
        path = call.argument(0)
        try:
            file = os.fdopen(os.dup(call.streams.stdin), "rb") if path == "-" else open(path, "rb")  # noqa: SIM115 - closed below
        except OSError as problem:
            raise CommandFailed(f"open {path}: {(problem.strerror or '').lower()}") from problem
        with file:
            index = read_archive(blobs, file, compress=options.on("compress-blobs"))
        entries = [one for one in Index.from_json(blobs.document(index)).manifests
                   if platform is None or one.platform is None or matches(platform, one.platform)]
        if not entries:
            raise CommandFailed("image might be filtered out")
        images = named_images(entries, base, only_base=bool(options.text("base-name")), digests=options.on("digests"),
                              skip_named=options.on("skip-digest-for-named"))
        if options.text("index-name"):
            images.insert(0, Named(name=options.text("index-name"), target=index))
        hold(blobs, index, platform)
        for image in images:
            put_image(client, image.name, image.target)
        if options.on("no-unpack"):
            return
        snapshotter = snapshotter_name(client, options.text("snapshotter"))
        for image in images:
            call.streams.out(f"unpacking {image.name} ({image.target.digest})...")
            try:
                unpack(client, image.target, snapshotter, platform)
            except BaseException:
                call.streams.line("")
                raise
            call.streams.line("done")


def export(call: Invocation) -> None:
    """Writes images to an archive, or to stdout for «-»."""
    from wherry.transfer.exporting import Choice, write_archive

    options, client = call.options, call.client
    path, names = call.argument(0), call.arguments[1:]
    if not path or not names:
        raise CommandFailed("please provide both an output filename and an image reference to export")
    platform = parse_platform(options.text("platform")) if options.text("platform") else host_platform()
    choice = Choice(platform=platform, all_platforms=options.on("all-platforms"),
                    docker_manifest=not options.on("skip-manifest-json"),
                    non_distributable=not options.on("skip-non-distributable"))
    images = [(name, manifests.from_message(client.images.Get(name=name).image.target)) for name in names]
    with (os.fdopen(os.dup(call.streams.stdout), "wb") if path == "-" else open(path, "wb")) as file:
        write_archive(Blobs(client), file, images, choice)


_PLATFORM = Flag(names=("platform",), kind="string", help="platform to choose")
_IMPORT = """Store the images of a tar archive: an OCI layout, or what docker save writes.

An OCI layout may tell of an image's tag alone. Such a tag is put behind --base-name, or behind "import-%{yyyy-MM-dd}".
"""
IMPORT = Command(usage="[flags] <in>", action=import_, description=_IMPORT, flags=(
    Flag(names=("base-name",), kind="string", help="repository for images without one; only images of it are named then"),
    Flag(names=("digests",), help="name images by their digests too (default: false)"),
    Flag(names=("skip-digest-for-named",), help="with --digests: not those that have a name in the archive"),
    Flag(names=("index-name",), kind="string", help="keep the archive's index as an image of this name"),
    Flag(names=("all-platforms",), help="take the content of all platforms"),
    _PLATFORM,
    Flag(names=("no-unpack",), help="do not unpack the images"),
    Flag(names=("compress-blobs",), help="compress layers that are not (what docker save writes)"),
    SNAPSHOTTER,
))
EXPORT = Command(usage="[flags] <out> <image> ...", action=export, description="""Write images to a tar archive.

It is an OCI layout with docker's manifest.json beside, for the images of --platform.
With --all-platforms all content of an index must be here.
""", flags=(
    Flag(names=("skip-manifest-json",), help="leave docker's manifest.json out"),
    Flag(names=("skip-non-distributable",), help="leave layers out that may not be passed on"),
    _PLATFORM,
    Flag(names=("all-platforms",), help="write the content of all platforms"),
))
