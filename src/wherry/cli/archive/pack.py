"""Local files as a tar stream, without holding any of them in memory."""

from __future__ import annotations

import os
import stat
import tarfile

from wherry.cli.command import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 1 << 18
END = b"\0" * 1024
KINDS = (
    (stat.S_ISREG, tarfile.REGTYPE),
    (stat.S_ISDIR, tarfile.DIRTYPE),
    (stat.S_ISLNK, tarfile.SYMTYPE),
    (stat.S_ISCHR, tarfile.CHRTYPE),
    (stat.S_ISBLK, tarfile.BLKTYPE),
    (stat.S_ISFIFO, tarfile.FIFOTYPE),
)


class Packer:
    """Makes the members of one archive; files that are linked to one another are linked in it, too.

    `owned` false gives everything to root.
    """

    def __init__(self, *, owned: bool = True) -> None:
        self._owned = owned
        self._links: dict[tuple[int, int], str] = {}

    def member(self, path: str, name: str) -> Iterator[bytes]:
        """One file under its name in the archive. Sockets are left out, as docker does."""
        info = os.lstat(path)
        kind = next((value for is_kind, value in KINDS if is_kind(info.st_mode)), None)
        if kind is None:
            return
        member = tarfile.TarInfo(name)
        member.mode = stat.S_IMODE(info.st_mode)
        member.mtime = info.st_mtime_ns // 10**9
        member.type = kind
        if self._owned:
            member.uid, member.gid = info.st_uid, info.st_gid
        if kind == tarfile.SYMTYPE:
            member.linkname = os.readlink(path)
        elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            member.devmajor, member.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        elif kind == tarfile.REGTYPE:
            first = self._links.setdefault((info.st_dev, info.st_ino), name) if info.st_nlink > 1 else name
            if first != name:
                member.type, member.linkname = tarfile.LNKTYPE, first
            else:
                member.size = info.st_size
                _keep_capabilities(path, member)
        yield member.tobuf(tarfile.PAX_FORMAT)
        if member.isreg():
            yield from _content(path, member.size)

    def tree(self, path: str, name: str, wanted: Callable[[str, bool], bool] | None = None, inside: str = "") -> Iterator[bytes]:
        """A file, or a folder with everything below.

        `wanted(relative path, is folder)` may leave out members (what is below a folder left out is asked for, too).
        """
        if not inside or wanted is None or wanted(inside, stat.S_ISDIR(os.lstat(path).st_mode)):
            yield from self.member(path, name)
        if not os.path.isdir(path) or os.path.islink(path):
            return
        for one in sorted(os.listdir(path)):
            below = f"{inside}/{one}" if inside else one
            yield from self.tree(f"{path}/{one}", f"{name}/{one}" if name else one, wanted, below)


def _keep_capabilities(path: str, member: tarfile.TarInfo) -> None:
    try:
        value = os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:  # none, or none on this file system
        return
    member.pax_headers = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}


def _content(path: str, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes and the padding: a file that shrinks meanwhile is an error, one that grows is cut."""
    left = size
    with open(path, "rb", buffering=0) as file:
        while left:
            piece = file.read(min(PIECE, left))
            if not piece:
                raise CommandFailed(f"{path}: file became shorter while it was read")
            left -= len(piece)
            yield piece
    if size % 512:
        yield b"\0" * (512 - size % 512)
