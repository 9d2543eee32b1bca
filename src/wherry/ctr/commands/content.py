"""`content list`, `get`, `ingest`, `active`, `label`, `delete`."""

from __future__ import annotations

import time

from wherry import errors
from wherry.console.streams import write_all
from wherry.console.table import columns, with_tabs
from wherry.console.units import size as decimal_size
from wherry.console.units import span
from wherry.ctr import log
from wherry.ctr.blobs import Blobs, checked
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.values import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from wherry.ctr.command import Invocation


def list_(call: Invocation) -> None:
    """Lists blobs by filters."""
    found = Blobs(call.client).list(call.arguments)
    if call.options.on("quiet"):
        for one in found:
            call.streams.line(one.digest)
        return
    rows = [("DIGEST", "SIZE", "AGE", "LABELS"), *((one.digest, decimal_size(one.size), _age(one.created_at),
            ",".join(f"{key}={value}" for key, value in sorted(one.labels.items())) or "-") for one in found)]
    call.streams.out(columns(rows, 1, 1, with_tabs))


def _age(stamp: Any) -> str:
    return span(time.time() - stamp.seconds - stamp.nanos / 1e9)


def get(call: Invocation) -> None:
    """Writes a blob to stdout."""
    digest = checked(call.argument(0))
    for data in Blobs(call.client).chunks(digest):
        write_all(call.streams.stdout, data)


def ingest(call: Invocation) -> None:
    """Stores stdin."""
    reference, expected = call.argument(0), call.options.text("expected-digest")
    if expected:
        expected = checked(expected)
    if not reference:
        raise CommandFailed("must specify a transaction reference")
    Blobs(call.client).write(reference, _stdin(call), size=call.options.number("expected-size"), digest=expected)


def _stdin(call: Invocation) -> Iterator[bytes]:
    import os

    while data := os.read(call.streams.stdin, 1 << 20):
        yield data


def active(call: Invocation) -> None:
    """Lists what is being written, by a regular expression over the references."""
    statuses = call.client.content.ListStatuses(filters=[f"ref~={call.argument(0)}"] if call.argument(0) else []).statuses
    rows = [("REF", "SIZE", "AGE", ""), *((one.ref, decimal_size(one.offset), span(time.time() - one.started_at.seconds), "")
                                          for one in statuses)]
    call.streams.out(columns(rows, 1, 1, with_tabs))


def delete(call: Invocation) -> None:
    """Deletes blobs; goes on past one that cannot be deleted."""
    failure: errors.WherryError | None = None
    blobs = Blobs(call.client)
    for word in call.arguments:
        try:
            digest = checked(word)
        except errors.InvalidArgument as problem:
            failure = failure or problem
            log.write("error", f"could not delete {word}", error=problem.message)
            continue
        try:
            blobs.delete(digest)
        except errors.NotFound:
            continue
        except errors.WherryError as problem:
            failure = failure or problem
            log.write("error", f"could not delete {digest}", error=problem.message)
            continue
        call.streams.line(digest)
    if failure is not None:
        raise failure


def label(call: Invocation) -> None:
    """Sets labels; an empty value clears one."""
    digest, given = checked(call.argument(0)), labels(call.arguments[1:])
    found = Blobs(call.client).set_labels(digest, given)
    call.streams.line(",".join(f"{key}={value}" for key, value in sorted(found.items())))


LIST = Command(usage="[flags]", action=list_, description="list the blobs in the content store",
               flags=(Flag(names=("quiet", "q"), help="print digests only"),))
GET = Command(usage="[<digest>, ...]", action=get, description="print a blob")
INGEST = Command(usage="[flags] <key>", action=ingest, description="store what comes on stdin", flags=(
    Flag(names=("expected-size",), kind="int", help="bytes that must come"),
    Flag(names=("expected-digest",), kind="string", help="digest that it must have"),
))
ACTIVE = Command(usage="[flags] [<regexp>]", action=active, description="list content on its way into the store", flags=(
    Flag(names=("timeout", "t"), kind="duration", variable="CONTAINERD_FETCH_TIMEOUT", help="give up a fetch that takes longer"),
    Flag(names=("root",), kind="string", default="/tmp/content", help="folder of the content store"),
))
DELETE = Command(usage="[<digest>, ...]", action=delete,
                 description="Delete blobs for good. The digests of those that were deleted are printed.")
LABEL = Command(usage="<digest> [<label>=<value> ...]", action=label, description="set and clear a blob's labels")
