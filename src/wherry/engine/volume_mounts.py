"""A container's mounts made real: volumes found or made, an image's content copied into new ones, folders for binds.

`create` runs when a container is created, `take` and `give_back` in a worker thread at each start and end. What is to
be mounted where was planned by `mounts`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from wherry.engine import mounts as planning
from wherry.engine import propagation
from wherry.engine.volumes import ANONYMOUS
from wherry.errors import InvalidArgument
from wherry.linux.path import open_in_root
from wherry.store.archive import pack, unpack

if TYPE_CHECKING:
    from wherry.engine.container import Container
    from wherry.engine.mounts import MountPoints
    from wherry.engine.records import MountRecord
    from wherry.engine.volumes import Volumes
    from wherry.store.mounts import ContainerLayers


class VolumeMounts:
    """Gives containers their volumes and binds."""

    def __init__(self, volumes: Volumes, layers: ContainerLayers) -> None:
        self._volumes = volumes
        self._layers = layers

    async def create(self, points: MountPoints) -> MountPoints:
        """The mounts with their volumes' folders; missing volumes are made, and are the caller's to remove on failure.

        Raises InvalidArgument when a `--mount` of a folder names one that is not there; see `Volumes.create` for volumes.
        """
        made: MountPoints = {}
        for destination, mount in points.items():
            if mount.type == "bind" and mount.skip_mountpoint_creation and not os.path.lexists(mount.source):
                raise InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
            if mount.type == "volume":
                options = mount.spec.volume_options or {}
                driver = options.get("DriverConfig") or {}
                named = bool(mount.spec.source)
                volume = await self._volumes.create(
                    mount.name, driver=mount.driver, options=driver.get("Options") or None,
                    labels=options.get("Labels") or (None if named else {ANONYMOUS: ""}))
                mount = replace(mount, source=volume.mountpoint, name=volume.name, driver=volume.driver)
            made[destination] = mount
        return made

    async def discard(self, points: MountPoints) -> None:
        """Removes the anonymous volumes that were made for a container that did not come to be."""
        for mount in points.values():
            if planning.is_anonymous(mount):
                await self._volumes.remove(mount.name, force=True)

    def copy_up(self, container_id: str, points: MountPoints) -> None:
        """Fills a container's empty volumes with what its image has at their places; in a worker thread."""
        wanted = [one for one in points.values() if one.type == "volume" and one.copy_data]
        if not wanted:
            return
        rootfs = self._layers.mount(container_id)
        try:
            root_fd = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for mount in wanted:
                    folder = self._volumes.mount(mount.name, container_id)
                    try:
                        _copy(root_fd, mount, folder)
                    finally:
                        self._volumes.unmount(mount.name, container_id)
            finally:
                os.close(root_fd)
        finally:
            self._layers.unmount(container_id)

    def take(self, container: Container) -> MountPoints:
        """Mounts the volumes of a container that starts and makes the missing folders of its `-v` binds."""
        taken: list[str] = []
        found: MountPoints = {}
        try:
            for destination, mount in (container.record.mount_points or {}).items():
                if mount.type == "volume":
                    mount = replace(mount, source=self._volumes.mount(mount.name, container.id))
                    taken.append(mount.name)
                elif mount.type == "bind":
                    _make_source(mount)
                    propagation.check(mount)
                found[destination] = mount
        except BaseException:
            for name in taken:
                self._volumes.unmount(name, container.id)
            raise
        return found

    def give_back(self, container: Container) -> None:
        """Unmounts what `take` mounted; harmless when that is nothing."""
        for name in planning.volumes_of((container.record.mount_points or {}).values()):
            self._volumes.unmount(name, container.id)

    def hold(self, container: Container) -> None:
        """Notes that a container that was found running has its volumes mounted."""
        for name in planning.volumes_of((container.record.mount_points or {}).values()):
            self._volumes.hold(name, container.id)


def _make_source(mount: MountRecord) -> None:
    if os.path.lexists(mount.source):
        return
    if mount.skip_mountpoint_creation:
        raise InvalidArgument(f'invalid mount config for type "bind": bind source path does not exist: {mount.source}')
    try:
        os.makedirs(mount.source, 0o755)
    except OSError as error:
        raise InvalidArgument(f"error while creating mount source path '{mount.source}': mkdir {mount.source}: "
                              f"{(error.strerror or str(error)).lower()}") from error


def _copy(root_fd: int, mount: MountRecord, folder: str) -> None:
    """Copies the image's folder, with its owner and mode, into a volume that is empty."""
    if next(os.scandir(folder), None) is not None:
        return
    try:
        source = open_in_root(root_fd, mount.destination, os.O_RDONLY)
    except OSError:
        return  # the image has nothing there
    try:
        if not os.path.isdir(f"/proc/self/fd/{source}"):
            raise InvalidArgument(f"cannot mount volume over existing file, file exists {mount.destination}")
        with pack(source) as stream:
            unpack(stream, folder)
        status = os.fstat(source)
        os.chown(folder, status.st_uid, status.st_gid)
        os.chmod(folder, status.st_mode & 0o7777)
    finally:
        os.close(source)
