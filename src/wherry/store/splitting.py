"""Between unpacking and tar-split: notes how each entry of a layer was stored, so that its tar can be made again.

A later entry of the same name takes a file's place, and with it the only copy of the earlier content. Such files are
put aside (in `replaced`, beside the layer) and, at the end, written into the tar-split as they are.
"""

from __future__ import annotations

import os
import posixpath
import stat

from wherry.store.stream import CHUNK
from wherry.store.tarsplit import SplitWriter, replace_files
from wherry.store.tree import remove_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from wherry.store.tarheader import Entry
    from wherry.store.tarread import TarReader


class SplitNotes:
    """Writes the tar-split file `path` of the layer that `reader` reads. Use it with `with`, and `finish` at the end."""

    def __init__(self, path: str, replaced: str, reader: TarReader) -> None:
        self._path = path
        self._folder = replaced
        self._reader = reader
        self._file = open(path, "xb")  # noqa: SIM115  # closed by __exit__
        self._split = SplitWriter(self._file)
        self._positions: dict[str, int] = {}
        self._put_aside: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def finish(self) -> None:
        """Takes what follows the archive's end, and closes the file."""
        self._split.segment(self._reader.take_raw())
        for piece in self._reader.rest():
            self._split.segment(piece)
        self._split.close()
        self._file.close()
        if self._put_aside:
            self._keep_replaced()

    # The Notes of unpack.py.

    def entry(self, entry: Entry) -> None:
        """An entry without content, or one whose content comes as pieces."""
        self._split.segment(self._reader.take_raw())
        self._split.entry(entry.name)

    def wants_checksum(self, entry: Entry, path: str) -> bool:
        """Whether the content is noted by name: the name is new to the tar-split and to the layer."""
        del path
        if not self._split.takes_file(entry.name):
            return False
        self._split.segment(self._reader.take_raw())
        return True

    def file(self, entry: Entry, path: str, checksum: int) -> None:
        """The content of the entry is the file."""
        self._positions[path] = self._split.file(entry.name, entry.size, checksum)

    def content(self, piece: bytes) -> None:
        """A piece of content that no file holds."""
        self._split.segment(piece)

    def replaced(self, path: str, folder_fd: int, name: str) -> None:
        """Puts aside what a later entry replaces."""
        lost = [path] if path in self._positions else []
        if stat.S_ISDIR(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode):
            below = path + "/"
            lost = [one for one in self._positions if one.startswith(below)]
        if not lost:
            return
        if not self._put_aside:
            os.mkdir(self._folder, 0o700)
        aside = f"{self._folder}/{len(self._put_aside)}"
        os.rename(name, aside, src_dir_fd=folder_fd)
        for one in lost:
            self._put_aside[self._positions.pop(one)] = posixpath.normpath(posixpath.join(aside, one[len(path) + 1 :]))

    def _keep_replaced(self) -> None:
        draft = self._path + ".tmp"
        contents: dict[int, Callable[[], Iterator[bytes]]] = {
            position: _reading(path) for position, path in self._put_aside.items()
        }
        with open(self._path, "rb") as source, open(draft, "xb") as target:
            replace_files(source, target, contents)
        os.rename(draft, self._path)
        remove_path(self._folder)


def _reading(path: str) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        with open(path, "rb") as file:
            while piece := file.read(CHUNK):
                yield piece

    return read
