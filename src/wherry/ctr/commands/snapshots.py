"""`snapshots list`, `info`, `tree`, `usage`, `prepare`, `view`, `commit`, `mounts`, `label`, `delete`."""

from __future__ import annotations

import time

from wherry import errors
from wherry.console.table import columns
from wherry.ctr.command import Command, CommandFailed, Flag
from wherry.ctr.flags import HelpWanted
from wherry.ctr.jsonprint import pretty, without_empty
from wherry.ctr.unpack import snapshotter_name
from wherry.ctr.values import labels, moment_ns, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from wherry.ctr.command import Invocation

KINDS = ("Unknown", "View", "Active", "Committed")
ROOT_LABEL = "containerd.io/gc.root"


def snapshotter(call: Invocation) -> str:
    """The snapshotter that the group's option names."""
    return snapshotter_name(call.client, call.group.text("snapshotter"))


def root_label() -> dict[str, str]:
    """The label that keeps a snapshot which nothing else holds."""
    return {ROOT_LABEL: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def every(call: Invocation, filters: Iterable[str] = ()) -> Iterator[Any]:
    """What is known of each snapshot."""
    for answer in call.client.snapshots.List(snapshotter=snapshotter(call), filters=list(filters)):
        yield from answer.info


def list_(call: Invocation) -> None:
    """Lists snapshots."""
    rows = [("KEY", "PARENT", "KIND", ""), *((one.name, one.parent, KINDS[one.kind], "") for one in every(call))]
    call.streams.out(columns(rows, 1, 1))


def info(call: Invocation) -> None:
    """Prints one snapshot's record."""
    if not call.argument(0):
        raise HelpWanted
    found = call.client.snapshots.Stat(snapshotter=snapshotter(call), key=call.argument(0)).info
    call.streams.line(pretty({"Kind": KINDS[found.kind], "Name": found.name, **without_empty(
        {"Parent": found.parent, "Labels": dict(found.labels)}), "Created": moment_ns(found.created_at),
        "Updated": moment_ns(found.updated_at)}))


def tree(call: Invocation) -> None:
    """Prints each snapshot under its parent."""
    below: dict[str, list[str]] = {}
    for one in every(call):
        below.setdefault(one.parent, []).append(one.name)
    for line in _branches(below, "", 0):
        call.streams.line(line)


def _branches(below: Mapping[str, Sequence[str]], parent: str, level: int) -> Iterator[str]:
    for name in below.get(parent, ()):
        yield "  " * level + ("\\_ " if level else " ") + name
        yield from _branches(below, name, level + 1)


def usage(call: Invocation) -> None:
    """Prints what snapshots use, all or those that are named."""
    name = snapshotter(call)
    keys = call.arguments or [one.name for one in every(call)]
    rows = [("KEY", "SIZE", "INODES", "")]
    for key in keys:
        found = call.client.snapshots.Usage(snapshotter=name, key=key)
        rows.append((key, str(found.size) if call.options.on("b") else size(found.size), str(found.inodes), ""))
    call.streams.out(columns(rows, 1, 1))


def prepare(call: Invocation) -> None:
    """Makes an active snapshot."""
    _make(call, "Prepare")


def view(call: Invocation) -> None:
    """Makes a read-only snapshot."""
    _make(call, "View")


def _make(call: Invocation, method: str) -> None:
    if not 1 <= len(call.arguments) <= 2:
        raise HelpWanted
    mounts = getattr(call.client.snapshots, method)(snapshotter=snapshotter(call), key=call.argument(0), parent=call.argument(1),
                                                    labels=root_label()).mounts
    if target := call.options.text("target"):
        _print_mounts(call, target, mounts)
    if call.options.on("mounts"):
        call.streams.line(pretty([{"Type": one.type, "Source": one.source, "Options": list(one.options)} for one in mounts]))


def _print_mounts(call: Invocation, target: str, mounts: Iterable[Any]) -> None:
    """The commands that would mount it."""
    for one in mounts:
        call.streams.line(f"mount -t {one.type} {one.source} {target} -o {','.join(one.options)}")


def mounts_(call: Invocation) -> None:
    """Prints the commands that mount a snapshot at a target."""
    if len(call.arguments) != 2:
        raise HelpWanted
    found = call.client.snapshots.Mounts(snapshotter=snapshotter(call), key=call.argument(1)).mounts
    _print_mounts(call, call.argument(0), found)


def commit(call: Invocation) -> None:
    """Commits an active snapshot under a name."""
    if len(call.arguments) != 2:
        raise HelpWanted
    call.client.snapshots.Commit(snapshotter=snapshotter(call), name=call.argument(0), key=call.argument(1), labels=root_label())


def delete(call: Invocation) -> None:
    """Removes snapshots; stops at one that cannot be removed."""
    name = snapshotter(call)
    for key in call.arguments:
        try:
            call.client.snapshots.Remove(snapshotter=name, key=key)
        except errors.WherryError as problem:
            raise CommandFailed(f'failed to remove "{key}": {problem.message}') from problem


def label(call: Invocation) -> None:
    """Sets labels; an empty value clears one."""
    name, given = call.argument(0), labels(call.arguments[1:])
    paths = [f"labels.{key}" for key in given]
    found = call.client.snapshots.Update(snapshotter=snapshotter(call), info={"name": name, "labels": given},
                                         update_mask={"paths": paths} if paths else None).info.labels
    call.streams.line(",".join(f"{key}={value}" for key, value in sorted(found.items())))


_MAKING = (
    Flag(names=("target", "t"), kind="string", help="folder; the commands that mount it there are printed"),
    Flag(names=("mounts",), help="print the mounts as JSON"),
)
LIST = Command(usage="[arguments...]", action=list_)
INFO = Command(usage="<key>", action=info)
TREE = Command(usage="[arguments...]", action=tree)
USAGE = Command(usage="[flags] [<key>, ...]", action=usage, flags=(Flag(names=("b",), help="print bytes"),))
PREPARE = Command(usage="[flags] <key> [<parent>]", action=prepare, flags=_MAKING)
VIEW = Command(usage="[flags] <key> [<parent>]", action=view, flags=_MAKING)
COMMIT = Command(usage="<key> <active>", action=commit)
MOUNTS = Command(usage="<target> <key>", action=mounts_)
DELETE = Command(usage="<key> [<key>, ...]", action=delete)
LABEL = Command(usage="<name> [<label>=<value> ...]", action=label, description="set and clear a snapshot's labels")
