"""Compression: which one a stream has, by its first bytes, and the stream without it.

gzip by `isal` (several times zlib's speed), zstd by `backports.zstd` (the standard library from 3.14), bzip2 and xz by
the standard library: what Docker loads, imports and pulls.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from gzip import BadGzipFile

from isal import igzip, isal_zlib

from wherry.errors import DataLoss
from wherry.store.stream import CHUNK, ByteStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, BinaryIO

    from wherry.store.stream import Readable

# What reading damaged gzip data may raise. (The stubs of isal take its class of errors for an instance.)
_ISAL_ERROR: Any = isal_zlib.IsalError
GZIP_ERRORS: tuple[type[Exception], ...] = (EOFError, BadGzipFile, zlib.error, _ISAL_ERROR)

PLAIN, GZIP, ZSTD, BZIP2, XZ = "", "gzip", "zstd", "bzip2", "xz"

_MAGIC = ((b"\x1f\x8b\x08", GZIP), (b"\x28\xb5\x2f\xfd", ZSTD), (b"BZh", BZIP2), (b"\xfd7zXZ\x00", XZ))
_LONGEST = 6


class Peeked:
    """A stream whose first bytes have been looked at, and which delivers them all the same."""

    def __init__(self, stream: Readable, head: bytes) -> None:
        self._stream = stream
        self._head = head

    def read(self, size: int = -1, /) -> bytes:
        """As the stream's own."""
        if not self._head:
            return self._stream.read(size)
        if size < 0:
            head, self._head = self._head, b""
            return head + self._stream.read(-1)
        head, self._head = self._head[:size], self._head[size:]
        return head

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """As a file's: some decompressors ask for this instead."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def peek(stream: Readable, size: int) -> tuple[bytes, Peeked]:
    """The first `size` bytes (fewer when there are no more) and a stream that still begins with them."""
    head = b""
    while len(head) < size and (more := stream.read(size - len(head))):
        head += more
    return head, Peeked(stream, head)


def detect(head: bytes) -> str:
    """The compression that begins so: GZIP, ZSTD, BZIP2, XZ, or PLAIN for anything else."""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), PLAIN)


def decompress(stream: Readable) -> tuple[str, Readable]:
    """The compression found, and the stream without it. Reading raises DataLoss when the data is damaged or cut.

    What follows the end of the compressed data is read as well, so that the caller's digest covers all of it.
    """
    head, whole = peek(stream, _LONGEST)
    kind = detect(head)
    return kind, whole if kind == PLAIN else ByteStream(_chunks(kind, whole))


def gzip_reader(stream: Readable) -> BinaryIO:
    """The file in gzipped data. Reading raises OSError or one of GZIP_ERRORS when it is damaged."""
    opened: Any = igzip.IGzipFile
    return opened(fileobj=stream, mode="rb")  # type: ignore[no-any-return]  # the library has no types


def gzip_writer(file: BinaryIO) -> BinaryIO:
    """Gzips what is written to it into `file`, fast; closing it does not close `file`."""
    opened: Any = igzip.IGzipFile
    return opened(fileobj=file, mode="wb", compresslevel=1, mtime=0)  # type: ignore[no-any-return]


def _chunks(kind: str, stream: Readable) -> Generator[bytes, None, None]:
    from_zstd, zstd_error = _zstd()
    damaged: tuple[type[Exception], ...] = (OSError, lzma.LZMAError, zstd_error, *GZIP_ERRORS)
    opened: Any
    try:
        if kind == GZIP:
            opened = gzip_reader(stream)
        else:
            # They ask for no more than read(); and they own nothing, so there is nothing to close.
            opener: Any = {ZSTD: from_zstd, BZIP2: bz2.BZ2File, XZ: lzma.LZMAFile}[kind]
            opened = opener(stream)
        while data := opened.read(CHUNK):
            yield data
    except damaged as err:
        if isinstance(err, OSError) and err.errno is not None:
            raise  # the source's own failure, not damage
        reason = "unexpected EOF" if isinstance(err, EOFError) else str(err)
        raise DataLoss(f"invalid {kind} data: {reason}") from err
    while stream.read(CHUNK):
        pass


def _zstd() -> tuple[Any, type[Exception]]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd
    return zstd.ZstdFile, zstd.ZstdError
