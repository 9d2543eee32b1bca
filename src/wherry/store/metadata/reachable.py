"""Garbage, as a graph: what is reached from no root. Pure.

A label of a thing says what it refers to (containerd's `docs/garbage-collection.md`); the part after the last point or slash is
only a name for the reference:

    containerd.io/gc.ref.content[.x]            the blob of that digest
    containerd.io/gc.ref.snapshot.<s>[/x]       the snapshot of that key in the snapshotter s
    containerd.io/gc.ref.image[.x]              the image of that name
    containerd.io/gc.bref.content[.x] …         the other way round: whoever needs that one, needs this one
    containerd.io/gc.root                       a root by itself
    containerd.io/gc.expire                     no root any more after that moment (RFC 3339); of leases and images
    containerd.io/gc.flat                       a lease that protects only what it names (and below a snapshot, its parents)
"""

from __future__ import annotations

from wherry.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Final

ROOT: Final = "containerd.io/gc.root"
EXPIRE: Final = "containerd.io/gc.expire"
FLAT: Final = "containerd.io/gc.flat"
_REFERENCES: Final = "containerd.io/gc.ref."
_BACK: Final = "containerd.io/gc.bref."
CONTENT, IMAGES, INGESTS, LEASES, CONTAINERS, SNAPSHOTS = "content", "images", "ingests", "leases", "containers", "snapshots/"


class Node(Record):
    """A thing's place: its namespace, its kind (`content`, `snapshots/<snapshotter>` …) and its name there."""

    namespace: str
    kind: str
    name: str


class Thing(Record):
    """A thing, and what it holds: `refers` by labels and by what it is, `below` whatever it lies on, which it always needs.

    `back` are those that hold it. With `is_flat`, what it refers to is held, but nothing further by labels.
    """

    node: Node
    is_root: bool = False
    is_flat: bool = False
    refers: tuple[Node, ...] = ()
    below: tuple[Node, ...] = ()
    back: tuple[Node, ...] = ()


def referred(namespace: str, labels: Mapping[str, str], prefix: str = _REFERENCES) -> tuple[Node, ...]:
    """What labels refer to."""
    return tuple(_referred(namespace, labels, prefix))


def referred_back(namespace: str, labels: Mapping[str, str]) -> tuple[Node, ...]:
    """Who labels say to be needed by."""
    return referred(namespace, labels, _BACK)


def _referred(namespace: str, labels: Mapping[str, str], prefix: str) -> Iterator[Node]:
    for label, value in labels.items():
        if not label.startswith(prefix):
            continue
        rest = label.removeprefix(prefix)
        for kind in (CONTENT, "image"):
            if rest == kind or rest.startswith((f"{kind}.", f"{kind}/")):
                yield Node(namespace=namespace, kind=CONTENT if kind == CONTENT else IMAGES, name=value)
        if rest.startswith("snapshot."):
            snapshotter = rest.removeprefix("snapshot.").partition("/")[0]
            yield Node(namespace=namespace, kind=SNAPSHOTS + snapshotter, name=value)


def unreached(things: Iterable[Thing]) -> list[Node]:
    """Those that nothing holds, in the order in which they were given."""
    known = {thing.node: thing for thing in things}
    held_by: dict[Node, list[Node]] = {}
    for thing in known.values():
        for holder in thing.back:
            held_by.setdefault(holder, []).append(thing.node)
    reached: dict[Node, bool] = {}  # whether its labels were followed
    ahead = [(thing.node, False) for thing in known.values() if thing.is_root]
    while ahead:
        node, is_flat = ahead.pop()
        found = known.get(node)
        if found is None or reached.get(node, False) or (is_flat and node in reached):
            continue
        reached[node] = not is_flat
        ahead += [(one, is_flat) for one in found.below]
        if not is_flat:
            ahead += [(one, found.is_flat) for one in (*found.refers, *held_by.get(node, ()))]
    return [node for node in known if node not in reached]
