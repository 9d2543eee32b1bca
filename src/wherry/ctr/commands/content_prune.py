"""`content prune references`: layers that are unpacked need not stay as archives."""

from __future__ import annotations

from wherry.ctr import log
from wherry.ctr.blobs import Blobs
from wherry.ctr.command import Command, Flag
from wherry.ctr.lease import create_lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation

LAYER_PREFIX = "containerd.io/gc.ref.content.l."
OLD_PREFIX = "containerd.io/gc.ref.content."


def references(call: Invocation) -> None:
    """Clears the labels by which manifests hold their layers, then lets the garbage be collected."""
    client, dry = call.client, call.options.on("dry")
    blobs = Blobs(client)
    if dry:
        log.write("debug", "dry run, no changes will be applied")
    for info in list(blobs.list()):
        cleared = {key: "" for key in info.labels if _is_layer(key)}
        for key in cleared:
            if dry or call.globals.on("debug"):
                log.write("debug", "Removing label", digest=info.digest, label=key)
        if cleared and not dry:
            blobs.set_labels(info.digest, cleared)
    if not dry and not call.options.on("async"):
        # the end of a lease can be told to wait for the collection
        client.leases.Delete(id=create_lease(client, "", 0), sync=True)


def _is_layer(key: str) -> bool:
    number = key.removeprefix(OLD_PREFIX)
    return key.startswith(LAYER_PREFIX) or (key.startswith(OLD_PREFIX) and number.isdigit() and int(number) > 0)


REFERENCES = Command(usage="[arguments...]", action=references, flags=(
    Flag(names=("async",), help="do not wait for the garbage collection"),
    Flag(names=("dry",), help="only show what would be cleared"),
))
