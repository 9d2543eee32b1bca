"""Container layers: a writable folder on top of an image's layers, and the tree that both make.

    layerdb/mounts/<container id>/mount-id    the cache id of the writable layer
    layerdb/mounts/<container id>/init-id     the cache id of the init layer below it (initlayer.py)
    layerdb/mounts/<container id>/parent      the chain id of the image; absent for an empty one

Nothing here is synced: a container's files are its own affair, and the engine syncs its configuration.
"""

from __future__ import annotations

import os
import threading

from wherry import trace
from wherry.errors import Conflict, NotFound
from wherry.linux.file import read
from wherry.record import Record
from wherry.store import changes as differences
from wherry.store import initlayer, overlaymount
from wherry.store.overlay import unmount
from wherry.store.overlaymount import Overlay
from wherry.store.pack import pack
from wherry.store.stack import Stack
from wherry.store.stream import ByteStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, MutableSequence

    from wherry.store.changes import Change
    from wherry.store.initlayer import Step
    from wherry.store.layers import LayerStore
    from wherry.store.root import DataRoot


_NOTE = "mount-"
_DETACHED = 8
_PREPARED_EACH = 2
_PREPARED_CHAINS = 4


class Prepared(Record):
    """A writable layer that waits for its container: its note in layerdb/tmp, and a descriptor of its detached mount or -1."""

    note: str
    fd: int = -1


class ContainerLayers:
    """The writable layers of a data root. Operations on one container are serialised by its caller."""

    def __init__(self, root: DataRoot, layers: LayerStore) -> None:
        self._root = root
        self._layers = layers
        self._lock = threading.Lock()
        self._mounts: dict[str, int] = {}
        self._plans: dict[str, tuple[Step, ...]] = {}
        self._parents: dict[str, str] = {}
        self._prepared: dict[str, MutableSequence[Prepared]] = {}
        self._detached: dict[str, int] = {}
        self._unswept: MutableSequence[str] = []
        layers.on_removed = self._drop_prepared
        for container_id in os.listdir(f"{root.layerdb}/mounts"):
            parent = self._field(container_id, "parent")
            if parent:
                try:
                    layers.retain(parent)
                except NotFound:
                    continue  # damaged: it can be removed, and mounting it says what is missing
            self._parents[container_id] = parent

    def create(self, container_id: str, chain_id: str = "") -> None:
        """Makes the writable layer of a container over an image's chain ("" for an empty one).

        Raises NotFound for an unknown chain, Conflict when the container has one, Unsupported beyond 128 layers.
        """
        place = f"{self._root.layerdb}/mounts/{container_id}"
        if os.path.lexists(place):
            raise Conflict(f'container "{container_id}" has a writable layer already')
        if chain_id:
            self._layers.retain(chain_id)
        made: Prepared | None = None
        try:
            made = self._take(chain_id) or Prepared(note=self._make(chain_id))
            trace.step("container layer commit", container_id)
            os.rename(made.note, place)
            trace.step("container layer committed", container_id)
        except BaseException:
            if made is not None:
                self._discard(made)
            if chain_id:
                self._layers.release(chain_id)
            raise
        self._parents[container_id] = chain_id
        self._keep_detached(container_id, made.fd)

    def _keep_detached(self, container_id: str, fd: int) -> None:
        """Keeps a prepared mount for the container's first start; of many that never start, only the last few."""
        if fd < 0:
            return
        with self._lock:
            self._detached[container_id] = fd
            while len(self._detached) > _DETACHED:
                os.close(self._detached.pop(next(iter(self._detached))))

    def prepare(self, chain_id: str = "") -> None:
        """Makes a writable layer for the next container on a chain, whose `create` and first `mount` then are one call each.

        For the time after an answer: it costs the kernel milliseconds to make the folders and the overlay. At most two
        wait for each of the four chains used last. Raises NotFound for an unknown chain, OSError.
        """
        with self._lock:
            waiting = self._prepared.pop(chain_id, [])
            self._prepared[chain_id] = waiting  # the last used comes last
            oldest = list(self._prepared)[:-_PREPARED_CHAINS]
            enough = len(waiting) >= _PREPARED_EACH
        for chain in oldest:
            self._drop_prepared(chain)
        if enough:
            return
        if chain_id:
            self._layers.hold(chain_id)
        try:
            note = self._make(chain_id)
            try:
                fd = overlaymount.detached(self._overlay(os.path.basename(note).removeprefix(_NOTE)))
            except OSError:
                fd = -1  # mounted by name, and when it is started
            made = Prepared(note=note, fd=fd)
            with self._lock:
                waiting = self._prepared.setdefault(chain_id, [])
                enough = len(waiting) >= _PREPARED_EACH  # others were preparing at the same time
                if not enough:
                    waiting.append(made)
            if enough:
                self._discard(made)
        finally:
            if chain_id:
                self._layers.release(chain_id, keep=True)
                self._layers.claim(chain_id)

    def _take(self, chain_id: str) -> Prepared | None:
        with self._lock:
            waiting = self._prepared.get(chain_id)
            return waiting.pop() if waiting else None

    def _drop_prepared(self, chain_id: str) -> None:
        with self._lock:
            dropped = self._prepared.pop(chain_id, [])
        for one in dropped:
            self._discard(one)

    def _discard(self, one: Prepared) -> None:
        if one.fd >= 0:
            os.close(one.fd)
        self._root.discard(one.note)

    def _make(self, chain_id: str) -> str:
        """A writable layer that nothing knows but the note in layerdb/tmp which is returned."""
        parent = self._layers.get(chain_id).cache_id if chain_id else ""
        overlay = self._root.overlay
        mount_id = overlay.new_id()
        init_id = f"{mount_id}-init"
        note = f"{self._root.half_made}/{_NOTE}{mount_id}"
        try:
            os.mkdir(note, 0o755)
            _write(f"{note}/mount-id", mount_id)
            _write(f"{note}/init-id", init_id)
            if chain_id:
                _write(f"{note}/parent", chain_id)
            trace.step("container layer create", mount_id)
            init = overlay.create(init_id)
            if parent:
                overlay.put_on(init_id, parent)
            initlayer.apply(self._plan(chain_id, init_id), init)
            overlay.create(mount_id)
            overlay.put_on(mount_id, init_id)
        except BaseException:
            self._root.discard(note)
            raise
        return note

    def close(self) -> None:
        """Removes what was prepared or waits to be swept."""
        for chain_id in tuple(self._prepared):
            self._drop_prepared(chain_id)
        while self._detached:
            os.close(self._detached.popitem()[1])
        self.sweep()

    def _plan(self, chain_id: str, init_id: str) -> tuple[Step, ...]:
        steps = self._plans.get(chain_id)
        if steps is None:
            with Stack(self._root.overlay.lower_folders(init_id)) as image:
                steps = initlayer.plan(image)
            if len(self._plans) > 1000:
                self._plans.clear()
            self._plans[chain_id] = steps
        return steps

    def list(self) -> tuple[str, ...]:
        """Ids of the containers that have a writable layer."""
        return tuple(sorted(os.listdir(f"{self._root.layerdb}/mounts")))

    def overlay(self, container_id: str) -> Overlay:
        """What to mount, for callers that mount it themselves. Raises NotFound."""
        return self._overlay(self._mount_id(container_id))

    def _overlay(self, mount_id: str) -> Overlay:
        overlay = self._root.overlay
        folder = f"{overlay.path}/{mount_id}"
        return Overlay(
            base=overlay.path,
            links=tuple(f"l/{link}" for link in overlay.lower(mount_id)),
            upper=f"{folder}/diff",
            work=f"{folder}/work",
            target=f"{folder}/merged",
        )

    def mount(self, container_id: str) -> str:
        """Mounts the container's tree; its path (`overlay2/<id>/merged`). Mounts are counted: each needs its unmount.

        One that is still there from an earlier life of the daemon is taken over. Raises NotFound for an unknown
        container.
        """
        overlay = self.overlay(container_id)
        path = overlay.target
        with self._lock:
            count = self._mounts.get(container_id, 0)
            if not count:
                try:
                    os.mkdir(path, 0o755)
                except FileExistsError:
                    pass
                fd = self._detached.pop(container_id, -1)
                if fd >= 0:
                    overlaymount.attach(fd, path)
                elif not os.path.ismount(path):
                    overlaymount.mount(overlay)
            self._mounts[container_id] = count + 1
        return path

    def unmount(self, container_id: str) -> None:
        """Undoes one mount; the last one takes the tree away. Harmless when it is not mounted."""
        with self._lock:
            count = self._mounts.pop(container_id, 0)
            if count > 1:
                self._mounts[container_id] = count - 1
                return
            self._detach(container_id)

    def _detach(self, container_id: str) -> None:
        mount_id = self._field(container_id, "mount-id")
        path = f"{self._root.overlay.path}/{mount_id}/merged"
        if mount_id and os.path.isdir(path):
            unmount(path)
            os.rmdir(path)

    def remove(self, container_id: str, *, later: bool = False) -> None:
        """Removes the writable layer with everything in it (unmounts it first). Raises NotFound.

        With `later` the container only loses it; `sweep`, or the next start, unmounts it and empties the disk.
        """
        mount_id = self._mount_id(container_id)
        note = f"{self._root.half_made}/unmount-{mount_id}"
        with self._layers.releasing(self._parents.get(container_id, "")):
            trace.step("container layer remove", container_id)
            os.rename(f"{self._root.layerdb}/mounts/{container_id}", note)
            trace.step("container layer removed", container_id)
            with self._lock:
                self._parents.pop(container_id, None)
                self._mounts.pop(container_id, None)
                self._unswept.append(note)
                fd = self._detached.pop(container_id, -1)
            if fd >= 0:
                os.close(fd)
        if not later:
            self.sweep()

    def sweep(self) -> None:
        """Unmounts and removes from the disk what `remove(later=True)` left."""
        while True:
            with self._lock:
                if not self._unswept:
                    return
                note = self._unswept.pop()
            self._root.discard(note)

    def changes(self, container_id: str) -> tuple[Change, ...]:
        """What `docker diff` shows, sorted by path. Raises NotFound."""
        mount_id = self._mount_id(container_id)
        upper = os.open(self._root.overlay.diff(mount_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Stack(self._root.overlay.lower_folders(mount_id)) as lower:
                return differences.changes(upper, lower)
        finally:
            os.close(upper)

    def open_diff(self, container_id: str) -> ByteStream:
        """The writable layer as a layer's tar, with whiteouts: what `commit` registers. Raises NotFound."""
        return pack(self._root.overlay.diff(self._mount_id(container_id)), whiteouts=True)

    def open_export(self, container_id: str) -> ByteStream:
        """The container's whole tree as a tar: what `export` writes. Mounts it while it is read. Raises NotFound."""
        self._mount_id(container_id)
        return ByteStream(self._export(container_id))

    def _export(self, container_id: str) -> Generator[bytes, None, None]:
        path = self.mount(container_id)
        try:
            with pack(path) as stream:
                yield from stream
        finally:
            self.unmount(container_id)

    def size(self, container_id: str) -> tuple[int, int]:
        """(bytes in the writable layer, bytes in it and all below): `ps -s`. Raises NotFound."""
        upper = os.open(self._root.overlay.diff(self._mount_id(container_id)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            own = differences.size_of_tree(upper)
        finally:
            os.close(upper)
        return own, own + self._layers.size(self._field(container_id, "parent"))

    def _mount_id(self, container_id: str) -> str:
        mount_id = self._field(container_id, "mount-id")
        if not mount_id:
            raise NotFound(f'container "{container_id}" has no writable layer')
        return mount_id

    def _field(self, container_id: str, file: str) -> str:
        try:
            return read(f"{self._root.layerdb}/mounts/{container_id}/{file}").decode().strip()
        except FileNotFoundError:
            return ""


def _write(path: str, content: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)
