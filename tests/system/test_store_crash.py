"""A killed daemon and a full disk: at every named point, the next start finds the old state or the new one, and nothing half made."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from wherry import trace
from wherry.oci.digest import digest_of
from wherry.oci.reference import parse_name
from wherry.store.images import ImageStore
from wherry.store.imagetar import ImageArchive
from wherry.store.layers import LayerStore
from wherry.store.mounts import ContainerLayers
from wherry.store.references import ReferenceStore
from wherry.store.root import DataRoot
from wherry.store.tarheader import Entry, padding, write_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD, NEW = "c" * 64, "d" * 64


def archive(members: dict[str, bytes]) -> bytes:
    out = b"".join(write_header(Entry(name=name, size=len(data))) + data + bytes(padding(len(data))) for name, data in members.items())
    return out + bytes(1024)


def image(tag: str, *layers: bytes) -> bytes:
    config = json.dumps({"architecture": "amd64", "os": "linux", "author": tag,
                         "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in layers]}}).encode()
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "c", "RepoTags": [tag], "Layers": names}]).encode()
    return archive({**dict(zip(names, layers, strict=True)), "c": config, "manifest.json": manifest})


BASE = archive({"base": b"1", "etc/passwd": b"root"})
OWN = archive({f"files/{number}": b"x" * 5000 for number in range(30)})
FIRST = image("first:1", BASE)
SECOND = image("second:1", BASE, OWN, archive({"top": b"3"}))


class Store:
    """All stores of a root, as a daemon's start makes them."""

    def __init__(self, path: str) -> None:
        self.root = DataRoot.open(path)
        self.layers = LayerStore(self.root)
        self.images = ImageStore(self.root, self.layers)
        self.references = ReferenceStore(self.root)
        self.containers = ContainerLayers(self.root, self.layers)
        self.archive = ImageArchive(self.layers, self.images, self.references)
        self.layers.collect_unclaimed()

    def image(self, name: str) -> str:
        return self.references.lookup(parse_name(name))


def check(store: Store) -> None:
    """Everything named is there and whole, and there is nothing that nobody names."""
    root = store.root
    used = {layer.cache_id for layer in store.layers.list()}
    for layer in store.layers.list():
        tar = hashlib.sha256(store.layers.open_tar(layer.chain_id).read()).hexdigest()
        assert f"sha256:{tar}" == layer.diff_id
        assert any(layer in store.layers.chain(one.config.chain_id) for one in store.images.list())
    for container in store.containers.list():
        overlay = store.containers.overlay(container)
        assert all(os.path.isdir(folder) for folder in (*overlay.lower, overlay.upper, overlay.work))
        mount_id = os.path.basename(os.path.dirname(overlay.upper))
        used |= {mount_id, f"{mount_id}-init"}
        store.containers.mount(container)
        store.containers.unmount(container)
    assert set(os.listdir(root.overlay.path)) - {"l"} == used
    links = os.listdir(root.overlay.links)
    assert len(links) == len(used)
    assert all(os.path.isdir(f"{root.overlay.links}/{link}") for link in links)
    assert os.listdir(root.half_made) == []
    assert os.listdir(root.temporary) == []
    assert (store.layers.damaged, store.images.damaged) == ((), ())
    for one in store.references.list():
        store.images.get(one.image_id)


@pytest.fixture
def path() -> Iterator[str]:
    top = tempfile.mkdtemp(prefix="wherry-crash-", dir="/var/tmp")
    made = f"{top}/root"
    store = Store(made)
    store.archive.load(io.BytesIO(FIRST))
    store.containers.create(OLD, store.images.get(store.image("first:1")).config.chain_id)
    store.root.close()
    yield made
    shutil.rmtree(top)


class Dying:
    """A stream that kills its reader after so many bytes."""

    def __init__(self, data: bytes, after: int) -> None:
        self._file = io.BytesIO(data)
        self._after = after

    def read(self, size: int = -1, /) -> bytes:
        if self._file.tell() >= self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._file.read(min(size, 4096))


def load(store: Store) -> None:
    store.archive.load(io.BytesIO(SECOND))


def register(store: Store) -> None:
    with store.layers.lease() as lease:
        lease.register(io.BytesIO(OWN))


def create(store: Store) -> None:
    store.containers.create(NEW, store.images.get(store.image("first:1")).config.chain_id)


def remove(store: Store) -> None:
    store.containers.remove(OLD)


def tag(store: Store) -> None:
    store.references.tag(parse_name("again:2"), store.image("first:1"))


def load_and_remove(store: Store) -> None:
    load(store)
    store.references.untag(parse_name("second:1"))
    store.images.remove(next(one.id for one in store.images.list() if len(one.config.diff_ids) == 3))


def in_child(path: str, work: Callable[[Store], None], sink: Callable[[float, str, str], None]) -> int:
    """The child's wait status: it does the work with the sink watching, and exits with 0."""
    pid = os.fork()
    if pid == 0:
        try:
            gc.disable()
            store = Store(path)
            trace.watch(sink)
            work(store)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def steps_of(path: str, work: Callable[[Store], None]) -> list[str]:
    """The steps that the work traces, in a copy of the root."""
    copy = path + "-copy"
    subprocess.run(["cp", "-a", path, copy], check=True)
    reader, writer = os.pipe()
    assert in_child(copy, work, lambda _time, step, _subject: os.write(writer, step.encode() + b"\n") and None) == 0
    os.close(writer)
    with open(reader) as lines:
        steps = lines.read().splitlines()
    shutil.rmtree(copy)
    return steps


@pytest.mark.parametrize(("work", "named"), [
    (register, {"layer stage", "layer unpacked", "syncfs", "layer commit", "layer committed", "layer remove", "layer removed"}),
    (load, {"layer stage", "layer commit", "layer committed", "image create", "image created", "references save"}),
    (create, {"container layer create", "container layer commit", "container layer committed"}),
    (remove, {"container layer remove", "container layer removed"}),
    (tag, {"references save"}),
    (load_and_remove, {"image remove", "image removed", "layer remove", "layer removed"}),
])
def test_killed_at_every_step(path: str, work: Callable[[Store], None], named: set[str]) -> None:
    steps = [step for step in steps_of(path, work) if step != "openat2"]
    assert named <= set(steps)
    for number in range(len(steps)):
        copy = f"{path}-{number}"
        subprocess.run(["cp", "-a", path, copy], check=True)
        seen = 0

        def kill(_time: float, step: str, _subject: str, at: int = number) -> None:
            nonlocal seen
            if step != "openat2":
                seen += 1
                if seen > at:
                    os.kill(os.getpid(), signal.SIGKILL)

        assert os.WIFSIGNALED(in_child(copy, work, kill)), steps[number]
        store = Store(copy)
        try:
            check(store)
            assert store.image("first:1")
            assert (OLD in store.containers.list()) or work is remove
            work(store)  # and it can be done now, or was done
        except Exception as err:
            done = work in (create, remove) and type(err).__name__ in ("Conflict", "NotFound")
            if not done:
                raise AssertionError(f"after a kill at {steps[number]} ({number})") from err
        check(store)
        store.root.close()
        shutil.rmtree(copy)


@pytest.mark.parametrize("after", [0, 5000, 20_000, 100_000, len(SECOND) - 4096])
def test_killed_while_an_archive_comes_in(path: str, after: int) -> None:
    status = in_child(path, lambda store: store.archive.load(Dying(SECOND, after)) and None, lambda *_: None)
    assert os.WIFSIGNALED(status)
    store = Store(path)
    check(store)
    assert len(store.images.list()) == 1
    store.root.close()


@pytest.mark.parametrize("after", [0, 5000, 20_000, 100_000])
def test_killed_while_a_layer_comes_in(path: str, after: int) -> None:
    def work(store: Store) -> None:
        with store.layers.lease() as lease:
            lease.register(Dying(OWN, after))

    assert os.WIFSIGNALED(in_child(path, work, lambda *_: None))
    store = Store(path)
    check(store)
    store.root.close()


@pytest.fixture
def small() -> Iterator[tuple[str, Callable[[str], None]]]:
    """A filesystem of its own, and how to change its limits (`size=2m`, `nr_inodes=100`)."""
    place = tempfile.mkdtemp(prefix="wherry-full-", dir="/var/tmp")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=100000", "tmpfs", place], check=True)

    def limit(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)

    yield place, limit
    subprocess.run(["umount", "-l", place], check=True)
    os.rmdir(place)


def used(path: str) -> tuple[int, int]:
    """(KiB, inodes) in use."""
    status = os.statvfs(path)
    return (status.f_blocks - status.f_bfree) * status.f_frsize >> 10, status.f_files - status.f_ffree


@pytest.mark.parametrize("work", [load, register, create, tag])
def test_a_full_disk_leaves_nothing(small: tuple[str, Callable[[str], None]], work: Callable[[Store], None]) -> None:
    place, limit = small
    store = Store(f"{place}/root")
    store.archive.load(io.BytesIO(FIRST))
    store.containers.create(OLD, store.images.get(store.image("first:1")).config.chain_id)
    before = (sorted(layer.chain_id for layer in store.layers.list()), store.references.list(), store.containers.list())
    failed = 0
    for extra in (*range(0, 30, 2), 40, 60, 90):
        limit(f"nr_inodes={used(place)[1] + extra}")
        try:
            work(store)
        except OSError as err:
            assert err.errno == 28, err  # noqa: PT017  # the disk is full, nothing else
            failed += 1
        else:
            break
        finally:
            limit("nr_inodes=100000")
        check(store)
        assert before == (
            sorted(layer.chain_id for layer in store.layers.list()), store.references.list(), store.containers.list())
    assert failed >= 1
    check(store)
    store.root.close()


def test_no_room_for_the_content(small: tuple[str, Callable[[str], None]]) -> None:
    place, limit = small
    store = Store(f"{place}/root")
    for room in (8, 40, 100, 160, 200, 260, 300):
        limit(f"size={used(place)[0] + room}k")
        with pytest.raises(OSError, match="No space left on device"):
            store.archive.load(io.BytesIO(SECOND))
        limit("size=64m")
        check(store)
        assert store.images.list() == ()
    store.archive.load(io.BytesIO(SECOND))
    check(store)
    store.root.close()


def test_a_full_disk_can_be_emptied(small: tuple[str, Callable[[str], None]]) -> None:
    place, limit = small
    store = Store(f"{place}/root")
    store.archive.load(io.BytesIO(SECOND))
    image_id = store.image("second:1")
    store.containers.create(OLD, store.images.get(image_id).config.chain_id)
    store.references.untag(parse_name("second:1"))
    limit(f"nr_inodes={used(place)[1]}")
    limit(f"size={used(place)[0]}k")
    store.containers.remove(OLD)
    assert len(store.images.remove(image_id)) == 3
    check(store)
    store.root.close()
