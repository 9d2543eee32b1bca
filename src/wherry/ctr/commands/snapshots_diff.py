"""`snapshots diff` and `unpack`."""

from __future__ import annotations

import contextlib
import os
import time

from wherry.console.streams import write_all
from wherry.ctr.blobs import Blobs, checked
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.commands.snapshots import ROOT_LABEL, snapshotter
from wherry.ctr.lease import held
from wherry.ctr.main import SNAPSHOTTER
from wherry.ctr.unpack import snapshotter_name
from wherry.ctr.unpack import unpack as unpack_image
from wherry.ctr.values import labels
from wherry.oci.image import OCI_LAYER_GZIP
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.ctr.client import Client
    from wherry.ctr.command import Invocation

ACTIVE = 2  # snapshots.proto, Kind


@contextlib.contextmanager
def looked_at(client: Client, name: str, key: str) -> Iterator[Any]:
    """The mounts of a snapshot, by a view where it is a committed one; "" is an empty tree."""
    if key and client.snapshots.Stat(snapshotter=name, key=key).info.kind == ACTIVE:
        yield client.snapshots.Mounts(snapshotter=name, key=key).mounts
        return
    view = f"{key or 'empty'}-view-{os.urandom(6).hex()}"
    mounts = client.snapshots.View(snapshotter=name, key=view, parent=key).mounts
    try:
        yield mounts
    finally:
        client.snapshots.Remove(snapshotter=name, key=view)


def layer_of(client: Client, name: str, key: str, **options: Any) -> Any:
    """The descriptor of the layer between a snapshot and its parent."""
    parent = client.snapshots.Stat(snapshotter=name, key=key).info.parent
    with looked_at(client, name, parent) as lower, looked_at(client, name, key) as upper:
        return client.diffs.Diff(left=lower, right=upper, **options).diff


def diff(call: Invocation) -> None:
    """Writes the layer to stdout; it stays in the content store only when that is asked for."""
    first, second, client, options = call.argument(0), call.argument(1), call.client, call.options
    if not first:
        raise CommandFailed("snapshot id must be provided")
    name = snapshotter(call)
    given = labels(options.many("label"))
    if options.on("keep"):
        given[ROOT_LABEL] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {"media_type": options.text("media-type"), "ref": options.text("ref"), "labels": given}
    with held(client):
        if second:
            with looked_at(client, name, first) as lower, looked_at(client, name, second) as upper:
                made = client.diffs.Diff(left=lower, right=upper, **fields).diff
        else:
            made = layer_of(client, name, first, **fields)
        for data in Blobs(client).chunks(made.digest):
            write_all(call.streams.stdout, data)


def unpack(call: Invocation) -> None:
    """Unpacks the image whose manifest or index has a digest."""
    digest, client = checked(call.argument(0)), call.client
    name = snapshotter_name(client, call.options.text("snapshotter"))
    for image in client.images.List().images:
        if image.target.digest == digest:
            call.streams.out(f"unpacking {digest} ({image.target.media_type})...")
            try:
                unpack_image(client, manifests.from_message(image.target), name)
            except BaseException:
                call.streams.line("")
                raise
            call.streams.line("done")
            return
    raise CommandFailed("manifest not found")


DIFF = Command(usage="[flags] <idA> [<idB>]", action=diff, flags=(
    Flag(names=("media-type",), kind="string", default=OCI_LAYER_GZIP, help="media type of the layer"),
    Flag(names=("ref",), kind="string", help="name of the write into the content store"),
    Flag(names=("keep",), help="keep the layer in the content store; to be deleted by hand"),
    Flag(names=("label",), kind="strings", help="label for the layer"),
))
UNPACK = Command(usage="[flags] <digest>", action=unpack, flags=(SNAPSHOTTER,))
