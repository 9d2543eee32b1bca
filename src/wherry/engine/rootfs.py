"""A container's tree as a descriptor, whether it runs or not.

Of a running container it is `/proc/<pid>/root`: the tree as its processes see it, with its volumes and tmpfs. One that
does not run has its overlay mounted for as long as the descriptor is used. Paths are then resolved by the kernel
inside that descriptor (`linux/path.py`): nothing of the container can lead out of it, and no thread enters a namespace.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherry.errors import Conflict
from wherry.linux.path import make_folders
from wherry.linux.process import is_alive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.engine.container import Container
    from wherry.engine.records import MountRecord
    from wherry.store.mounts import ContainerLayers

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Roots:
    """Opens the trees of containers; in worker threads."""

    def __init__(self, layers: ContainerLayers) -> None:
        self._layers = layers

    @contextmanager
    def opened(self, container: Container) -> Iterator[int]:
        """A descriptor (O_PATH) of the container's root, for the length of the block."""
        shim = container.shim
        if shim is not None and container.state.running:
            fd = _root_of(shim.pid, shim.start_time, container.id)
            try:
                yield fd
            finally:
                os.close(fd)
            return
        path = self._layers.mount(container.id)
        try:
            fd = os.open(path, _FOLDER)
            try:
                _make_working_folder(fd, container)
                yield fd
            finally:
                os.close(fd)
        finally:
            self._layers.unmount(container.id)

    @contextmanager
    def opened_for(self, container: Container, path: str) -> Iterator[tuple[int, str, bool]]:
        """Root, path below it, and whether it may be written, for a path of the container.

        A stopped container's volumes and binds are not mounted: a path in one of them is looked up in its source.
        """
        mount = None if container.state.running else _mount_of(container.record.mount_points or {}, path)
        if mount is None:
            with self.opened(container) as root:
                yield root, path, True
            return
        fd = os.open(mount.source, _FOLDER)
        try:
            yield fd, path[len(mount.destination):] or "/", mount.rw
        finally:
            os.close(fd)


def _make_working_folder(root: int, container: Container) -> None:
    """A container's working folder is there from its making on, for `cp`; the first start makes it, or who looks before that."""
    if container.record.config.working_dir and not container.record.has_been_started_before:
        try:
            os.close(make_folders(root, container.record.config.working_dir))
        except OSError:  # something else is in its place, or the disk is full: the start will say so
            return


def _root_of(pid: int, start_time: int, container_id: str) -> int:
    """Looked at after it was opened: the pid may be another process's by now, whose root is the host's."""
    try:
        fd = os.open(f"/proc/{pid}/root", _FOLDER)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Conflict(f"Container {container_id} is not running") from error
    if not is_alive(pid, start_time):
        os.close(fd)
        raise Conflict(f"Container {container_id} is not running")
    return fd


def _mount_of(points: dict[str, MountRecord], path: str) -> MountRecord | None:
    """The innermost mount with a source that a path lies in."""
    inside = [one for destination, one in points.items()
              if one.source and os.path.isdir(one.source) and (path == destination or path.startswith(destination + "/"))]
    return max(inside, key=lambda one: len(one.destination), default=None)
