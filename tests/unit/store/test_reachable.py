"""What is garbage: containerd's labels and the graph that they make."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.store.metadata.reachable import CONTENT, IMAGES, LEASES, Node, Thing, referred, referred_back, unreached


def blob(name: str) -> Node:
    return Node(namespace="ns", kind=CONTENT, name=name)


def snapshot(name: str) -> Node:
    return Node(namespace="ns", kind="snapshots/overlayfs", name=name)


@pytest.mark.parametrize(("label", "node"), [
    ("containerd.io/gc.ref.content", blob("x")),
    ("containerd.io/gc.ref.content.l.0", blob("x")),
    ("containerd.io/gc.ref.content/name", blob("x")),
    ("containerd.io/gc.ref.snapshot.overlayfs", snapshot("x")),
    ("containerd.io/gc.ref.snapshot.overlayfs/name", snapshot("x")),
    ("containerd.io/gc.ref.image", Node(namespace="ns", kind=IMAGES, name="x")),
])
def test_labels_that_refer(label: str, node: Node) -> None:
    assert referred("ns", {label: "x", "other": "y"}) == (node,)
    assert referred_back("ns", {label: "x"}) == ()
    assert referred_back("ns", {label.replace(".ref.", ".bref."): "x"}) == (node,)


@pytest.mark.parametrize("label", ["containerd.io/gc.ref.contents", "containerd.io/gc.ref.volume", "containerd.io/gc.ref", "gc.ref.content"])
def test_labels_that_do_not(label: str) -> None:
    assert referred("ns", {label: "x"}) == ()


def test_what_a_root_reaches_stays() -> None:
    things = [
        Thing(node=blob("index"), is_root=True, refers=(blob("manifest"), blob("missing"))),
        Thing(node=blob("manifest"), refers=(blob("layer"), snapshot("top"))),
        Thing(node=blob("layer")),
        Thing(node=blob("alone"), refers=(blob("layer"),)),
        Thing(node=snapshot("top"), below=(snapshot("base"),)),
        Thing(node=snapshot("base")),
        Thing(node=snapshot("other")),
        Thing(node=Node(namespace="else", kind=CONTENT, name="layer")),
    ]
    assert unreached(things) == [blob("alone"), snapshot("other"), Node(namespace="else", kind=CONTENT, name="layer")]


def test_a_flat_lease_holds_what_it_names_and_what_that_lies_on() -> None:
    lease = Node(namespace="ns", kind=LEASES, name="flat")
    things = [
        Thing(node=lease, is_root=True, is_flat=True, refers=(blob("manifest"), snapshot("top"))),
        Thing(node=blob("manifest"), refers=(blob("layer"),)),
        Thing(node=blob("layer")),
        Thing(node=snapshot("top"), below=(snapshot("base"),), refers=(blob("named"),)),
        Thing(node=snapshot("base")),
        Thing(node=blob("named")),
    ]
    assert unreached(things) == [blob("layer"), blob("named")]
    again = Thing(node=Node(namespace="ns", kind=IMAGES, name="i"), is_root=True, refers=(blob("manifest"),))
    assert unreached([*things, again]) == [blob("named")]


def test_a_back_reference_holds_the_other_way_round() -> None:
    things = [Thing(node=blob("image"), is_root=True), Thing(node=blob("signature"), back=(blob("image"),)),
              Thing(node=blob("stray"), back=(blob("gone"),))]
    assert unreached(things) == [blob("stray")]


def test_cycles_end() -> None:
    ring = [Thing(node=blob("a"), refers=(blob("b"),)), Thing(node=blob("b"), refers=(blob("a"),))]
    assert unreached(ring) == [blob("a"), blob("b")]
    assert unreached([ring[0].replace(is_root=True), ring[1]]) == []


NAMES = st.sampled_from("abcdefg")


@given(st.dictionaries(NAMES, st.sets(NAMES), max_size=7), st.sets(NAMES))
def test_it_is_what_following_by_hand_finds(edges: dict[str, set[str]], roots: set[str]) -> None:
    reached: set[str] = set()
    while fresh := {one for one in edges if one not in reached and (one in roots or any(one in edges[other] for other in reached))}:
        reached |= fresh
    things = [Thing(node=blob(name), is_root=name in roots, refers=tuple(map(blob, sorted(to)))) for name, to in edges.items()]
    assert {node.name for node in unreached(things)} == edges.keys() - reached
