"""`content prune references`: layers that are unpacked need not stay as archives."""

from __future__ import annotations

from wherry.ctr import log
from wherry.ctr.blobs import Blobs
from wherry.ctr.command import Command, Flag
from wherry.ctr.lease import create_lease
from wherry.transfer.holding import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.ctr.command import Invocation

HOUR_S = 3600.0


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
    # the end of a lease sets the collection off, and can be told to wait for it; ctr does so after a dry run too
    client.leases.Delete(id=create_lease(client, "", HOUR_S), sync=not call.options.on("async"))


def _is_layer(key: str) -> bool:
    """`l.0`, `l.1` …, or of older images `1`, `2` …: the configuration was `0`."""
    name = key.removeprefix(PREFIX)
    return name != key and (name.startswith("l.") or (name.isdigit() and int(name) > 0))


REFERENCES = Command(usage="[arguments...]", action=references, flags=(
    Flag(names=("async",), help="do not wait for the garbage collection"),
    Flag(names=("dry",), help="only show what would be cleared"),
))
