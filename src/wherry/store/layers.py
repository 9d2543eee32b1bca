"""Layers: unpacked once, named by what they contain, kept while an image, a container, a child or a lease needs them.

    layerdb/sha256/<chain id>/{cache-id,diff,parent,size,tar-split.json.gz}     a committed layer; all text without a newline
    layerdb/tmp/write-…, remove-…                                               half made, half removed (root.py)
    layerdb/tmp/unclaimed-<chain id>                                            committed, but not yet anybody's

A layer is first staged (unpacked, nothing else knows it), then committed onto a parent: the order of a download need
not be that of the chain, and one sync serves many layers.
"""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from wherry import trace
from wherry.errors import DataLoss, NotFound, Unsupported
from wherry.linux.file import read, sync_folder
from wherry.linux.filesystem import syncfs
from wherry.oci.digest import InvalidDigest, hex_of, next_chain_id, parse_digest
from wherry.record import Record
from wherry.store.changes import size_of_tree
from wherry.store.compression import decompress
from wherry.store.root import UNCLAIMED
from wherry.store.splitting import SplitNotes
from wherry.store.stream import ByteStream
from wherry.store.tarread import TarReader
from wherry.store.tarsplit import assemble, total_size
from wherry.store.tree import Root, remove_path
from wherry.store.unpack import Unpacker, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, MutableSequence, Sequence
    from typing import Self

    from wherry.store.root import DataRoot
    from wherry.store.stream import Readable

TAR_SPLIT = "tar-split.json.gz"
MAX_DEPTH = 125  # as Docker: an overlay takes 128, and containers put two on top
_REMOVERS = 4  # threads


class Layer(Record):
    """A committed layer. `parent` is a chain id, "" for the lowest; `size_bytes` counts this layer's files alone."""

    chain_id: str
    diff_id: str
    parent: str
    size_bytes: int
    cache_id: str


class Staged(Record):
    """A layer that was unpacked and waits for its place: `note` is its folder in layerdb/tmp."""

    diff_id: str
    size_bytes: int
    cache_id: str
    note: str


class Lease:
    """Protects layers for as long as its `with` block runs: what is registered or held through it stays.

    At the end, layers that were taken through it and that nothing else needs are removed again (an image created
    meanwhile needs its layers); after `keep()` they stay for the next attempt, until `LayerStore.collect_unclaimed()`.
    """

    def __init__(self, store: LayerStore) -> None:
        self._store = store
        self._held: MutableSequence[str] = []
        self._staged: dict[str, Staged] = {}
        self._keep = False

    def register(self, stream: Readable, parent: str = "", *, expected_diff_id: str = "") -> Layer:
        """Unpacks a layer's tar (plain, gzip, zstd, bzip2 or xz, by its first bytes) on top of the chain `parent`.

        Hashes, unpacks and notes the tar-split in one pass; synced to disk when it returns; when the same layer is
        there already, that one is returned. The stream is read to its end, so a caller can check a digest of his own.
        Raises NotFound for an unknown parent, InvalidArgument for what is not a tar or leaves the layer's folder,
        DataLoss when the content is cut or not `expected_diff_id`, OSError when the disk is full. Nothing is left
        behind then.
        """
        if parent:
            self.hold(parent)
        return self.commit((self.stage(stream, expected_diff_id=expected_diff_id),), parent)[0]

    def stage(self, stream: Readable, *, expected_diff_id: str = "") -> Staged:
        """Unpacks a layer's tar without a place in a chain; may run in several threads at once. Raises as `register`."""
        staged = self._store.stage(stream, expected_diff_id)
        self._staged[staged.note] = staged
        return staged

    def commit(self, staged: Sequence[Staged], parent: str = "") -> tuple[Layer, ...]:
        """Puts staged layers on the chain `parent`, lowest first, and syncs once. Raises NotFound for an unknown parent.

        One that the store has already is dropped in favour of that. Raises Unsupported beyond 125 layers in a chain.
        """
        layers = self._store.commit(staged, parent, self._held)
        for one in staged:
            self._staged.pop(one.note, None)
        return layers

    def hold(self, chain_id: str) -> Layer:
        """The layer, protected. Raises NotFound."""
        self._store.hold(chain_id)
        self._held.append(chain_id)
        return self._store.get(chain_id)

    def keep(self) -> None:
        """Leaves unneeded layers in place at the end."""
        self._keep = True

    def close(self) -> None:
        """Ends the protection."""
        staged, self._staged = self._staged, {}
        for one in staged.values():
            self._store.drop(one)
        held, self._held = self._held, []
        for chain_id in reversed(held):
            self._store.release(chain_id, keep=self._keep)
        for chain_id in held:
            self._store.claim(chain_id, keep=self._keep)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LayerStore:
    """All layers of a data root. Safe to use from several threads.

    `temporary` is a folder on their filesystem for files without a name; `damaged` names the folders of layers that
    cannot be used since a file of theirs is missing or makes no sense (they are left alone); `on_removed` is called with
    the chain id of each layer that goes.
    """

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self.temporary = root.temporary
        self._lock = threading.RLock()
        self._layers: dict[str, Layer] = {}
        self._users: dict[str, int] = {}
        self._held: dict[str, int] = {}  # by leases and removals under way
        self._unclaimed: set[str] = set()  # those of them that have a note in layerdb/tmp
        self.on_removed: Callable[[str], None] | None = None
        self.damaged: tuple[str, ...] = ()
        self._load()

    def _load(self) -> None:
        folder = f"{self._root.layerdb}/sha256"
        damaged = []
        for name in os.listdir(folder):
            try:
                self._layers[f"sha256:{name}"] = _read_layer(folder, name)
            except (OSError, ValueError, InvalidDigest):
                damaged.append(f"{folder}/{name}")
        damaged += [
            f"{folder}/{hex_of(layer.chain_id)}"
            for layer in self._layers.values()
            if layer.parent and layer.parent not in self._layers
        ]
        self.damaged = tuple(sorted(damaged))
        for layer in self._layers.values():
            if layer.parent:
                self._users[layer.parent] = self._users.get(layer.parent, 0) + 1

    def lease(self) -> Lease:
        """A new lease, to be used with `with`."""
        return Lease(self)

    def get(self, chain_id: str) -> Layer:
        """Raises NotFound: `layer does not exist`."""
        layer = self._layers.get(chain_id)
        if layer is None:
            raise NotFound("layer does not exist")
        return layer

    def list(self) -> tuple[Layer, ...]:
        """All committed layers."""
        with self._lock:
            return tuple(self._layers.values())

    def chain(self, chain_id: str) -> tuple[Layer, ...]:
        """The layer and all below it, lowest first; none for "". Raises NotFound."""
        found: list[Layer] = []
        while chain_id:
            layer = self.get(chain_id)
            found.append(layer)
            chain_id = layer.parent
        return tuple(reversed(found))

    def size(self, chain_id: str) -> int:
        """Bytes in the files of the whole chain: an image's size."""
        return sum(layer.size_bytes for layer in self.chain(chain_id))

    def retain(self, chain_id: str) -> None:
        """One more user of the chain (an image or a container). Raises NotFound."""
        with self._lock:
            self.get(chain_id)
            self._users[chain_id] = self._users.get(chain_id, 0) + 1

    def release(self, chain_id: str, *, keep: bool = False) -> tuple[Layer, ...]:
        """One user less; removes and returns the layers that nobody needs any longer, topmost first.

        With `keep` they stay until `collect_unclaimed`.
        """
        removed: list[tuple[Layer, str]] = []
        with self._lock:
            self._users[chain_id] = self._users.get(chain_id, 0) - 1
            while chain_id and not keep and self._users.get(chain_id, 0) <= 0 and chain_id in self._layers:
                layer, note = self._detach(chain_id)
                removed.append((layer, note))
                chain_id = layer.parent
        self._forget(removed)
        return tuple(layer for layer, _ in removed)

    def _forget(self, removed: Sequence[tuple[Layer, str]]) -> None:
        """Discards what was detached; several layers at once, since removing files is mostly waiting for the disk."""
        if self.on_removed is not None:
            for layer, _ in removed:
                self.on_removed(layer.chain_id)
        notes = [note for _, note in removed]
        if len(notes) < 2:
            for note in notes:
                self._root.discard(note)
            return
        with ThreadPoolExecutor(min(len(notes), _REMOVERS), "wherry-remove") as pool:
            for done in [pool.submit(self._root.discard, note) for note in notes]:
                done.result()

    @contextmanager
    def releasing(self, chain_id: str) -> Iterator[None]:
        """Around the removal of a user's own record: afterwards the chain is released, also by the next start.

        For images and containers; harmless for "". When the removal fails, nothing is released.
        """
        going = []
        with self._lock:
            one = chain_id
            while one and self._users.get(one, 0) <= 1 and one in self._layers:
                going.append(one)
                self._held[one] = self._held.get(one, 0) + 1
                try:
                    self._unclaim(one)
                except OSError as err:
                    # On a full disk, removing must go on working; only a crash right now would leave the layer.
                    if err.errno not in (errno.ENOSPC, errno.EDQUOT):
                        raise
                one = self._layers[one].parent
        try:
            yield
            if chain_id:
                self.release(chain_id)
        finally:
            for one in going:
                self.claim(one)

    def _detach(self, chain_id: str) -> tuple[Layer, str]:
        """Takes a layer out of the store: its note in layerdb/tmp is what is left to discard."""
        name = hex_of(chain_id)
        note = f"{self._root.half_made}/remove-{name}-{os.urandom(4).hex()}"
        trace.step("layer remove", chain_id)
        os.rename(f"{self._root.layerdb}/sha256/{name}", note)
        trace.step("layer removed", chain_id)
        layer = self._layers.pop(chain_id)
        self._users.pop(chain_id, None)
        if layer.parent:
            self._users[layer.parent] = self._users.get(layer.parent, 0) - 1
        return layer, note

    def collect_unclaimed(self) -> tuple[Layer, ...]:
        """Removes and returns what pulls and loads left that failed, or died, between their layers and their image.

        For the start of a daemon, when images and containers have been counted, and for pruning.
        """
        folder = self._root.half_made
        with self._lock:
            among = {f"sha256:{name.removeprefix(UNCLAIMED)}" for name in os.listdir(folder) if name.startswith(UNCLAIMED)}
            among -= self._held.keys()
        removed = self._collect(among)
        for chain_id in among:
            self._unclaimed.discard(chain_id)
            remove_path(f"{folder}/{UNCLAIMED}{hex_of(chain_id)}")
        return removed

    def _collect(self, among: set[str]) -> tuple[Layer, ...]:
        removed: MutableSequence[Layer] = []
        while True:
            with self._lock:
                unneeded = [one for one in self._layers if self._users.get(one, 0) <= 0 and one in among - self._held.keys()]
                notes = [self._detach(chain_id) for chain_id in unneeded]
            if not notes:
                return tuple(removed)
            self._forget(notes)
            removed += [layer for layer, _ in notes]

    def open_tar(self, chain_id: str) -> ByteStream:
        """The layer's tar, byte for byte as it was registered.

        Raises NotFound at once, DataLoss while reading when the files were changed.
        """
        return ByteStream(self._tar(self.get(chain_id)))

    def tar_size(self, chain_id: str) -> int:
        """Bytes in the layer's tar. Raises NotFound, DataLoss."""
        self.get(chain_id)
        with open(f"{self._root.layerdb}/sha256/{hex_of(chain_id)}/{TAR_SPLIT}", "rb") as split:
            return total_size(split)

    def _tar(self, layer: Layer) -> Generator[bytes, None, None]:
        split_path = f"{self._root.layerdb}/sha256/{hex_of(layer.chain_id)}/{TAR_SPLIT}"
        with open(split_path, "rb") as split, Root(self._root.overlay.diff(layer.cache_id)) as files:
            yield from assemble(split, lambda name: files.open_file(clean(name)))

    # What leases are made of.

    def stage(self, stream: Readable, expected_diff_id: str = "") -> Staged:
        """Unpacks a tar into a folder that only a note in layerdb/tmp knows of. For Lease."""
        cache_id = self._root.overlay.new_id()
        note = f"{self._root.half_made}/write-{os.urandom(8).hex()}"
        os.mkdir(note, 0o700)
        try:
            # First the note, then what it names: a crash in between leaves nothing that nobody knows.
            _write(f"{note}/cache-id", cache_id)
            trace.step("layer stage", cache_id)
            diff = self._root.overlay.create(cache_id)
            diff_id, size = self._unpack(stream, diff, note, cache_id)
            trace.step("layer unpacked", cache_id)
            if expected_diff_id and diff_id != expected_diff_id:
                raise DataLoss(f"layer verification failed: wrong diff id calculated on extraction {diff_id}, "
                               f"expected {expected_diff_id}")  # fmt: skip
            _write(f"{note}/diff", diff_id)
            _write(f"{note}/size", str(size))
        except BaseException:
            self._root.discard(note)
            raise
        return Staged(diff_id=diff_id, size_bytes=size, cache_id=cache_id, note=note)

    def _unpack(self, stream: Readable, diff: str, note: str, cache_id: str) -> tuple[str, int]:
        _, plain = decompress(stream)
        reader = TarReader(plain, hashed=True)
        with SplitNotes(f"{note}/{TAR_SPLIT}", f"{self._root.overlay.path}/{cache_id}/replaced", reader) as notes:
            unpacker = Unpacker(diff, whiteouts=True, notes=notes)
            unpacker.run(reader)
            notes.finish()
        if not unpacker.replaced:
            return reader.source.digest, unpacker.size_bytes
        with Root(diff) as tree:
            return reader.source.digest, size_of_tree(tree.fd)

    def drop(self, staged: Staged) -> None:
        """Removes a staged layer. For Lease."""
        self._root.discard(staged.note)

    def commit(self, staged: Iterable[Staged], parent: str, held: MutableSequence[str]) -> tuple[Layer, ...]:
        """Gives staged layers their places; their chain ids are retained and added to `held`. For Lease."""
        below = parent
        planned: list[tuple[Staged, Layer | None, str]] = []
        staged = tuple(staged)
        if len(self.chain(parent)) + len(staged) > MAX_DEPTH:
            raise Unsupported("max depth exceeded")
        with self._lock:
            below_cache = self.get(parent).cache_id if parent else ""
            for one in staged:
                chain_id = next_chain_id(below, one.diff_id)
                known = self._layers.get(chain_id)
                planned.append((one, known, below))
                if known is None:
                    if below:
                        self._root.overlay.put_on(one.cache_id, below_cache)
                        _write(f"{one.note}/parent", below)
                    below_cache = one.cache_id
                else:
                    below_cache = known.cache_id
                    self.hold(chain_id)
                    held.append(chain_id)
                below = chain_id
        if any(known is None for _, known, _ in planned):
            self._sync()
        return tuple(self._place(one, known, under, held) for one, known, under in planned)

    def _sync(self) -> None:
        fd = os.open(self._root.overlay.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def _place(self, one: Staged, known: Layer | None, parent: str, held: MutableSequence[str]) -> Layer:
        chain_id = next_chain_id(parent, one.diff_id)
        with self._lock:
            # Another thread may have been faster since.
            layer = known or self._layers.get(chain_id)
            if layer is None:
                layer = Layer(chain_id=chain_id, diff_id=one.diff_id, parent=parent, size_bytes=one.size_bytes,
                              cache_id=one.cache_id)  # fmt: skip
                self._rename(one, layer)
            if known is None:
                self.hold(chain_id)
                held.append(chain_id)
        if layer.cache_id != one.cache_id:
            self._root.discard(one.note)
        return layer

    def _rename(self, one: Staged, layer: Layer) -> None:
        name = hex_of(layer.chain_id)
        folder = f"{self._root.layerdb}/sha256"
        self._unclaim(layer.chain_id)
        trace.step("layer commit", layer.chain_id)
        os.rename(one.note, f"{folder}/{name}")
        trace.step("layer committed", layer.chain_id)
        sync_folder(folder)
        self._layers[layer.chain_id] = layer
        if layer.parent:
            self._users[layer.parent] = self._users.get(layer.parent, 0) + 1

    def hold(self, chain_id: str) -> None:
        """One more user, who says `claim` before he is no more. Raises NotFound. For Lease."""
        with self._lock:
            self.retain(chain_id)
            self._held[chain_id] = self._held.get(chain_id, 0) + 1

    def _unclaim(self, chain_id: str) -> None:
        """Notes that the layer is nobody's if we die now."""
        if chain_id not in self._unclaimed:
            os.mkdir(f"{self._root.half_made}/{UNCLAIMED}{hex_of(chain_id)}")
            self._unclaimed.add(chain_id)

    def claim(self, chain_id: str, *, keep: bool = False) -> None:
        """One holder less; after the last, the layer is no half-made thing any longer, unless it is kept unneeded. For Lease."""
        with self._lock:
            left = self._held.pop(chain_id, 0) - 1
            if left > 0:
                self._held[chain_id] = left
            elif chain_id in self._unclaimed and not (keep and self._users.get(chain_id, 0) <= 0):
                self._unclaimed.discard(chain_id)
                remove_path(f"{self._root.half_made}/{UNCLAIMED}{hex_of(chain_id)}")


def _read_layer(folder: str, name: str) -> Layer:
    def field(file: str) -> str:
        return read(f"{folder}/{name}/{file}").decode().strip()

    chain_id = parse_digest(f"sha256:{name}")
    try:
        parent = parse_digest(field("parent"))
    except FileNotFoundError:
        parent = ""
    return Layer(chain_id=chain_id, diff_id=parse_digest(field("diff")), parent=parent, size_bytes=int(field("size")),
                 cache_id=field("cache-id"))  # fmt: skip


def _write(path: str, content: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)
