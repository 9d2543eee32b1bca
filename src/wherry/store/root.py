"""The data root: where everything lies on disk, who may use it, and what is cleaned up when it is opened.

    <root>/wherry.lock                            held while a daemon uses the root
    <root>/image/overlay2/repositories.json       references.py
    <root>/image/overlay2/imagedb/…               images.py
    <root>/image/overlay2/layerdb/…               layers.py, mounts.py
    <root>/image/overlay2/distribution/…          distribution.py
    <root>/overlay2/<cache id>/…                  overlay.py
    <root>/tmp                                    for files without a name
    <root>/containers volumes network             of the engine and the network room

Whatever is made in several steps is noted first: a folder `layerdb/tmp/<what>-<random>` that says which cache ids
belong to it. It is renamed into its place when all is done, and so is what is to be removed, the other way round.
What still lies in `layerdb/tmp` when a root is opened was half made, or half removed, and goes: nobody has to guess
from the thousands of folders in `overlay2` which are in use (BuildKit keeps some there that only it knows).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack

from wherry.errors import Unavailable, Unsupported
from wherry.linux.file import read, sync_folder
from wherry.store.overlay import OverlayFolder
from wherry.store.tree import remove_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, MutableSequence
    from typing import Self

DRIVER = "overlay2"
LOCK = "wherry.lock"
UNCLAIMED = "unclaimed-"  # layers.py
CACHE_ID_FILES = ("cache-id", "mount-id", "init-id")

# A BoltDB file that a running dockerd keeps locked, with flock(2) as we do. Where we hold it, dockerd does not start («error
# while opening volume store metadata database: timeout»). It is made where it is missing; dockerd takes an empty file for a
# new database. The others are only looked at: they tell of versions of dockerd that know the first by another name.
_DOCKERD_LOCK = "volumes/metadata.db"
_ALSO_DOCKERD_S = ("buildkit/cache.db", "network/files/local-kv.db")
_OTHER_DRIVERS = ("aufs", "btrfs", "devicemapper", "fuse-overlayfs", "vfs", "zfs")


class DataRoot:
    """An opened data root of which this process is the only user."""

    def __init__(self, path: str, locks: ExitStack) -> None:
        """Use `open`."""
        self.path = path
        self._locks = locks
        self.image = f"{path}/image/{DRIVER}"
        self.layerdb = f"{self.image}/layerdb"
        self.imagedb = f"{self.image}/imagedb"
        self.distribution = f"{self.image}/distribution"
        self.repositories = f"{self.image}/repositories.json"
        self.temporary = f"{path}/tmp"
        self.half_made = f"{self.layerdb}/tmp"
        self.overlay = OverlayFolder(f"{path}/{DRIVER}")

    @classmethod
    def open(cls, path: str) -> Self:
        """Makes the folders that are missing, takes the lock, and removes what a crash left half made.

        Raises Unavailable when another process uses the root, Unsupported when its images are those of another
        storage driver. What was committed is never removed.
        """
        path = os.path.realpath(path)
        _make_folder(path, 0o710)
        with ExitStack() as locks:
            if not _lock(locks, f"{path}/{LOCK}"):
                raise Unavailable(f'data root "{path}" is in use by another daemon')
            _check_driver(path)
            root = cls(path, locks)
            root._make_folders()
            _lock_out_dockerd(locks, path)
            root._recover()
            root._locks = locks.pop_all()
        return root

    def replace_volume_records(self, content: bytes) -> None:
        """Replaces dockerd's file of volumes. It is the one that keeps dockerd away: the new one is locked before it counts."""
        draft = f"{self.path}/{_DOCKERD_LOCK}.tmp"
        with ExitStack() as undo:
            fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
            os.rename(draft, f"{self.path}/{_DOCKERD_LOCK}")
            undo.pop_all()
            self._locks.callback(os.close, fd)
        sync_folder(f"{self.path}/volumes")

    def close(self) -> None:
        """Gives the locks back."""
        self._locks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_folders(self) -> None:
        """Docker's folders with Docker's modes."""
        for folder, mode in (
            (f"{self.path}/image", 0o700), (self.image, 0o700), (self.imagedb, 0o700), (f"{self.imagedb}/content", 0o700),
            (f"{self.imagedb}/content/sha256", 0o700), (f"{self.imagedb}/metadata", 0o700),
            (f"{self.imagedb}/metadata/sha256", 0o700), (self.layerdb, 0o700), (f"{self.layerdb}/sha256", 0o755),
            (f"{self.layerdb}/mounts", 0o755), (self.half_made, 0o755), (self.distribution, 0o700),
            (self.overlay.path, 0o710), (self.overlay.links, 0o700), (self.temporary, 0o700),
            (f"{self.path}/containers", 0o710), (f"{self.path}/volumes", 0o701),
        ):  # fmt: skip
            _make_folder(folder, mode)

    def _recover(self) -> None:
        # What is unclaimed is judged when all users of layers are known.
        notes = [f"{self.half_made}/{name}" for name in os.listdir(self.half_made) if not name.startswith(UNCLAIMED)]
        for name in os.listdir(self.image):
            if name.startswith("repositories.json.") and name.endswith(".tmp"):
                os.unlink(f"{self.image}/{name}")
        layers, mounts = f"{self.layerdb}/sha256", f"{self.layerdb}/mounts"
        committed: MutableSequence[str] = []
        for name in os.listdir(layers):
            (notes if name.endswith("-removing") else committed).append(f"{layers}/{name}")  # dockerd's way to remove a layer
        if notes:
            committed += [f"{mounts}/{name}" for name in os.listdir(mounts)]
            used = {cache_id for one in committed for cache_id in _cache_ids(one)}
            for note in notes:
                self.discard(note, used)

    def discard(self, note: str, used: Collection[str] = ()) -> None:
        """Removes the overlay folders that a note names, except those in use, then the note."""
        for cache_id in _cache_ids(note):
            if cache_id not in used:
                self.overlay.remove(cache_id)
        remove_path(note)


def _cache_ids(note: str) -> Iterator[str]:
    for file in CACHE_ID_FILES:
        try:
            cache_id = read(f"{note}/{file}").decode(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if cache_id and "/" not in cache_id and not cache_id.startswith("."):
            yield cache_id


def _make_folder(path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        os.mkdir(path, mode)
    os.chmod(path, mode)  # whatever the umask


def _lock(locks: ExitStack, path: str) -> bool:
    """Locks a file, which is made where it is missing, until `locks` is closed; whether nobody else had it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    locks.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_out_dockerd(locks: ExitStack, path: str) -> None:
    """Raises Unavailable while a dockerd uses the root, and keeps one from starting on it afterwards."""
    with ExitStack() as tested:
        if not all(_lock(tested, f"{path}/{name}") for name in _ALSO_DOCKERD_S if os.path.exists(f"{path}/{name}")):
            raise _in_use_by_dockerd(path)
    if not _lock(locks, f"{path}/{_DOCKERD_LOCK}"):
        raise _in_use_by_dockerd(path)


def _in_use_by_dockerd(path: str) -> Unavailable:
    return Unavailable(f'data root "{path}" is in use by dockerd', hint="stop dockerd, or use another --data-root")


def _check_driver(path: str) -> None:
    try:
        found = os.listdir(f"{path}/image")
    except FileNotFoundError:
        return
    others = sorted(set(found) & set(_OTHER_DRIVERS))
    if others and DRIVER not in found:
        raise Unsupported(f'data root "{path}" was written with the storage driver {others[0]}; only {DRIVER} is supported')
