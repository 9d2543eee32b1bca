"""Unpacking: the entries of a tar become files below a folder, and nothing outside of it is ever touched.

Names are cleaned first: a leading `/` means the folder itself, a `..` that leads out is refused. Parents are resolved
by the kernel inside the folder; the last part is made anew, never followed. The metadata of folders (owner, mode,
xattrs, time) is set at the end, in reverse: until then nothing inherits a setgid bit or an ACL from them, and their
times are not changed by what is made in them.

With `whiteouts` the archive is a layer, written as overlayfs reads it: `.wh.x` becomes the character device 0/0 `x`,
`.wh..wh..opq` the xattr trusted.overlay.opaque=y of its folder. With `removes` it is a layer as well, and the folder has
what lower layers have: a whiteout removes it. In both a whiteout means what lower layers have, never what its own layer
has (image-spec layer.md, «Whiteouts»).
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from wherry.errors import InvalidArgument
from wherry.store import tarheader
from wherry.store.crc64 import crc64
from wherry.store.removals import OPAQUE, WHITEOUT, Removals, hidden_name
from wherry.store.tarheader import Entry, InvalidTar
from wherry.store.tree import Root, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from wherry.store.tarread import TarReader

    class Notes(Protocol):
        """What wants to know how each entry was stored: tar-split. All names are clean paths below the folder."""

        def entry(self, entry: Entry) -> None:
            """An entry without content, or one whose content is not kept as a file."""

        def wants_checksum(self, entry: Entry, path: str) -> bool:
            """Whether `file` will be called; otherwise the content is handed to `content`."""

        def file(self, entry: Entry, path: str, checksum: int) -> None:
            """The entry's content now is the file `path`."""

        def content(self, piece: bytes) -> None:
            """A piece of content that no file holds as it is (sparse files, contents of whiteouts)."""

        def replaced(self, path: str, folder_fd: int, name: str) -> None:
            """What is at `path` (`name` in `folder_fd`) is about to go, since a later entry takes its place."""


OPAQUE_XATTR = "trusted.overlay.opaque"
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")

_NO_ID = (1 << 32) - 1  # -1 means «leave it» to chown(2)
_MAX_NS = (1 << 63) - 1
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacker:
    """Unpacks one archive into one folder (a path or a descriptor). `size_bytes` counts its files and links.

    Where `replaced` is set, entries took the place of others, which are counted as well.
    """

    def __init__(
        self,
        folder: str | int,
        *,
        whiteouts: bool = False,
        removes: bool = False,
        notes: Notes | None = None,
        change: Callable[[Entry], Entry | None] | None = None,
    ) -> None:
        """`change` may alter each entry, or leave it out (None), before it is unpacked."""
        self._root = Root(folder)
        self._whiteouts = whiteouts
        self._removals = Removals(self._root) if removes else None
        self._notes = notes
        self._change = change
        self._folders: dict[str, Entry] = {}
        self._links: set[str] = set()
        self.size_bytes = 0
        self.replaced = False

    def run(self, reader: TarReader) -> None:
        """Unpacks everything. Raises InvalidTar, DataLoss, OSError; what was unpacked until then stays."""
        with self._root:
            while (entry := reader.next()) is not None:
                changed = self._change(entry) if self._change else entry
                if changed is None:
                    self._unused(reader, entry)
                else:
                    self._unpack(reader, _checked(changed))
            for path, entry in reversed(self._folders.items()):
                self._finish_folder(path, entry)

    def _unpack(self, reader: TarReader, entry: Entry) -> None:
        path = clean(entry.name)
        parent, name = posixpath.split(path)
        if not name:
            if entry.kind != tarheader.FOLDER:
                raise InvalidTar(f'invalid tar entry "{entry.name}": the root is a folder')
            self._folders[""] = entry
            self._unused(reader, entry)
            return
        folder = self._root.folder(parent, make=True)
        if name.startswith(WHITEOUT) and (self._whiteouts or self._removals):
            if self._removals:
                self._removals.obey(parent, name)
            else:
                self._whiteout(folder, name)
            self._unused(reader, entry)
            return
        if self._removals:
            self._removals.keep(path)
        try:
            self._make(reader, entry, path, folder, name)
        except FileExistsError:
            if self._merges(entry, folder, name):
                self._folders[path] = entry
                self._unused(reader, entry)
                return
            opaque = self._make_room(entry, path, folder, name)
            folder = self._root.folder(parent, make=True)
            self._make(reader, entry, path, folder, name)
            if opaque:
                os.setxattr(f"/proc/self/fd/{folder}/{name}", OPAQUE_XATTR, b"y", follow_symlinks=False)

    def _unused(self, reader: TarReader, entry: Entry) -> None:
        """The entry makes no file: its content, if any, is noted as it is."""
        if self._notes is not None:
            self._notes.entry(entry)
            for piece in reader.payload():
                self._notes.content(bytes(piece))
        else:
            reader.skip()
            reader.take_raw()

    def _make(self, reader: TarReader, entry: Entry, path: str, folder: int, name: str) -> None:
        """Makes the file, folder, link or node; raises FileExistsError while nothing was read or made."""
        kind = entry.kind
        if kind == tarheader.REGULAR:
            fd = os.open(name, _CREATE, 0o600, dir_fd=folder)
            try:
                self._fill(reader, entry, path, fd)
                _set_owner_and_mode(fd, entry)
                set_xattrs(fd, entry)
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(fd)
            return
        if kind == tarheader.FOLDER:
            os.mkdir(name, 0o755, dir_fd=folder)
            self._folders[path] = entry
        elif kind == tarheader.LINK:
            self._hard_link(entry, folder, name)
        elif kind == tarheader.SYMLINK:
            os.symlink(entry.link, name, dir_fd=folder)
            self._links.add(path)
            self.size_bytes += len(os.fsencode(entry.link))
            self._finish(entry, folder, name)
        elif kind in _NODES:
            mode = _NODES[kind] | (entry.mode & 0o777)
            os.mknod(name, mode, os.makedev(entry.major, entry.minor), dir_fd=folder)
            self._finish(entry, folder, name)
        else:
            raise InvalidTar(f"unhandled tar header type {kind[0]}")
        self._unused(reader, entry)

    def _fill(self, reader: TarReader, entry: Entry, path: str, fd: int) -> None:
        notes = self._notes
        pieces = reader.payload()
        if entry.sparse is not None:
            if notes is not None:
                notes.entry(entry)
            write_sparse(fd, pieces, entry.sparse, entry.real_size or 0, notes.content if notes else None)
            self.size_bytes += entry.real_size or 0
            return
        self.size_bytes += entry.size
        if notes is None:
            for piece in pieces:
                write_all(fd, piece)
            reader.take_raw()
        elif entry.size == 0:
            notes.entry(entry)
            for _ in pieces:
                pass
        elif not self._through_link(path) and notes.wants_checksum(entry, path):
            checksum = 0
            for piece in pieces:
                checksum = crc64(piece, checksum)
                write_all(fd, piece)
            notes.file(entry, path, checksum)
        else:
            notes.entry(entry)
            for piece in pieces:
                notes.content(bytes(piece))
                write_all(fd, piece)

    def _through_link(self, path: str) -> bool:
        """Whether a parent is a link of this archive: it may lead elsewhere by the time the file is looked for again."""
        if self._links:
            cut = path.find("/")
            while cut > 0:
                if path[:cut] in self._links:
                    return True
                cut = path.find("/", cut + 1)
        return False

    def _hard_link(self, entry: Entry, folder: int, name: str) -> None:
        target = clean(entry.link)
        parent, target_name = posixpath.split(target)
        try:
            # Neither call may evict the other's descriptor: both are held for a moment.
            source = os.dup(self._root.folder(parent))
            try:
                os.link(target_name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(source)
        except FileExistsError:
            raise
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.ELOOP):
                raise InvalidTar(f'invalid hardlink "{entry.name}" -> "{entry.link}": {err.strerror}') from err
            raise

    def _whiteout(self, folder: int, name: str) -> None:
        """Hides what lower layers have under the name, or everything they have in the folder."""
        if name == OPAQUE:
            os.setxattr(f"/proc/self/fd/{folder}", OPAQUE_XATTR, b"y")
            return
        hidden = hidden_name(name)
        if hidden is None:
            return
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=folder)
        except FileExistsError:
            # This layer has it as well, and keeps it; as a folder it must not show what lower layers have in theirs.
            if stat.S_ISDIR(os.stat(hidden, dir_fd=folder, follow_symlinks=False).st_mode):
                os.setxattr(f"/proc/self/fd/{folder}/{hidden}", OPAQUE_XATTR, b"y", follow_symlinks=False)

    def _merges(self, entry: Entry, folder: int, name: str) -> bool:
        if entry.kind != tarheader.FOLDER:
            return False
        return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)

    def _make_room(self, entry: Entry, path: str, folder: int, name: str) -> bool:
        """Removes what is in the way; whether a folder that takes its place must be opaque."""
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        hidden = self._whiteouts and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        if self._notes is not None and not hidden:
            self._notes.replaced(path, folder, name)
        remove_tree(name, folder)
        self.replaced = True
        if stat.S_ISDIR(status.st_mode):
            below = path + "/"
            self._folders = {one: kept for one, kept in self._folders.items() if not (one + "/").startswith(below)}
            self._root.forget()
        return hidden and entry.kind == tarheader.FOLDER

    def _finish(self, entry: Entry, folder: int, name: str) -> None:
        """Owner, mode, xattrs and time of a link or node, none of which may be opened."""
        os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if entry.kind != tarheader.SYMLINK:
            # By descriptor: in a running container, the name may have become a link since.
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    os.chmod(f"/proc/self/fd/{fd}", entry.mode)
            finally:
                os.close(fd)
        if entry.xattrs:
            set_xattrs(f"/proc/self/fd/{folder}/{name}", entry)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _finish_folder(self, path: str, entry: Entry) -> None:
        parent, name = posixpath.split(path)
        where = self._root.folder(parent)
        fd = os.open(name or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
        try:
            _set_owner_and_mode(fd, entry)
            set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)


_NODES = {tarheader.CHARACTER: stat.S_IFCHR, tarheader.BLOCK_DEVICE: stat.S_IFBLK, tarheader.FIFO: stat.S_IFIFO}


def _checked(entry: Entry) -> Entry:
    """The entry, with a time that the kernel takes (others become 1970, as with Docker). Raises InvalidTar for other numbers."""
    if not (0 <= entry.uid < _NO_ID and 0 <= entry.gid < _NO_ID):
        raise InvalidTar(f'"{entry.name}" belongs to {entry.uid}:{entry.gid}: no such ids are possible')
    if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
        raise InvalidTar(f'"{entry.name}" is the device {entry.major}:{entry.minor}: no such numbers are possible')
    return entry if abs(entry.mtime_ns) < _MAX_NS else entry.replace(mtime_ns=0)


def clean(name: str) -> str:
    """The name as a path below the folder, without `.`, `..` and `/` at either end; "" for the folder itself.

    Raises InvalidTar when it leads out, or has a zero byte.
    """
    path = posixpath.normpath(name).lstrip("/")
    if path == ".." or path.startswith("../"):
        raise InvalidTar(f'"{name}" is outside of "/"')
    if "\0" in path:
        raise InvalidTar("archive/tar: invalid tar header")
    return "" if path == "." else path


def write_all(fd: int, data: memoryview | bytes) -> None:
    """Writes all of it, however many calls that takes."""
    written = os.write(fd, data)
    while written < len(data):
        data = data[written:]
        written = os.write(fd, data)


def write_sparse(
    fd: int, pieces: Iterable[memoryview], regions: Iterable[tuple[int, int]], size: int, note: Callable[[bytes], None] | None
) -> None:
    """Writes content to where its map says, holes elsewhere. Raises InvalidTar when they do not fit each other."""
    left: Iterator[tuple[int, int]] = iter([region for region in regions if region[1]])
    offset, room = 0, 0
    for piece in pieces:
        if note is not None:
            note(bytes(piece))
        while piece:
            if not room:
                try:
                    offset, room = next(left)
                except StopIteration:
                    raise InvalidTar("archive/tar: sparse file references non-existent data") from None
                os.lseek(fd, offset, os.SEEK_SET)
            write_all(fd, piece[:room])
            taken = min(room, len(piece))
            room -= taken
            piece = piece[taken:]
    if room or next(left, None) is not None:
        raise InvalidTar("archive/tar: sparse file references non-existent data")
    os.ftruncate(fd, size)


def set_xattrs(target: int | str, entry: Entry) -> None:
    """Sets the entry's xattrs; those of overlayfs itself are left out, and what the filesystem does not know is, as in Docker."""
    for key, value in entry.xattrs.items():
        if key.startswith(OVERLAY_XATTRS):
            continue
        try:
            if isinstance(target, int):
                os.setxattr(target, key, value)
            else:
                os.setxattr(target, key, value, follow_symlinks=False)
        except OSError as err:
            if err.errno == errno.ENOTSUP or (err.errno == errno.EPERM and key.startswith("user.")):
                continue  # EPERM: user.* on links and nodes
            if err.errno in (errno.EINVAL, errno.ERANGE):
                raise InvalidArgument(f'invalid xattr "{key}" of "{entry.name}": {err.strerror}') from err
            raise


def _set_owner_and_mode(fd: int, entry: Entry) -> None:
    # In this order: a change of owner clears setuid bits and security.capability.
    os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
