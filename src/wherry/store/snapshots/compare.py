"""A layer out of two trees: what has to be done to the lower one so that it becomes the upper one, as a tar.

Both trees are walked and compared file by file, as containerd does it, so this knows nothing of what they are made of. The way
to a change is in the tar as well: folders keep their owners and modes wherever it is unpacked.
"""

from __future__ import annotations

import errno
import os
import stat

from wherry.store import tarheader
from wherry.store.pack import END, entry_of, file_blocks, whiteout_entry
from wherry.store.removals import WHITEOUT
from wherry.store.stream import ByteStream, gathered
from wherry.store.tarheader import write_header
from wherry.store.tree import Root, Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.store.tree import Node

_CAPABILITIES = "security.capability"
_CHUNK = 1 << 18
_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def compare(lower_fd: int, upper_fd: int) -> ByteStream:
    """The tar that leads from one tree to the other; both descriptors are duplicated. Raises OSError while it is read."""
    return ByteStream(gathered(_blocks(Root(lower_fd), Root(upper_fd))))


def _blocks(lower: Root, upper: Root) -> Iterator[bytes]:
    links: dict[tuple[int, int], str] = {}
    ways = _Ways(upper, links)
    fresh = ""  # a folder where the lower tree has none: all in it is new
    try:
        yield from _gone(lower, upper, "", ways)
        for node in Walk(upper.fd):
            ways.leave(node.path)
            if fresh and not node.path.startswith(fresh + "/"):
                fresh = ""
            below = None if fresh else _status(lower, node.path)
            is_folder = stat.S_ISDIR(node.status.st_mode)
            if below is not None and _is_same(lower, node, below):
                if is_folder:
                    ways.enter(node)
            else:
                yield from ways.written()
                yield from _entry(node, links)
            if is_folder and below is not None and stat.S_ISDIR(below.st_mode):
                yield from _gone(lower, upper, node.path, ways)
            elif is_folder and not fresh:
                fresh = node.path
        yield END
    finally:
        lower.close()
        upper.close()


class _Ways:
    """The unchanged folders on the way to where the walk is, which are in the tar only when something changed below them."""

    def __init__(self, upper: Root, links: dict[tuple[int, int], str]) -> None:
        self._upper, self._links = upper, links
        self._missing: list[Node] = []

    def enter(self, node: Node) -> None:
        """The walk goes into an unchanged folder."""
        self._missing.append(node)

    def leave(self, path: str) -> None:
        """The walk is at `path` now."""
        self._missing = [way for way in self._missing if path.startswith(way.path + "/")]

    def written(self) -> Iterator[bytes]:
        """Those that the tar has not yet."""
        for way in self._missing:
            folder = self._upper.folder(way.path.rpartition("/")[0])  # the walk's own descriptor has gone on
            yield from _entry(way.replace(folder_fd=folder), self._links)
        self._missing = []


def _entry(node: Node, links: dict[tuple[int, int], str]) -> Iterator[bytes]:
    entry = entry_of(node, "", links)
    if entry is None:
        return
    if entry.kind == tarheader.REGULAR:
        yield from file_blocks(node, entry)
    else:
        yield write_header(entry)


def _gone(lower: Root, upper: Root, path: str, ways: _Ways) -> Iterator[bytes]:
    """Whiteouts for what the upper folder has not any more."""
    there = set(_names(upper, path))
    for name in sorted(set(_names(lower, path)) - there):
        status = _status(lower, f"{path}/{name}".lstrip("/"))
        if status is not None:
            yield from ways.written()
            mark = whiteout_entry(f"{path}/{WHITEOUT}{name}".lstrip("/"), status)
            yield write_header(mark.replace(mode=0))  # as containerd's; Docker gives them 0600


def _names(root: Root, path: str) -> Sequence[str]:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root.folder(path))
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _status(root: Root, path: str) -> os.stat_result | None:
    parent, _, name = path.rpartition("/")
    try:
        return os.stat(name, dir_fd=root.folder(parent), follow_symlinks=False)
    except OSError as error:
        if error.errno in _NOTHING_THERE:
            return None
        raise


def _is_same(lower: Root, node: Node, below: os.stat_result) -> bool:
    """Whether nothing about a file has changed. A time without a fraction says too little: then the content decides."""
    now = node.status
    if (now.st_dev, now.st_ino) == (below.st_dev, below.st_ino):
        return True
    if any(getattr(now, field) != getattr(below, field) for field in ("st_mode", "st_uid", "st_gid", "st_rdev")):
        return False
    parent, _, name = node.path.rpartition("/")
    one, other = f"/proc/self/fd/{node.folder_fd}/{node.name}", f"/proc/self/fd/{lower.folder(parent)}/{name}"
    if _capabilities(one) != _capabilities(other):
        return False
    if stat.S_ISDIR(now.st_mode):
        return True
    if stat.S_ISLNK(now.st_mode):
        return os.readlink(one) == os.readlink(other)
    if not stat.S_ISREG(now.st_mode):
        return True
    if now.st_size != below.st_size or now.st_mtime_ns // 10**9 != below.st_mtime_ns // 10**9:
        return False
    if now.st_mtime_ns % 10**9 and below.st_mtime_ns % 10**9:
        return now.st_mtime_ns == below.st_mtime_ns
    return _has_same_content(one, other)


def _capabilities(path: str) -> bytes:
    try:
        return os.getxattr(path, _CAPABILITIES, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return b""
        raise


def _has_same_content(one: str, other: str) -> bool:
    with open(one, "rb", buffering=0) as first, open(other, "rb", buffering=0) as second:
        while True:
            piece = first.read(_CHUNK)
            if piece != second.read(_CHUNK):
                return False
            if not piece:
                return True
