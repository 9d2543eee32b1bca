"""Writes a container's log file: records from `logrecord`, rotation as Docker's json-file driver has it, errors that stop nobody.

    c-json.log      the newest        max_size: a file that has reached it is rotated before the next record
    c-json.log.1    older             max_file: so many files with the newest; 1: the one file is emptied instead
    c-json.log.2.gz oldest            compress: rotated files are packed by a child

A write that fails is taken back (no torn record stays), the output is missing from the log, and `failed` is told once until a
write succeeds again.
"""

from __future__ import annotations

import os
import select
import time

from wherry.linux.process import close_from
from wherry.shim.logrecord import Clock, RecordMaker
from wherry.shim.stdcopy import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from wherry.shim.protocol import LogOptions

_PIECE: Final = 1 << 14


class LogWriter:
    """The log of one container. `failed` gets the message of a failing spell's first error."""

    def __init__(self, options: LogOptions, failed: Callable[[str], None], pack: Callable[[str], int] | None = None) -> None:
        """Opens (and makes) the file. Raises OSError when that is not possible.

        `pack` replaces a file by its `.gz` beside this, and returns a descriptor, owned here, that can be read when it has.
        """
        self.path = options.path
        self._options = options
        self._failed = failed
        self._is_failing = False
        clock = Clock()
        self._makers = {stream: RecordMaker(name, options.attributes, clock) for stream, name in NAMES.items()}
        self._pack = pack or pack_in_child
        self._packer = -1  # of who packs the last rotated file
        self._fd = self._open(0)
        self._size = os.fstat(self._fd).st_size

    def _open(self, flags: int) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o640)

    def rest(self, stream: int) -> bytes:
        """What was written to the stream and is not in the file yet: the beginning of an unfinished line."""
        return self._makers[stream].rest

    def write(self, stream: int, chunk: bytes) -> None:
        """Logs a chunk of output; never raises."""
        at_ns = time.time_ns()
        maker = self._makers[stream]
        for at in range(0, len(chunk), _PIECE):  # records are up to ten times as long as short lines
            block = maker.feed(chunk[at : at + _PIECE], at_ns)
            if block:
                self._put(block)

    def close(self) -> None:
        """Logs what is left and closes the file."""
        for maker in self._makers.values():
            block = maker.end(time.time_ns())
            if block:
                self._put(block)
        self._wait_for_packer()
        os.close(self._fd)

    def _put(self, block: bytes) -> None:
        limit = self._options.max_size_bytes
        try:
            while limit >= 0 and self._size + len(block) > limit:
                if self._size >= limit:
                    self._rotate()
                cut = block.find(b"\n", max(0, limit - self._size - 1)) + 1
                self._append(block[:cut])
                block = block[cut:]
                if not block:
                    break
            else:
                self._append(block)
        except OSError as error:
            if not self._is_failing:
                self._is_failing = True
                self._failed(f"log file {self.path} cannot be written: {error.strerror or error}")
        else:
            self._is_failing = False

    def _append(self, block: bytes) -> None:
        done = 0
        try:
            while done < len(block):
                done += os.write(self._fd, block[done:] if done else block)
        except OSError:
            if done:  # up to the last whole record
                whole = block.rfind(b"\n", 0, done) + 1
                os.truncate(self._fd, self._size + whole)
                self._size += whole
            raise
        self._size += done

    def _rotate(self) -> None:
        """Renames the files by one and begins a new one. Raises OSError; then the old file is written further."""
        extension = ".gz" if self._options.compress else ""
        self._wait_for_packer()  # it works on the file that gets a new name now
        if self._options.max_file > 1:
            for number in range(self._options.max_file - 1, 1, -1):
                try:
                    os.rename(f"{self.path}.{number - 1}{extension}", f"{self.path}.{number}{extension}")
                except FileNotFoundError:
                    pass
            os.rename(self.path, f"{self.path}.1")
            fd = self._open(os.O_TRUNC)
            os.close(self._fd)
            self._fd = fd
            if extension:
                self._packer = self._pack(f"{self.path}.1")
        else:
            os.truncate(self._fd, 0)
        self._size = 0

    def _wait_for_packer(self) -> None:
        if self._packer >= 0:
            poll = select.poll()
            poll.register(self._packer, select.POLLIN)
            poll.poll()
            os.close(self._packer)
            self._packer = -1


def pack_in_child(path: str) -> int:
    """Replaces a file by its `.gz` in a child, so that this process need not know zlib; the child's pidfd.

    The caller owns the descriptor and reaps the child.
    """
    pid = os.fork()
    if pid:
        return os.pidfd_open(pid)
    code = 1
    try:
        close_from(3)  # a client's connection must not stay open because of this
        pack(path)
        code = 0
    finally:
        os._exit(code)


def pack(path: str) -> None:
    """Replaces a file by its `.gz`. Raises OSError; then it is left."""
    import zlib

    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    with open(path, "rb") as source, open(f"{path}.gz.tmp", "wb") as target:
        while block := source.read(1 << 20):
            target.write(packer.compress(block))
        target.write(packer.flush())
    os.rename(f"{path}.gz.tmp", f"{path}.gz")
    os.unlink(path)
