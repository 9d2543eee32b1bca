"""Packing: a folder becomes a tar, as Docker writes layers and exports.

Folders come before what is in them, names are sorted, times are whole seconds, hard links among the files packed are
kept, sockets are left out. With `whiteouts` the folder is the upper folder of an overlay, and its marks become `.wh.`
entries. The folder may be a running container's: no link is followed, and a file that shrinks or grows while it is
read has the size that its header said.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry.store import tarheader
from wherry.store.removals import OPAQUE, WHITEOUT
from wherry.store.stack import is_opaque, is_whiteout
from wherry.store.stream import CHUNK, ByteStream, gathered
from wherry.store.tarheader import Entry, write_header
from wherry.store.tree import Node, Walk
from wherry.store.unpack import OVERLAY_XATTRS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NOTHING: Mapping[str, bytes] = type(type.__dict__)({})
_NO_XATTR = frozenset({errno.ENODATA, errno.ENOTSUP, errno.ENOENT, errno.EPERM})
END = bytes(2 * tarheader.BLOCK)


def pack(
    folder: str | int,
    *,
    whiteouts: bool = False,
    prefix: str = "",
    change: Callable[[Entry], Entry | None] | None = None,
) -> ByteStream:
    """What is in a folder (a path or a descriptor, which is duplicated) as a tar; `prefix` goes before each name.

    `change` may alter each entry, or leave it out (None; of a folder, what is in it all the same). Raises OSError
    while it is read.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    fd = os.dup(folder) if isinstance(folder, int) else os.open(folder, flags)
    return ByteStream(gathered(_blocks(fd, whiteouts, prefix, change)))


def pack_path(folder_fd: int, name: str, rename: str) -> ByteStream:
    """One member of a folder (a file, a link, or a folder with all that is in it) as a tar in which it is called `rename`.

    The descriptor is duplicated. Raises OSError while it is read.
    """
    return ByteStream(gathered(_path_blocks(os.dup(folder_fd), name, rename)))


def _path_blocks(folder_fd: int, name: str, rename: str) -> Iterator[bytes]:
    try:
        status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        entry = entry_of(Node(path=rename, name=name, folder_fd=folder_fd, status=status), "", {})
        if entry is None:
            yield END
        elif entry.kind == tarheader.FOLDER:
            yield write_header(entry)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            yield from _blocks(os.open(name, flags, dir_fd=folder_fd), False, entry.name, None)
        else:
            if entry.kind == tarheader.REGULAR:
                yield from file_blocks(Node(path=rename, name=name, folder_fd=folder_fd, status=status), entry)
            else:
                yield write_header(entry)
            yield END
    finally:
        os.close(folder_fd)


def _blocks(fd: int, whiteouts: bool, prefix: str, change: Callable[[Entry], Entry | None] | None) -> Iterator[bytes]:
    links: dict[tuple[int, int], str] = {}
    try:
        if whiteouts and is_opaque(f"/proc/self/fd/{fd}"):
            yield write_header(Entry(name=prefix + OPAQUE, mode=0o600))
        for node in Walk(fd):
            if whiteouts and is_whiteout(node.status):
                folder, _, name = node.path.rpartition("/")
                yield write_header(whiteout_entry(f"{prefix}{folder}{'/' if folder else ''}{WHITEOUT}{name}", node.status))
                continue
            entry = entry_of(node, prefix, links)
            if entry is not None and change is not None:
                entry = change(entry)
            if entry is None:
                continue
            if entry.kind == tarheader.REGULAR:
                yield from file_blocks(node, entry)
                continue
            yield write_header(entry)
            if whiteouts and entry.kind == tarheader.FOLDER and is_opaque(_by_fd(node)):
                yield write_header(whiteout_entry(f"{prefix}{node.path}/{OPAQUE}", node.status))
        yield END
    finally:
        os.close(fd)


def whiteout_entry(name: str, status: os.stat_result) -> Entry:
    """The entry of a `.wh.` mark, which has the owner and the time of what makes it."""
    return Entry(name=name, mode=0o600, uid=status.st_uid, gid=status.st_gid, mtime_ns=status.st_mtime_ns)


def entry_of(node: Node, prefix: str, links: dict[tuple[int, int], str]) -> Entry | None:
    """The entry for a file that was met; None for a socket. `links` has the first names of those with several."""
    status = node.status
    kind = tarheader.kind_of(status.st_mode)
    if kind is None:
        return None
    name = prefix + node.path
    folder = kind == tarheader.FOLDER
    link = ""
    if not folder and status.st_nlink > 1:
        first = links.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            kind, link = tarheader.LINK, first
    if kind == tarheader.SYMLINK:
        link = os.readlink(node.name, dir_fd=node.folder_fd)
    device = kind in (tarheader.CHARACTER, tarheader.BLOCK_DEVICE)
    return Entry(
        name=name + "/" if folder else name,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == tarheader.REGULAR else 0,
        mtime_ns=status.st_mtime_ns,
        link=link,
        major=os.major(status.st_rdev) if device else 0,
        minor=os.minor(status.st_rdev) if device else 0,
        xattrs=_NOTHING if kind == tarheader.LINK else xattrs(_by_fd(node)),
    )


def xattrs(path: str) -> dict[str, bytes]:
    """The extended attributes that a tar holds, of a file whose last part is not followed.

    Those of overlayfs are marks of this host, and labels of SELinux are given anew wherever it is unpacked.
    """
    found: dict[str, bytes] = {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as err:
        if err.errno in _NO_XATTR:
            return found
        raise
    for name in names:
        if name.startswith((*OVERLAY_XATTRS, "system.", "security.selinux")):
            continue
        try:
            found[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as err:
            if err.errno not in _NO_XATTR:
                raise
    return found


def _by_fd(node: Node) -> str:
    return f"/proc/self/fd/{node.folder_fd}/{node.name}"


def file_blocks(node: Node, entry: Entry) -> Iterator[bytes]:
    """Header and content of a regular file, padded; nothing when it is gone meanwhile."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(node.name, flags, dir_fd=node.folder_fd)
    except (FileNotFoundError, OSError) as err:
        if err.errno in (errno.ENOENT, errno.ELOOP):
            return  # gone, or a link by now
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        yield write_header(entry)
        left = entry.size
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                break
            left -= len(data)
            yield data
        while left:
            zeros = bytes(min(left, CHUNK))
            left -= len(zeros)
            yield zeros
        if end := tarheader.padding(entry.size):
            yield bytes(end)
    finally:
        os.close(fd)
