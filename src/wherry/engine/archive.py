"""`docker cp`, both ways, and the stat that goes before it: paths of containers that run and that do not.

Names are resolved inside the container's tree by the kernel. The last part of a path is not followed where Docker does
not: a symlink is copied as a symlink, its target is in the stat.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING

import msgspec

from wherry.engine.records import timestamp
from wherry.engine.spec.user import find_user
from wherry.engine.streams import from_thread
from wherry.errors import Forbidden, InvalidArgument, NotFound
from wherry.linux.path import open_in_root
from wherry.store.archive import pack, pack_path, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from wherry.engine.container import Container
    from wherry.engine.events import Events
    from wherry.engine.pool import Pool
    from wherry.engine.rootfs import Roots
    from wherry.engine.spec.places import User
    from wherry.store.mounts import ContainerLayers
    from wherry.store.stream import Readable
    from wherry.store.tarheader import Entry

# What Go's os.FileMode has for the kernel's bits (io/fs), as `X-Docker-Container-Path-Stat` carries it.
_GO_TYPES = {
    0o040000: 1 << 31,
    0o120000: 1 << 27,
    0o060000: 1 << 26,
    0o010000: 1 << 25,
    0o140000: 1 << 24,
    0o020000: 1 << 26 | 1 << 21,
}
_GO_BITS = {0o4000: 1 << 23, 0o2000: 1 << 22, 0o1000: 1 << 20}


class PathStat(msgspec.Struct, frozen=True):
    """What `X-Docker-Container-Path-Stat` carries. `mode` is Go's os.FileMode."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str = msgspec.field(default="", name="linkTarget")


class Archive:
    """Copies into and out of containers."""

    def __init__(self, pool: Pool, roots: Roots, layers: ContainerLayers, events: Events) -> None:
        self._pool = pool
        self._roots = roots
        self._layers = layers
        self._events = events

    async def stat(self, container: Container, path: str, *, called: str) -> PathStat:
        """Raises NotFound `Could not find the file X in container Y`, both as the request `called` them, and InvalidArgument."""
        return await self._pool.run(self._stat, container, checked(path), _missing(path, called))

    async def get(self, container: Container, path: str, *, called: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """The stat, and a tar of the path: named by its last part, or `./` for one that ends in `/.`.

        The container's tree is held until the stream ends. Raises as `stat`.
        """
        found = await self.stat(container, path, called=called)
        self._events.publish("container", "archive-path", container.id, container.attributes())
        return found, from_thread(lambda: self._packed(container, checked(path), _missing(path, called)))

    def export(self, container: Container) -> AsyncIterator[bytes]:
        """The whole tree as a tar: the image and what the container changed, without its volumes."""
        return from_thread(lambda: self._layers.open_export(container.id))

    async def put(self, container: Container, path: str, stream: Readable, *, called: str,
                  no_overwrite_dir_non_dir: bool = False, copy_uid_gid: bool = False) -> None:
        """Unpacks a tar (compressed or not) into a folder of the container.

        Raises NotFound, InvalidArgument (not a folder, not a tar), Forbidden for what is read-only, Conflict when a
        folder would replace a file or the other way round and that is not wanted.
        """
        await self._pool.run_long(self._unpack, container, checked(path), stream, _missing(path, called),
                                  no_overwrite_dir_non_dir, copy_uid_gid)
        self._events.publish("container", "extract-to-dir", container.id, container.attributes())

    def _stat(self, container: Container, path: str, missing: str) -> PathStat:
        with self._roots.opened_for(container, posixpath.normpath(path)) as (root, inner, _):
            fd = _open(root, _with_end(inner, path), missing)
            try:
                found = os.fstat(fd)
                link = stat.S_ISLNK(found.st_mode)
                return PathStat(name=posixpath.basename(posixpath.normpath(path)) or "/", size=found.st_size,
                                mode=_go_mode(found.st_mode), mtime=timestamp(found.st_mtime_ns),
                                link_target=_link_target(fd, path) if link else "")
            finally:
                os.close(fd)

    def _packed(self, container: Container, path: str, missing: str) -> Iterator[bytes]:
        clean = posixpath.normpath(path)
        with self._roots.opened_for(container, clean) as (root, inner, _):
            name = posixpath.basename(inner)
            if path.endswith(("/.", "/")) or not name:
                fd = _open(root, _with_end(inner, path), missing, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    label = "." if path.endswith("/.") or clean == "/" else posixpath.basename(clean)
                    if label != ".":
                        yield from pack_path(fd, ".", label)
                    else:
                        yield from pack(fd, prefix="./")
                finally:
                    os.close(fd)
                return
            folder = _open(root, posixpath.dirname(inner) or "/", missing, os.O_PATH | os.O_DIRECTORY)
            try:
                yield from pack_path(folder, name, posixpath.basename(clean))
            finally:
                os.close(folder)

    def _unpack(self, container: Container, path: str, stream: Readable, missing: str, no_overwrite: bool,
                copy_uid_gid: bool) -> None:
        clean = posixpath.normpath(path)
        owner = self._owner(container) if copy_uid_gid else None
        with self._roots.opened_for(container, clean) as (root, inner, writable):
            if not writable:
                raise Forbidden("mounted volume is marked read-only")
            if container.host.readonly_rootfs and not _in_mount(container, clean):
                raise Forbidden("container rootfs is marked read-only")
            try:
                folder = _open(root, inner, missing, os.O_RDONLY | os.O_DIRECTORY)
            except NotADirectoryError:
                raise InvalidArgument("extraction point is not a directory") from None
            try:
                unpack(stream, folder, change=_rules(folder, owner, no_overwrite=no_overwrite))
            finally:
                os.close(folder)

    def _owner(self, container: Container) -> User | None:
        """To whom `copyUIDGID` gives what is unpacked: the container's user; without one, owners stay as the tar has them."""
        user = container.record.config.user
        if not user:
            return None
        with self._roots.opened(container) as root:
            return find_user(f"/proc/self/fd/{root}", user)


def checked(path: str) -> str:
    """The path as an absolute one, its end (`/`, `/.`) kept. Raises InvalidArgument for an empty one."""
    if not path:
        raise InvalidArgument("missing parameter in container archive: path")
    if "\0" in path:
        raise InvalidArgument("invalid path: it contains a NUL byte")
    return "/" + path.lstrip("/")


def _with_end(inner: str, path: str) -> str:
    """A trailing slash or `/.` asks for what a link leads to."""
    return inner.rstrip("/") + "/." if path.endswith(("/", "/.")) else inner


def _missing(path: str, called: str) -> str:
    return f"Could not find the file {path} in container {called}"


def _open(root: int, path: str, missing: str, flags: int = os.O_PATH) -> int:
    """Opens a path below a root; the last part is not followed for a mere look (O_PATH). `missing` says what is not there."""
    if flags == os.O_PATH:
        flags |= os.O_NOFOLLOW
    try:
        return open_in_root(root, path, flags)
    except FileNotFoundError as error:
        raise NotFound(missing) from error
    except NotADirectoryError as error:
        if path.endswith(("/", "/.")):
            raise InvalidArgument(f"not a directory: {path}") from error
        if flags & os.O_DIRECTORY:
            raise
        raise NotFound(missing) from error


def _go_mode(mode: int) -> int:
    """The kernel's st_mode as Go's os.FileMode."""
    value = (mode & 0o777) | _GO_TYPES.get(mode & 0o170000, 0)
    for bit, go in _GO_BITS.items():
        if mode & bit:
            value |= go
    return value


def _link_target(fd: int, path: str) -> str:
    """Where a link leads, as an absolute path in the container."""
    target = os.readlink("", dir_fd=fd)
    return target if target.startswith("/") else posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def _in_mount(container: Container, path: str) -> bool:
    return any(path == destination or path.startswith(destination + "/")
               for destination in container.record.mount_points or {})


def _rules(folder: int, owner: User | None, *, no_overwrite: bool) -> Callable[[Entry], Entry | None]:
    """What is changed or refused of a tar's members: their owner, and kinds that must not change."""
    def change(entry: Entry) -> Entry:
        if no_overwrite:
            _check_kind(folder, entry)
        return entry if owner is None else entry.replace(uid=owner.uid, gid=owner.gid)

    return change


def _check_kind(folder: int, entry: Entry) -> None:
    name = entry.name.rstrip("/")
    try:
        fd = open_in_root(folder, name, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)
    becomes_folder = entry.name.endswith("/")
    if is_folder and not becomes_folder:
        raise InvalidArgument(f'cannot overwrite directory "/{name}" with non-directory "/"')
    if becomes_folder and not is_folder:
        raise InvalidArgument(f'cannot overwrite non-directory "/{name}" with directory "/"')
