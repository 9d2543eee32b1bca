"""`images list`, `delete`, `tag`, `label`."""

from __future__ import annotations

from wherry import errors
from wherry.console.table import columns
from wherry.ctr import log
from wherry.ctr.blobs import Blobs
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.lease import held
from wherry.ctr.values import label_text, labels, size
from wherry.transfer import manifests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.ctr.command import Invocation


def list_(call: Invocation) -> None:
    """Lists images by filters, with their size for this machine's platform."""
    client = call.client
    try:
        found = client.images.List(filters=call.arguments).images
    except errors.WherryError as problem:
        raise CommandFailed(f"failed to list images: {problem.message}") from problem
    if call.options.on("quiet"):
        call.streams.out("".join(f"{one.name}\n" for one in found))
        return
    rows = [("REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS", ""), *(_row(Blobs(client), one) for one in found)]
    call.streams.out(columns(rows, 1, 1))


def _row(blobs: Blobs, image: Any) -> tuple[str, ...]:
    target = manifests.from_message(image.target)
    bytes_ = 0
    try:
        bytes_ = manifests.size(blobs.document, target)
    except errors.WherryError as problem:
        log.write("error", f"failed calculating size for image {image.name}", error=problem.message)
    try:
        platforms = ",".join(manifests.platforms(blobs.document, target)) or "-"
    except errors.WherryError as problem:
        log.write("error", f"failed resolving platform for image {image.name}", error=problem.message)
        platforms = "-"
    return (image.name, target.media_type, target.digest, size(bytes_), platforms, label_text(image.labels) or "-", "")


def delete(call: Invocation) -> None:
    """Removes names; goes on past one that cannot be removed."""
    failure: errors.WherryError | None = None
    client = call.client
    for name in call.arguments:
        is_last = name == call.arguments[-1]
        try:
            client.images.Delete(name=name, sync=call.options.on("sync") and is_last)
        except errors.NotFound:
            log.write("warning", f"{name}: image not found")
            continue
        except errors.WherryError as problem:
            failure = failure or errors.Internal(f"unable to delete {name}: {problem.message}")
            log.write("error", f"unable to delete {name}", error=problem.message)
            continue
        call.streams.line(name)
    if failure is not None:
        raise failure


def tag(call: Invocation) -> None:
    """Gives an image further names."""
    source, names = call.argument(0), call.arguments[1:]
    if not source:
        raise CommandFailed("please provide an image reference to tag from")
    if not names:
        raise CommandFailed("please provide an image reference to tag to")
    client = call.client
    with held(client):
        image = client.images.Get(name=source).image
        for name in names:
            given = {"name": name, "target": image.target, "labels": dict(image.labels)}
            try:
                client.images.Create(image=given)
            except errors.AlreadyExists:
                if not call.options.on("force"):
                    raise
                client.images.Delete(name=name)
                client.images.Create(image=given)
            call.streams.line(name)


def label(call: Invocation) -> None:
    """Sets labels; an empty value clears one."""
    name, given = call.argument(0), labels(call.arguments[1:])
    if not name:
        raise CommandFailed("please specify an image")
    paths = ["labels"] if call.options.on("replace-all") else [f"labels.{key}" for key in given]
    found = call.client.images.Update(image={"name": name, "labels": given}, update_mask={"paths": paths}).image.labels
    call.streams.line(",".join(f"{key}={value}" for key, value in sorted(found.items())))


LIST = Command(usage="[flags] [<filter>, ...]", action=list_, description="list the images that containerd knows",
               flags=(Flag(names=("quiet", "q"), help="print names only"),))
DELETE = Command(usage="[flags] <ref> [<ref>, ...]", action=delete, description="remove images by name",
                 flags=(Flag(names=("sync",), help="wait until what only these images needed is gone"),))
TAG = Command(usage="[flags] <source_ref> <target_ref> [<target_ref>, ...]", action=tag,
              description="Give an image further names.",
              flags=(Flag(names=("force",), help="take a name that is another image's already"),))
LABEL = Command(usage="[flags] <name> [<key>=<value>, ...]", action=label, description="set and clear an image's labels",
                flags=(Flag(names=("replace-all", "r"), help="clear all other labels"),))
