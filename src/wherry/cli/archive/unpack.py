"""Unpacks a tar stream that a container wrote, which may be hostile: no folder on the way is a link that is followed."""

from __future__ import annotations

import os
import tarfile

from wherry.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PieceReader:
    """An iterator of pieces as something to read from; counts what was read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, fewer only at the end."""
        parts, have = [self._held], len(self._held)
        while size < 0 or have < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        size = len(data) if size < 0 else size
        self._held = data[size:]
        self.count += min(len(data), size)
        return data[:size]


def parts_of(name: str) -> list[str]:
    """The components of a member's name. Raises InvalidArgument for one that leads out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidArgument(f'invalid archive member "{name}": it leads out of the folder')
    return parts


def rename(name: str, old: str, new: str) -> str:
    """A member's name with the first part of it replaced, as docker rebases."""
    return name.replace(old, new, 1) if old else new + name


def unpack(pieces: Iterator[bytes], folder: str, rebase: tuple[str, str] | None = None) -> int:
    """Unpacks into the folder; returns the bytes of the archive. Raises InvalidArgument, OSError.

    Owners stay ours (docker does not chown here either); modes and times are kept. `rebase` replaces the first part of the names.
    """
    reader = PieceReader(pieces)
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    times: list[tuple[list[str], float, int]] = []
    try:
        with tarfile.open(fileobj=reader, mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                name, link = member.name, member.linkname
                if rebase is not None:
                    name = rename(name, *rebase)
                    link = rename(link, *rebase) if member.islnk() else link
                parts = parts_of(name)
                if not parts:
                    continue
                _place(archive, member, root, parts, link)
                if member.isdir():
                    times.append((parts, member.mtime, member.mode))
        for parts, mtime, mode in reversed(times):  # afterwards, because writing into a folder changes its time
            _finish_folder(root, parts, mtime, mode)
    finally:
        os.close(root)
    return reader.count


def _open_folder(root: int, parts: list[str]) -> int:
    """The folder below the root, made where it is missing. Never through a link."""
    at = os.dup(root)
    for part in parts:
        try:
            below = os.open(part, FOLDER, dir_fd=at)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=at)
            below = os.open(part, FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, root: int, parts: list[str], link: str) -> None:
    parent = _open_folder(root, parts[:-1])
    name = parts[-1]
    try:
        is_folder = _is_folder(parent, name)
        if member.isdir():
            if is_folder is False:
                raise InvalidArgument(f'cannot overwrite non-directory "{"/".join(parts)}" with directory')
            if is_folder is None:
                os.mkdir(name, 0o700, dir_fd=parent)
            return
        if is_folder:
            raise InvalidArgument(f'cannot overwrite directory "{"/".join(parts)}" with non-directory')
        if is_folder is False:
            os.unlink(name, dir_fd=parent)
        if member.isreg():
            _write_file(archive, member, parent, name)
        elif member.issym():
            os.symlink(link, name, dir_fd=parent)
            os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)
        elif member.islnk():
            target = parts_of(link)
            holder = _open_folder(root, target[:-1])
            try:
                os.link(target[-1], name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(holder)
        elif member.isfifo():
            os.mkfifo(name, member.mode & 0o777, dir_fd=parent)
        elif member.isdev():
            kind = 0o020000 if member.ischr() else 0o060000
            os.mknod(name, kind | member.mode & 0o777, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
    finally:
        os.close(parent)


def _is_folder(parent: int, name: str) -> bool | None:
    try:
        return (os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & 0o170000) == 0o040000
    except FileNotFoundError:
        return None


def _write_file(archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
    content = archive.extractfile(member)
    assert content is not None
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
    with open(fd, "wb") as file:
        while piece := content.read(1 << 18):
            file.write(piece)
        file.flush()
        os.fchmod(fd, member.mode & 0o7777)
        os.utime(fd, (member.mtime, member.mtime))


def _finish_folder(root: int, parts: list[str], mtime: float, mode: int) -> None:
    folder = _open_folder(root, parts)
    try:
        os.fchmod(folder, mode & 0o7777)
        os.utime(folder, (mtime, mtime))
    finally:
        os.close(folder)
