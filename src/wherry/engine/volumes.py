"""Volumes of the driver `local`: folders that outlive containers, or what their options say is to be mounted there.

    volumes/<name>/_data          the content; mounted upon when the options name a device
    volumes/<name>/opts.json      the driver's options, as dockerd's local driver keeps them
    volumes/<name>/wherry.json    labels, and the options as they were given

A volume is in use while a container that exists names it. `mount` and `unmount` are counted by holder: the device is
mounted for the first container that starts with it, and unmounted after the last.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import threading
from typing import TYPE_CHECKING

import msgspec

from wherry.engine import volume_options
from wherry.engine.records import nanoseconds, timestamp
from wherry.errors import Conflict, Internal, InvalidArgument, NotFound
from wherry.linux.file import replace_durably, sync_folder
from wherry.store import foreign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine.containers import Containers
    from wherry.engine.events import Events
    from wherry.engine.filters import Filters
    from wherry.engine.pool import Pool
    from wherry.store.root import DataRoot

DRIVER = "local"
ANONYMOUS = "com.docker.volume.anonymous"
LIST_FILTERS = ("dangling", "driver", "label", "name")
PRUNE_FILTERS = ("all", "label", "label!")

HALF = ".half"
"""The end of a folder's name while it is made or removed; a volume's name cannot begin with a dot as these do."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume. `mountpoint` is its `_data`; labels and options are None where none were given; times are RFC 3339."""

    name: str
    mountpoint: str
    created_at: str
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None
    driver: str = DRIVER

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody gave it a name."""
        return ANONYMOUS in (self.labels or {})


class _Kept(msgspec.Struct, rename="pascal"):
    """`wherry.json`."""

    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None


class Volumes:
    """The volumes of one engine. For the event loop's thread, but for `mount` and `unmount`."""

    def __init__(self, *, pool: Pool, events: Events, containers: Containers, folder: str) -> None:
        self._pool = pool
        self._events = events
        self._containers = containers
        self._folder = folder
        self._volumes: dict[str, Volume] = {}
        self._holders: dict[str, set[str]] = {}
        self._lock = asyncio.Lock()
        self._mounting = threading.Lock()

    async def open(self) -> None:
        """Reads what there is; a volume that a crash left half removed is removed. Call before anything else."""
        await self._pool.run(os.makedirs, self._folder, 0o701, True)
        self._volumes = await self._pool.run(_read_all, self._folder)

    def hand_over(self, root: DataRoot) -> None:
        """Tells dockerd, which may be the next daemon on this root, what their folders do not; for the end.

        Raises OSError, DataLoss.
        """
        foreign.keep_volumes(root, [
            foreign.ForeignVolume(name=one.name, driver=one.driver, labels=_pairs(one.labels), options=_pairs(one.options))
            for one in self])

    # -- looking

    def get(self, name: str) -> Volume:
        """Raises NotFound `get x: no such volume`."""
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"get {name}: no such volume") from None

    def __iter__(self) -> Iterator[Volume]:
        return iter(tuple(self._volumes.values()))

    def users(self, name: str) -> list[str]:
        """The ids of the containers that name a volume, running or not."""
        return [container.id for container in self._containers
                if any(mount.type == "volume" and mount.name == name
                       for mount in (container.record.mount_points or {}).values())]

    def rows(self, filters: Filters) -> list[Volume]:
        """What `docker volume ls` shows, by name. Raises InvalidArgument for filters that make no sense."""
        filters.check(LIST_FILTERS)
        dangling = filters.boolean("dangling", False) if "dangling" in filters else None
        found = [one for one in self._volumes.values()
                 if filters.matches("name", one.name) and filters.is_exact_or_absent("driver", one.driver)
                 and filters.labels_match(one.labels or {})]
        if dangling is not None:
            found = [one for one in found if dangling != bool(self.users(one.name))]
        return sorted(found, key=lambda one: one.name)

    # -- making and removing

    async def create(self, name: str = "", *, driver: str = "", options: dict[str, str] | None = None,
                     labels: dict[str, str] | None = None) -> Volume:
        """Makes a volume, or returns the one of that name; without a name, an anonymous one.

        Whatever the options, as dockerd does. Raises InvalidArgument for names and options, NotFound for a driver.
        """
        if driver not in ("", DRIVER):
            raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')
        if not name:
            name, labels = secrets.token_hex(32), {**(labels or {}), ANONYMOUS: ""}
        elif name not in self._volumes:
            check_name(name)
        try:
            device = volume_options.parse(options or {})
        except InvalidArgument as error:
            raise InvalidArgument(f"create {name}: {error.message}") from error
        async with self._lock:
            if existing := self._volumes.get(name):
                return existing
            volume = await self._pool.run(_make, self._folder, name, _Kept(labels, options), device)
            self._volumes[name] = volume
        self._events.publish("volume", "create", name, {"driver": DRIVER})
        return volume

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Removes a volume with its content. Raises NotFound (not with `force`), Conflict while a container names it."""
        async with self._lock:
            if name not in self._volumes:
                if force:
                    return
                raise NotFound(f"get {name}: no such volume")
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        if users := self.users(name):
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        volume = self._volumes[name]
        await self._pool.run_long(_remove, self._folder, name)
        del self._volumes[name]
        self._holders.pop(name, None)
        self._events.publish("volume", "destroy", name, {"driver": volume.driver})

    async def prune(self, filters: Filters, *, anonymous_only: bool) -> tuple[list[str], int]:
        """Removes volumes that no container names: all, or only those without a name; their names, and the bytes won.

        One with options may be somebody's device or folder: it stays until it is removed by its name.
        """
        filters.check(PRUNE_FILTERS)
        everything = filters.boolean("all", not anonymous_only)
        removed, won = [], 0
        for volume in self:
            labels = volume.labels or {}
            if volume.options or (not everything and not volume.is_anonymous) or not filters.labels_match(labels) \
                    or not filters.no_label_matches(labels):
                continue
            async with self._lock:
                if volume.name not in self._volumes or self.users(volume.name):
                    continue
                size = await self.size(volume)
                await self._remove(volume.name)
            removed.append(volume.name)
            won += size
        self._events.publish("volume", "prune", "", {"reclaimed": str(won)})
        return removed, won

    async def size(self, volume: Volume) -> int:
        """Bytes of the files in it, each counted once however many names it has."""
        return await self._pool.run_long(tree_size, volume.mountpoint)

    # -- use

    def mount(self, name: str, holder: str) -> str:
        """The folder with a volume's content, mounted there when its options say so, for a container that starts.

        To be called in a worker thread, as `unmount`. Raises NotFound, Internal with the kernel's reason when the device
        cannot be mounted.
        """
        volume = self.get(name)
        with self._mounting:
            device = volume_options.parse(volume.options or {})
            if device is not None and not self._holders.get(name):
                _mount(volume, device)
            self._holders.setdefault(name, set()).add(holder)
        return volume.mountpoint

    def unmount(self, name: str, holder: str) -> None:
        """Undoes one mount; harmless when it is not held."""
        with self._mounting:
            holders = self._holders.get(name, set())
            holders.discard(holder)
            volume = self._volumes.get(name)
            if volume is not None and volume.options and not holders:
                volume_options.unmount(volume.mountpoint)

    def hold(self, name: str, holder: str) -> None:
        """Notes that a container found running at start-up has the volume mounted."""
        self._holders.setdefault(name, set()).add(holder)


def check_name(name: str) -> None:
    """Raises InvalidArgument for what cannot be a volume's name, in Docker's words."""
    if len(name) < 2:
        raise InvalidArgument(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" '
            "are allowed. If you intended to pass a host directory, use absolute path")


def tree_size(folder: str) -> int:
    """Bytes of all files below a folder, each counted once; what vanishes meanwhile does not count."""
    seen: set[tuple[int, int]] = set()
    total, folders = 0, [folder]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue
            if is_folder:
                folders.append(entry.path)
            elif (status.st_dev, status.st_ino) not in seen:
                if status.st_nlink > 1:
                    seen.add((status.st_dev, status.st_ino))
                total += status.st_size
    return total


# -- on disk, in worker threads


def _read_all(root: str) -> dict[str, Volume]:
    found: dict[str, Volume] = {}
    # What dockerd knew of the volumes that it made.
    known = {one.name: one for one in foreign.volumes(os.path.dirname(root))}
    for entry in os.scandir(root):
        if entry.name.endswith(HALF) and entry.name.startswith("."):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False) and os.path.isdir(f"{entry.path}/_data"):
            found[entry.name] = _read(root, entry.name, known.get(entry.name))
    return found


def _read(root: str, name: str, before: foreign.ForeignVolume | None = None) -> Volume:
    place = f"{root}/{name}"
    kept = _Kept()
    try:
        with open(f"{place}/wherry.json", "rb") as file:
            kept = msgspec.json.decode(file.read(), type=_Kept)
    except FileNotFoundError:
        if before is None:
            kept.options = volume_options.read_driver_options(place)
        else:
            kept.options, kept.labels = (None if pairs is None else dict(pairs) for pairs in (before.options, before.labels))
    except msgspec.DecodeError as error:
        raise Internal(f"volume {name}: {place}/wherry.json cannot be read: {error}") from error
    created = timestamp(os.stat(f"{place}/_data").st_ctime_ns if not os.path.exists(f"{place}/wherry.json")
                        else os.stat(f"{place}/wherry.json").st_mtime_ns)
    return Volume(name=name, mountpoint=f"{place}/_data", created_at=_whole_seconds(created), labels=kept.labels,
                  options=kept.options)


def _pairs(values: dict[str, str] | None) -> tuple[tuple[str, str], ...] | None:
    return None if values is None else tuple(values.items())


def _make(root: str, name: str, kept: _Kept, device: volume_options.Device | None) -> Volume:
    """Makes the folder under another name and renames it, so that there is never half a volume."""
    place, draft = f"{root}/{name}", f"{root}/.{secrets.token_hex(8)}{HALF}"
    os.mkdir(draft, 0o701)
    try:
        os.mkdir(f"{draft}/_data", 0o755)
        os.chmod(f"{draft}/_data", 0o755)
        if device is not None:
            volume_options.write_driver_options(draft, device)
        replace_durably(f"{draft}/wherry.json", msgspec.json.encode(kept))
        os.rename(draft, place)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(root)
    return _read(root, name)


def _remove(root: str, name: str) -> None:
    """The rename is what removes it; the rest may be done by the next start."""
    place = f"{root}/{name}"
    volume_options.unmount(f"{place}/_data")
    going = f"{root}/.{secrets.token_hex(8)}{HALF}"
    os.rename(place, going)
    sync_folder(root)
    # The volume is gone; what cannot be removed (an immutable file) is tried again at each start.
    shutil.rmtree(going, ignore_errors=True)


def _mount(volume: Volume, device: volume_options.Device) -> None:
    try:
        volume_options.mount(device, volume.mountpoint)
    except OSError as error:
        raise Internal(f"error while mounting volume '{volume.mountpoint}': failed to mount local volume: mount "
                       f"{device.source}:{volume.mountpoint}: {(error.strerror or str(error)).lower()}") from error


def _whole_seconds(moment: str) -> str:
    return timestamp(nanoseconds(moment) // 10**9 * 10**9)
